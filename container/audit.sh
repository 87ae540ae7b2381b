#!/usr/bin/env bash
# Usage: container/audit.sh
#
# Known vulnerabilities of what the image installs: each lock of this folder, against a public database. Exit code 0 only
# if the database knows every package and nothing against it. Called by `make audit`.
#
#   PYTHON     (environment) any Python ≥ 3.11; default python3
#   PIP_AUDIT  (environment) the program that asks; default: .venv-audit/bin/pip-audit, made if it is not there

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly TOOLS=$root/.venv-audit TOOL=pip-audit==2.10.1

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "audit.sh: $*" >&2
  exit 1
}

work=$(mktemp -d) || die "no temporary folder can be made in ${TMPDIR:-/tmp}. Is the disk full?"
trap 'rm -rf "$work"' EXIT

last_line() { grep --invert-match '^[[:space:]]*$' "$1" | tail -n 1 | cut -c 1-300; }

install() {
  "$root/container/quietly.sh" "making $TOOLS" "${PYTHON:-python3}" -m venv "$TOOLS" || die "no virtual environment could be made at $TOOLS."
  "$TOOLS/bin/pip" install --quiet --disable-pip-version-check "$TOOL" >"$work/pip" 2>&1 ||
    die "$TOOL could not be installed: $(last_line "$work/pip"). Is there a network?"
}

# Strict: a package that the database does not know is unknown, not one without vulnerabilities.
audit() {
  local lock=container/${1##*/}
  if "$PIP_AUDIT" --strict --disable-pip --require-hashes --progress-spinner off --requirement "$1" \
    >"$work/found" 2>"$work/errors"; then
    echo "$lock: nothing known"
  elif [[ -s $work/found ]]; then
    echo "$lock: vulnerabilities:"
    cat "$work/found"
    vulnerable=yes
  else
    echo "$lock: no answer: $(last_line "$work/errors")"
    unknown=yes
  fi
}

main() {
  case ${1:-} in
    -h | --help) usage && return ;;
    "") ;;
    *) die "unknown argument. Received: $1. Known: --help." ;;
  esac
  PIP_AUDIT=${PIP_AUDIT:-$TOOLS/bin/pip-audit}
  [[ -x $PIP_AUDIT ]] || install
  local lock vulnerable="" unknown=""
  for lock in "$root"/container/requirements*.txt; do audit "$lock"; done
  [[ -z $unknown ]] ||
    die "the database gave no answer, so of these locks nothing is known. It needs a network, and HTTPS_PROXY where there is a proxy."
  [[ -z $vulnerable ]] || die "known vulnerabilities, see above. Raise the versions in container/requirements*.in and run make lock."
}

main "$@"
