#!/usr/bin/env bash
# Usage: container/lock.sh
#
# Locks what the image installs: container/requirements*.in → requirements*.txt, every version and hash as the public
# index has them. Settings of this machine's pip and uv are left out, so that the lock is the same everywhere.
# What a lock names already keeps its version; to renew one, remove its lines first. Called by `make lock`.
#
#   PYTHON   (environment) any Python ≥ 3.11; default python3

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly UV=uv==0.13.9
readonly TOOLS=$root/.venv-lock

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "lock.sh: $*" >&2
  exit 1
}

install_uv() {
  "$root/container/quietly.sh" "making $TOOLS" "${PYTHON:-python3}" -m venv "$TOOLS" || die "no virtual environment could be made at $TOOLS."
  "$TOOLS/bin/pip" install --quiet "$UV" || die "uv could not be installed; pip's lines above say why."
}

# The image is Debian bookworm (glibc 2.36) with Python 3.11 on x86-64, whatever machine this runs on.
compile() {
  local -a clean=(env --unset=PIP_INDEX_URL --unset=PIP_EXTRA_INDEX_URL --unset=PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null)
  local name
  while read -r name; do clean+=("--unset=$name"); done < <(compgen -e UV_ || true)
  (cd "$root/container" && "${clean[@]}" "$TOOLS/bin/uv" pip compile --quiet --no-config --system-certs \
    --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --custom-compile-command 'make lock' "$@" >/dev/null) || die "no lock was made of $*; uv's lines above say why."
}

main() {
  case ${1:-} in
    -h | --help) usage && return ;;
    "") ;;
    *) die "unknown argument. Received: $1. Known: --help." ;;
  esac
  [[ -x $TOOLS/bin/uv ]] || install_uv
  compile requirements.in --output-file requirements.txt
  compile --constraint requirements.txt requirements-gpu.in --output-file requirements-gpu.txt
  compile --constraint requirements.txt requirements-mpi.in --output-file requirements-mpi.txt
  compile --constraint requirements.txt requirements-build.in --output-file requirements-build.txt
}

main "$@"
