#!/usr/bin/env bash
# Usage: ./push.sh [--repository NAME] [--tag TAG] [--image IMAGE] [--region REGION] [--account ID] [--allow-dirty]
#                  [--smoke-test] [--sbom FILE] [--dry-run]
#
# Builds the training image from this checkout and pushes it to Amazon ECR. Prints repository@sha256:… alone on standard
# output, for the clients' --image. The repository is made if there is none: immutable tags, scan on push, AES-256.
#
#   --repository   default cv-keras-cifar10
#   --tag          default: 12 hex digits of the commit. Never latest: a job must say what it ran
#   --image        push this local image instead of building one
#   --region       default: AWS_REGION, AWS_DEFAULT_REGION, `aws configure`
#   --account      whose registry; default: AWS_ACCOUNT_ID, or the credentials' own
#   --allow-dirty  although files are not committed; the tag then ends in -dirty
#   --smoke-test   train with the image in Pipe mode on this machine first, and push only if that completes
#   --sbom         write what is in the image as CycloneDX JSON
#   --dry-run      check everything, build and push nothing
#   PYTHON         (environment) for the smoke test; default .venv/bin/python
#   PUSH_REGISTRY  (environment) address to push to instead of the repository's own, such as a proxy's or a loopback one

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly root
readonly PLATFORM=linux/amd64 # SageMaker's, whatever this machine is
export PLATFORM                # for container/build.sh
readonly PUSH_LIMIT=3600      # seconds
export AWS_PAGER="" AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard

repository=cv-keras-cifar10 tag="" image="" region="" account="" sbom=""
allow_dirty="" smoke_test="" dry_run=""
own_tag="" # yes: the tag is that of a commit, and so is the image

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

say() { echo "push.sh: $*" >&2; }

die() {
  say "$*"
  exit 1
}

parse() {
  while (($#)); do
    case $1 in
      -h | --help) usage && exit ;;
      --allow-dirty) allow_dirty=yes ;;
      --smoke-test) smoke_test=yes ;;
      --dry-run) dry_run=yes ;;
      --repository | --tag | --image | --region | --account | --sbom)
        [[ -n ${2:-} ]] || die "$1 needs a value. ./push.sh --help says more."
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      *) die "unknown argument. Received: $1. ./push.sh --help lists what is known." ;;
    esac
    shift
  done
  [[ $repository =~ ^[a-z0-9]+([._/-][a-z0-9]+)*$ ]] ||
    die "a repository's name has small letters, digits and . _ - / between them. Received: $repository."
  [[ -z $tag || $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || die "that is no tag. Received: $tag."
  [[ $tag != latest ]] || die "the tag latest says nothing about what a job ran. Leave --tag out to take the commit."
  [[ -z $account || $account =~ ^[0-9]{12}$ ]] || die "an account has 12 digits. Received: $account."
}

# ---- what is needed, before anything that takes long

work=""
cleanup() { [[ -z $work ]] || rm -rf "$work"; }
trap cleanup EXIT

check_tools() {
  local tool
  for tool in docker aws python3; do
    command -v "$tool" >/dev/null || die "there is no $tool on PATH. Install it first."
  done
  timeout 20 docker info >/dev/null 2>&1 || die "no Docker engine answers. Start it (dockerd, Docker Desktop) and try again."
  work=$(mktemp -d 2>/dev/null) || die "no temporary folder can be made in ${TMPDIR:-/tmp}. Is the disk full? Set TMPDIR to another."
}

# One call to AWS, in the region: its answer on stdout, or what is wrong in a line. `allowed`: an error that the caller
# takes for an answer; then nothing, and status 3.
allowed=""
call() {
  aws --region "$region" --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@" 2>"$work/error" && return
  local said
  said=$(tr '\n' ' ' <"$work/error" | sed 's/^ *//; s/ *$//')
  case $said in
    *KeyboardInterrupt*) exit 130 ;;
    *"${allowed:-no such error}"*) return 3 ;;
    *"Unable to locate credentials"* | *"config profile"*)
      die "no AWS credentials were found. Run \`aws configure\` or \`aws sso login\`, or set AWS_PROFILE." ;;
    *InvalidClientTokenId* | *UnrecognizedClient* | *ExpiredToken* | *SignatureDoesNotMatch*)
      die "AWS does not know these credentials. Sign in again: \`aws configure\`, \`aws sso login\`, or new keys." ;;
    *"Could not connect"* | *"Connect timeout"* | *"Read timeout"* | *"Connection was closed"*)
      die "AWS does not answer: $said. Is there a network?" ;;
    *AccessDenied*) die "access denied: $said launch/iam/pusher_policy.json has what a push needs." ;;
    *) die "aws $1 $2 was refused: $said" ;;
  esac
}

