#!/usr/bin/env bash
# Usage: container/build.sh [--gpu] [--mpi]
#
# Builds the training image from this checkout. What has not changed is taken from the engine's cache, without a look
# at the network. The base is BASE if given, else the Dockerfile's own if this machine has or reaches it, else one made
# from Debian's packages (container/debian_base.sh). Prints the image's name and size.
#
#   --gpu     with CUDA
#   --mpi     with mpirun and sshd, for scripts that are distributed by MPI
#   BASE      (environment) base image: Debian with Python 3.11
#   PLATFORM  (environment) such as linux/amd64; default: the engine's own
#   IMAGE     (environment) name of the image; default cv-keras-cifar10:local, with options :gpu, :mpi, :gpu-mpi
#   HTTP_PROXY, HTTPS_PROXY, NO_PROXY  (environment) of the build, too, unless they name this machine's loopback
#   SOURCE    (environment) address of the sources for the image's label; default: git's origin, if it is a web address

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly DEBIAN_BASE=debian-python:bookworm
readonly PULL_LIMIT=180 # seconds; a registry that cannot be reached says so at once, or never answers
readonly BUILD_LIMIT=3600

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "build.sh: $*" >&2
  exit 1
}

check_tools() {
  command -v docker >/dev/null || die "no docker command. Install a Docker engine first."
  timeout 20 docker info >/dev/null 2>&1 || die "no Docker engine answers. Start it (dockerd) and try again."
}

is_here() { docker image inspect "$1" >/dev/null 2>&1; }

# What is on this machine comes first: a second build must not depend on a registry.
pick_base() {
  local registry_base
  registry_base=$(sed -n 's/^ARG BASE=//p' "$root/container/Dockerfile")
  if [[ -n ${BASE:-} ]]; then
    echo "$BASE"
  elif is_here "$registry_base"; then
    echo "$registry_base"
  elif is_here "$DEBIAN_BASE"; then
    echo "$DEBIAN_BASE"
  elif "$root/container/quietly.sh" --log /dev/null "pulling ${registry_base%@*}" \
    timeout --foreground "$PULL_LIMIT" docker pull --quiet ${PLATFORM:+--platform "$PLATFORM"} "$registry_base"; then
    echo "$registry_base"
  else
    echo "no registry has or gives ${registry_base%@*}" >&2
    "$root/container/debian_base.sh" "$DEBIAN_BASE"
  fi
}

in_git() { git -C "$root" "$@" 2>/dev/null; }

# A checkout that git does not read, such as another user's, is no reason not to build; but it is told.
check_git() {
  [[ ! -e $root/.git ]] || in_git rev-parse --verify HEAD >/dev/null ||
    echo "the labels say no commit: $(git -C "$root" rev-parse --verify HEAD 2>&1 | head -n 1)" >&2
}

revision() { in_git describe --always --abbrev=40 --exclude='*' --dirty || echo unknown; }

# The commit's time, not now: the same sources give the same image, and the cache holds.
created() { in_git show --no-patch --format=%cI HEAD || echo unknown; }

source_address() {
  local origin
  origin=$(in_git remote get-url origin || true)
  [[ $origin != http*://* ]] || sed -E 's#//[^/@]*@#//#' <<<"$origin" # without a name or password
}

version() { sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml"; }

# The build's options for the proxy that the environment names: by name, as its value may hold a password. One on the
# loopback is none for a container.
proxy_options() {
  local name
  for name in {HTTP,HTTPS,NO}_PROXY {http,https,no}_proxy; do
    [[ -z ${!name:-} || ${!name} =~ //([^/@]*@)?(localhost|127\.|\[::1\]) ]] || printf '%s\n' --build-arg "$name"
  done
}

# build IMAGE DOCKERFILE NAME=VALUE…: the names are the Dockerfile's arguments
build() {
  local image=$1 file=$2
  local -a options=("${@:3}")
  options=("${options[@]/#/--build-arg=}")
  [[ -z ${PLATFORM:-} ]] || options+=(--platform "$PLATFORM")
  mapfile -t -O "${#options[@]}" options < <(proxy_options)
  # BuildKit: no index with attestations and no OCI manifest, neither of which SageMaker takes; and into this engine
  [[ $(docker build --help 2>/dev/null) != *--provenance* ]] ||
    options+=(--provenance=false --sbom=false --output "type=docker,oci-mediatypes=false")
  # the engine's own builder, whichever is chosen: only it has the engine's images, of which the base may be one;
  # BUILDAH_FORMAT is podman's: Docker's manifest, not OCI's
  BUILDAH_FORMAT=docker BUILDX_BUILDER=$(docker context show 2>/dev/null || echo default) BUILDKIT_PROGRESS=plain \
    "$root/container/quietly.sh" "building $image" timeout --foreground "$BUILD_LIMIT" docker build "${options[@]}" --force-rm \
    --file "$root/container/$file" --tag "$image" "$root" >&2 || die "the build of $image failed; docker's lines above say where."
}

main() {
  local variant=cpu mpi=""
  while (($#)); do
    case $1 in
      -h | --help) usage && return ;;
      --gpu) variant=gpu ;;
      --mpi) mpi=yes ;;
      *) die "unknown argument. Received: $1. Known: --gpu, --mpi, --help." ;;
    esac
    shift
  done
  check_tools
  local name base size
  name=${variant#cpu}${mpi:+-mpi} name=${name#-} name=${name:-local}
  local image=${IMAGE:-cv-keras-cifar10:$name}
  check_git
  base=$(pick_base)
  echo "building $image on $base" >&2
  build "$image" Dockerfile "BASE=$base" "VARIANT=$variant" "CREATED=$(created)" "REVISION=$(revision)" \
    "SOURCE=${SOURCE:-$(source_address)}" "VERSION=$(version)"
  [[ -z $mpi ]] || build "$image" mpi.Dockerfile "IMAGE=$image"
  size=$(docker image inspect --format '{{.Size}}' "$image") ||
    die "docker has built $image, and the engine does not have it."
  printf '%s %s MB\n' "$image" "$((size / 1000000))"
}

main "$@"
