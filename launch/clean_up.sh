#!/usr/bin/env bash
# Usage: launch/clean_up.sh --bucket BUCKET [--repository NAME] [--yes]
#
# Removes what the other commands have made, and asks before each kind: jobs that still run are stopped; data, models and
# checkpoints under s3://BUCKET/cv_keras_cifar10/; the log streams of the jobs; the ECR repository with its images. The
# bucket, roles, and the (free) records of jobs that are over stay.
#
#   --repository  default cv-keras-cifar10
#   --yes         ask nothing

set -Eeuo pipefail

readonly PREFIX=cv_keras_cifar10 GROUP=/aws/sagemaker/TrainingJobs
readonly NAMES=(cv-keras-cifar10- cifar10-) # how the clients' jobs begin
export AWS_PAGER="" AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "clean_up.sh: $*" >&2
  exit 1
}

call() { aws --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@"; }

# Words of an answer, a line each; nothing for None.
words() { tr '\t' '\n' | { grep -vx None || true; } | { grep . || true; }; }

bucket="" repository=cv-keras-cifar10 yes=""

confirm() {
  local answer=""
  [[ -z $yes ]] || return 0
  read -r -p "$1 [y/N] " answer || true
  [[ $answer == [yY]* ]]
}

stop_jobs() {
  local kind list field option name
  for kind in training hyper-parameter-tuning; do
    case $kind in
      training) list=TrainingJobSummaries field=TrainingJobName option=training-job ;;
      *) list=HyperParameterTuningJobSummaries field=HyperParameterTuningJobName option=hyper-parameter-tuning-job ;;
    esac
    for name in "${NAMES[@]}"; do
      call sagemaker "list-$kind-jobs" --status-equals InProgress --name-contains "$name" --query "${list}[].$field" | words
    done | { grep -E "^(cv-keras-)?cifar10-" || true; } | sort -u >"$work/jobs"
    [[ -s $work/jobs ]] || continue
    cat "$work/jobs"
    confirm "Stop these $(wc -l <"$work/jobs") $kind jobs?" || continue
    while read -r name; do
      # a training job of a tuning job may have ended with it
      call sagemaker "stop-$kind-job" "--$option-name" "$name" || true
    done <"$work/jobs"
  done
}

remove_objects() {
  local count
  count=$(call s3api list-objects-v2 --bucket "$bucket" --prefix "$PREFIX/" --query 'Contents[].Key' | words | wc -l)
  ((count)) || { echo "s3://$bucket/$PREFIX/ is empty" && return; }
  confirm "Remove $count objects under s3://$bucket/$PREFIX/: data, models, checkpoints?" || return 0
  call s3 rm --recursive --only-show-errors "s3://$bucket/$PREFIX/"
  echo "removed $count objects"
}

remove_logs() {
  local name stream
  for name in "${NAMES[@]}"; do
    call logs describe-log-streams --log-group-name "$GROUP" --log-stream-name-prefix "$name" \
      --query 'logStreams[].logStreamName' 2>/dev/null | words || true
  done >"$work/streams"
  [[ -s $work/streams ]] || { echo "there are no log streams of these jobs" && return; }
  confirm "Remove $(wc -l <"$work/streams") log streams in $GROUP?" || return 0
  while read -r stream; do
    call logs delete-log-stream --log-group-name "$GROUP" --log-stream-name "$stream"
  done <"$work/streams"
  echo "removed $(wc -l <"$work/streams") log streams"
}

remove_repository() {
  local count
  count=$(call ecr list-images --repository-name "$repository" --query 'imageIds[].imageDigest' 2>"$work/error" | words | wc -l) || {
    grep -q RepositoryNotFoundException "$work/error" || die "$(tail -n 1 "$work/error")"
    echo "there is no repository $repository"
    return
  }
  confirm "Remove the repository $repository with $count image tags?" || return 0
  call ecr delete-repository --repository-name "$repository" --force >/dev/null
  echo "removed the repository $repository"
}

main() {
  while (($#)); do
    case $1 in
      -h | --help) usage && return ;;
      --yes) yes=yes ;;
      --bucket | --repository)
        [[ -n ${2:-} ]] || die "$1 needs a value. launch/clean_up.sh --help says more."
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      *) die "unknown argument. Received: $1. launch/clean_up.sh --help lists what is known." ;;
    esac
    shift
  done
  [[ -n $bucket ]] || die "which bucket? Give --bucket."
  command -v aws >/dev/null || die "there is no aws on PATH. Install the AWS CLI first."
  [[ -n $yes || -t 0 ]] || die "nobody can be asked here. Give --yes to remove everything."
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  call sts get-caller-identity >/dev/null || die "these credentials don't work; aws has said why."
  stop_jobs
  remove_objects
  remove_logs
  remove_repository
}

main "$@"