find_region() {
  region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region 2>/dev/null || true)}}}
  [[ -n $region ]] || die "no region is set. Give --region, set AWS_DEFAULT_REGION, or run \`aws configure set region REGION\`."
}

find_account() {
  local own
  own=$(call sts get-caller-identity --query Account)
  account=${account:-${AWS_ACCOUNT_ID:-$own}}
}

ask_git() {
  git -C "$root" "$@" 2>"$work/error" && return
  case $(<"$work/error") in
    *"dubious ownership"*)
      die "git reads no checkout of another user's. Received: $root. Run \`git config --global --add safe.directory '$root'\`, or give --tag." ;;
    *) die "there is no commit to take a tag from: $(head -n 1 "$work/error"). Received: $root. Give --tag." ;;
  esac
}

find_tag() {
  [[ -z $tag ]] || return 0
  local commit changes
  commit=$(ask_git rev-parse --short=12 HEAD)
  tag=${commit:0:12}
  [[ -z $image ]] || return 0
  changes=$(ask_git status --porcelain)
  own_tag=yes
  if [[ -n $changes ]]; then
    [[ -n $allow_dirty ]] || die "files are not committed, so the tag $tag would not say what is in the image. Commit them, or give --allow-dirty."
    tag=$tag-dirty own_tag=""
  fi
}

check_image() {
  local found
  found=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$image" 2>/dev/null) ||
    die "there is no such image on this machine. Received: $image. Build it first, or leave --image out."
  case $(manifest_type) in
    *.index.* | *.manifest.list.*)
      die "SageMaker refuses an index of manifests. Received: $image, which is one, for several platforms or with attestations. Build it with --provenance=false --sbom=false, for $PLATFORM alone." ;;
    *.oci.*)
      say "the manifest of $image is an OCI one, which SageMaker's CreateModel refuses; \`docker build --output type=docker,oci-mediatypes=false\` makes Docker's" ;;
  esac
  [[ $found == "$PLATFORM" ]] || die "SageMaker runs $PLATFORM. Received: $image, which is $found. Build it with --platform $PLATFORM."
}

# The media type of what a push of the image sends; nothing where the engine keeps no manifest, and makes one of Docker's.
manifest_type() {
  docker image inspect "$image" >"$work/image"
  if grep --quiet '"Descriptor": {' "$work/image"; then # Docker 28 and later
    read_json '[0]["Descriptor"]["mediaType"]' <"$work/image"
  elif [[ $(docker info --format '{{json .DriverStatus}}') == *io.containerd.snapshotter* ]]; then
    docker save "$image" | tar --extract --to-stdout index.json | read_json '["manifests"][0]["mediaType"]'
  fi
}

read_json() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

# ---- repository

uri="" # of the repository, without a tag

find_repository() {
  local status=0
  allowed=RepositoryNotFoundException
  uri=$(call ecr describe-repositories --registry-id "$account" --repository-names "$repository" \
    --query 'repositories[0].repositoryUri') || status=$?
  allowed=""
  case $status in
    0) ;;
    3) make_repository ;;
    *) exit "$status" ;;
  esac
  [[ -z ${PUSH_REGISTRY:-} ]] || uri=$PUSH_REGISTRY/$repository
}

make_repository() {
  if [[ -n $dry_run ]]; then
    say "would make the repository $repository in $account, $region"
    uri=$account.dkr.ecr.$region.amazonaws.com/$repository
    return
  fi
  uri=$(call ecr create-repository --registry-id "$account" --repository-name "$repository" \
    --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true \
    --encryption-configuration encryptionType=AES256 --query repository.repositoryUri)
  say "made the repository $uri: immutable tags, scan on push, AES-256"
}

# "digest configuration's-digest" of what has the tag in the repository; nothing if nothing has.
find_pushed() {
  call ecr batch-get-image --registry-id "$account" --repository-name "$repository" --image-ids "imageTag=$tag" \
    --output json >"$work/pushed" || return
  python3 - "$work/pushed" <<'PYTHON'
import json, sys
for image in json.load(open(sys.argv[1]))["images"]:
    manifest = json.loads(image["imageManifest"])
    print(image["imageId"]["imageDigest"], "index" if "manifests" in manifest else manifest["config"]["digest"])
PYTHON
}

