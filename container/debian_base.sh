#!/usr/bin/env bash
# Usage: container/debian_base.sh [--force] [NAME]
#
# Makes a base image equal to python:3.11-slim-bookworm (Debian bookworm, Python 3.11) from Debian's packages,
# for a machine that reaches a Debian mirror but no image registry. The certificates that this machine trusts come
# along: where it reaches the network through a proxy of its own, so does a build inside the image.
# Needs root, debootstrap and a Docker engine. Prints the image's name; does nothing if the image is there already.
#
#   NAME      default debian-python:bookworm
#   --force   make it anew, with the mirror's packages of today
#   MIRROR    (environment) Debian mirror; default: debootstrap's own

set -Eeuo pipefail

readonly SUITE=bookworm
readonly PACKAGES=ca-certificates,python3,tzdata
readonly MACHINE_BUNDLE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
readonly LIMIT=900 # seconds for a step that uses the network; a minute is usual

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "debian_base.sh: $*" >&2
  exit 1
}

check_tools() {
  command -v docker >/dev/null || die "no docker command. Install a Docker engine first."
  timeout 20 docker info >/dev/null 2>&1 || die "no Docker engine answers. Start it (dockerd) and try again."
}

check_can_make() {
  [[ $EUID -eq 0 ]] || die "must be root to make a Debian tree. Received: uid $EUID. Run it with sudo, or give BASE."
  command -v debootstrap >/dev/null || die "no debootstrap command. Install it (apt-get install debootstrap), or give BASE."
}

tree=
clean_up() {
  [[ -n $tree ]] || return 0
  # an interrupted debootstrap leaves these mounted
  umount --lazy "$tree/proc" "$tree/sys" 2>/dev/null || true
  rm -rf --one-file-system "$tree" "$tree.log"
}

make_tree() {
  local -a command=(debootstrap --variant=minbase "--include=$PACKAGES" "$SUITE" "$tree")
  [[ -z ${MIRROR:-} ]] || command+=("$MIRROR")
  quietly "${command[@]}"
  chmod 755 "$tree" # the image's /, which mktemp made for root alone
}

# Runs a command whose output matters only when it fails.
quietly() {
  # --foreground: Ctrl-C must reach the command
  DEBIAN_FRONTEND=noninteractive LC_ALL=C "$(dirname "${BASH_SOURCE[0]}")/quietly.sh" --log "$tree.log" \
    "making the base image" timeout --foreground "$LIMIT" "$@" || {
    tail -n 10 "$tree.log" >&2
    die "failed: $*. Its last lines are above; check that a Debian mirror can be reached, or give MIRROR."
  }
}

in_tree() { quietly chroot "$tree" "$@"; }

# debootstrap installs the release as it was published; what was fixed since comes from two more suites.
upgrade() {
  local mirror
  mirror=$(awk '$1 == "deb" { print $2; exit }' "$tree/etc/apt/sources.list")
  {
    echo "deb $mirror $SUITE main"
    echo "deb $mirror $SUITE-updates main"
    [[ $mirror != */debian ]] || echo "deb $mirror-security $SUITE-security main"
  } >"$tree/etc/apt/sources.list"
  in_tree apt-get --quiet=2 update
  in_tree apt-get --quiet=2 --yes upgrade
}

# Certificates that someone added to this machine's bundle: one a file, as update-ca-certificates wants them.
# Those of a distribution are none of them: a certificate that Debian withdrew since must not come back.
trust_what_this_machine_trusts() {
  [[ -r $MACHINE_BUNDLE ]] || return 0
  local -a distributed=("$tree/etc/ssl/certs/ca-certificates.crt")
  [[ ! -d /usr/share/ca-certificates ]] || mapfile -t -O 1 distributed < <(find /usr/share/ca-certificates -name '*.crt')
  awk -v bundle="$MACHINE_BUNDLE" -v folder="$tree/usr/local/share/ca-certificates" '
    BEGIN { RS = "-----END CERTIFICATE-----" }
    !sub(/.*-----BEGIN CERTIFICATE-----/, "-----BEGIN CERTIFICATE-----") { next }
    FILENAME != bundle { known[$0] = 1; next }
    !($0 in known) {
      file = sprintf("%s/machine-%03d.crt", folder, ++count)
      printf "%s-----END CERTIFICATE-----\n", $0 > file
      close(file)
    }' "${distributed[@]}" "$MACHINE_BUNDLE"
  in_tree update-ca-certificates
}

# What a slim image leaves out, now and when a package is added later; licences stay.
slim() {
  cat >"$tree/etc/dpkg/dpkg.cfg.d/slim" <<'RULES'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
RULES
  in_tree apt-get clean
  find "$tree/usr/share/doc" ! -type d ! -name copyright -delete
  rm -rf "$tree"/usr/share/{info,locale,man}/* "$tree"/var/lib/apt/lists/* "$tree"/var/cache/{apt,debconf}/* \
    "$tree"/var/log/* "$tree"/tmp/* "$tree"/etc/{hostname,resolv.conf}
}

import_tree() {
  tar --create --numeric-owner --sort=name --directory="$tree" --exclude='./dev/*' --exclude='./proc/*' \
    --exclude='./sys/*' . |
    docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
      --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' \
      --message "Debian $SUITE with Python 3.11, made with debootstrap" - "$1" >&2
}

main() {
  local force='' name=debian-python:bookworm
  while (($#)); do
    case $1 in
      -h | --help) usage && return ;;
      --force) force=1 ;;
      -*) die "unknown option. Received: $1. Known: --force, --help." ;;
      *) name=$1 ;;
    esac
    shift
  done
  check_tools
  if [[ -n $force ]] || ! docker image inspect "$name" >/dev/null 2>&1; then
    check_can_make
    trap clean_up EXIT
    tree=$(mktemp -d "${TMPDIR:-/var/tmp}/debian-base.XXXXXX")
    echo "making the base image $name from Debian's packages, once (a minute or two)" >&2
    make_tree
    upgrade
    trust_what_this_machine_trusts
    slim
    import_tree "$name"
  fi
  echo "$name"
}

main "$@"