# ---- image

build() {
  image=cv-keras-cifar10:$tag
  IMAGE=$image "$root/container/build.sh" >&2 || die "the build failed; its own lines are above."
}

# One short job in Pipe mode, over FIFOs, on drawn shapes.
try_image() {
  local python=${PYTHON:-$root/.venv/bin/python}
  [[ -x $python ]] || die "the smoke test needs this project's environment. Received: no $python. Run \`make env\` first."
  say "smoke test: one training job in Pipe mode with $image"
  (cd "$root" && "$python" -m dataset prepare --source synthetic --out "$work/data" --shards 50 >&2 &&
    mkdir "$work/train" "$work/validation" && cp "$work"/data/train/*-00000-* "$work/train" &&
    cp "$work"/data/validation/*-00000-* "$work/validation" &&
    "$python" -m local_test train --runner docker --image "$image" --input-mode Pipe --out "$work/jobs" --name smoke-test \
      --channel "train=$work/train" --channel "validation=$work/validation" --channel "dataset=$work/data/dataset.json" \
      --hyperparameter epochs=1 --hyperparameter model=tutorial >&2) ||
    die "the smoke test failed, nothing was pushed; the job's own lines are above."
}

log_in() {
  local registry=${uri%%/*} said
  call ecr get-login-password >"$work/password"
  docker login --username AWS --password-stdin "$registry" <"$work/password" >/dev/null 2>"$work/error" || {
    rm -f "$work/password"
    said=$(tail -n 1 "$work/error")
    case $said in
      *"saving credentials"* | *"storing credentials"*)
        die "the registry refuses what docker's credential helper gives, and the helper keeps no login: $said. See credHelpers and credsStore in ${DOCKER_CONFIG:-~/.docker}/config.json. Received: $registry." ;;
      *) die "the registry refuses the login: $said. Received: $registry. Is it reached from here?" ;;
    esac
  }
  rm -f "$work/password"
}

send() {
  "$root/container/quietly.sh" --log "$work/pushing" "pushing" timeout --foreground "$PUSH_LIMIT" docker push "$uri:$tag"
}

# With docker's own configuration first: a credential helper signs in by itself, and keeps no login of ours.
send_signed_in() {
  send && return
  grep --quiet --ignore-case --extended-regexp 'auth|denied|forbidden' "$work/pushing" || return
  log_in
  send
}

push() {
  docker tag "$image" "$uri:$tag"
  say "pushing $uri:$tag"
  send_signed_in || {
    tail -n 5 "$work/pushing" >&2
    die "the push failed: $(tail -n 1 "$work/pushing"). What has arrived is kept: run the same command again."
  }
  local digest
  digest=$(sed -n "s/^.*digest: \(sha256:[0-9a-f]\{64\}\) size.*/\1/p" "$work/pushing" | tail -n 1)
  [[ -n $digest ]] || digest=$(find_pushed) # podman's docker does not say it
  [[ -n $digest ]] || die "neither docker nor ECR has said the digest: $(tail -n 1 "$work/pushing")"
  echo "$uri@${digest% *}"
}

main() {
  parse "$@"
  check_tools
  find_region
  find_tag
  [[ -z $image ]] || check_image
  find_account
  find_repository
  if [[ -n $dry_run ]]; then
    say "would push ${image:-the image of this checkout} to $uri:$tag"
    return
  fi
  local there result
  there=$(find_pushed)
  [[ ${there#* } != index ]] ||
    die "the tag $tag names an index of manifests, which SageMaker refuses, and tags are immutable. Received: ${there% *} in $uri. Give another --tag."
  # what a commit's own tag names is that commit's image: there is nothing to build
  if [[ -z $image && (-z $there || -z $own_tag) ]]; then
    build
    check_image
  fi
  if [[ -n $there ]]; then
    # an image's ID is its configuration's digest, in the containerd store its manifest's
    [[ -n $own_tag || " $there " == *" $(docker image inspect --format '{{.Id}}' "$image") "* ]] ||
      die "the tag $tag is taken by another image, and tags are immutable. Received: ${there% *} in $uri. Give another --tag."
    say "$uri:$tag is there already"
    echo "$uri@${there% *}"
    return
  fi
  [[ -z $smoke_test ]] || try_image
  result=$(push)
  [[ -z $sbom ]] || "$root/container/sbom.sh" "$image" "$result" >"$sbom" ||
    die "the bill of materials can't be written. Received: $sbom. The image is pushed: $result"
  echo "$result"
}

main "$@"
