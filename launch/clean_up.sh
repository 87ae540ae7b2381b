#!/usr/bin/env bash
# Usage: launch/clean_up.sh --bucket BUCKET [--repository NAME] [--pipeline NAME] [--yes]
#
# Removes what the other commands have made, and asks before each kind: jobs and executions of the pipeline that still run
# are stopped; data, models and checkpoints under s3://BUCKET/cv_keras_cifar10/; the log streams of the jobs; the pipeline
# and its model packages; the ECR repository with its images. The bucket, roles, and the (free) records of jobs that are
# over stay.
#
#   --repository  default cv-keras-cifar10
#   --pipeline    default cv-keras-cifar10; its model package group has its name
#   --yes         ask nothing

set -Eeuo pipefail

readonly PREFIX=cv_keras_cifar10
readonly GROUPS_OF_LOGS=(/aws/sagemaker/TrainingJobs /aws/sagemaker/ProcessingJobs)
readonly NAMES=(cv-keras-cifar10- cifar10-) # how the clients' jobs begin
export AWS_PAGER="" AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "clean_up.sh: $*" >&2
  exit 1
}

# What aws says is said, but for the traceback of its own that Ctrl-C leaves while it loads its modules.
call() {
  local status=0
  aws --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@" 2>"$work/said" || status=$?
  ! grep -q KeyboardInterrupt "$work/said" || exit 130
  cat "$work/said" >&2
  return "$status"
}

# Words of an answer, a line each; nothing for None.
words() { tr '\t' '\n' | { grep -vx None || true; } | { grep . || true; }; }

bucket="" repository=cv-keras-cifar10 pipeline=cv-keras-cifar10 yes=""

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

# ARNs of the pipeline's executions, none if there is no such pipeline; $1: which, for JMESPath
list_executions() {
  call sagemaker list-pipeline-executions --pipeline-name "$pipeline" \
    --query "PipelineExecutionSummaries$1.PipelineExecutionArn" 2>"$work/error" | words ||
    grep -qE "ResourceNotFound|does not exist" "$work/error" || die "$(tail -n 1 "$work/error")"
}

stop_executions() {
  local arn
  list_executions "[?PipelineExecutionStatus=='Executing']" >"$work/executing"
  [[ -s $work/executing ]] || return 0
  confirm "Stop $(wc -l <"$work/executing") executions of the pipeline $pipeline?" || return 0
  while read -r arn; do
    call sagemaker stop-pipeline-execution --pipeline-execution-arn "$arn" >/dev/null || true # it may have ended
  done <"$work/executing"
}

remove_objects() {
  local count
  count=$(call s3api list-objects-v2 --bucket "$bucket" --prefix "$PREFIX/" --query 'Contents[].Key' | words | wc -l)
  ((count)) || { echo "s3://$bucket/$PREFIX/ is empty" && return; }
  confirm "Remove $count objects under s3://$bucket/$PREFIX/: data, models, checkpoints?" || return 0
  call s3 rm --recursive --only-show-errors "s3://$bucket/$PREFIX/"
  echo "removed $count objects"
}

# Beginnings of the names of jobs: of the clients', and of those that the pipeline's executions have made.
list_beginnings() {
  printf '%s\n' "${NAMES[@]}"
  awk -F/ '{ print "pipelines-" $NF "-"; print $NF "-" }' "$work/executions"
}

remove_logs() {
  local group name stream
  list_beginnings >"$work/beginnings"
  for group in "${GROUPS_OF_LOGS[@]}"; do
    while read -r name; do
      call logs describe-log-streams --log-group-name "$group" --log-stream-name-prefix "$name" \
        --query 'logStreams[].logStreamName' 2>/dev/null | words | sed "s|^|$group |" || true
    done <"$work/beginnings"
  done >"$work/streams"
  [[ -s $work/streams ]] || { echo "there are no log streams of these jobs" && return; }
  confirm "Remove $(wc -l <"$work/streams") log streams in ${GROUPS_OF_LOGS[*]}?" || return 0
  while read -r group stream; do
    call logs delete-log-stream --log-group-name "$group" --log-stream-name "$stream"
  done <"$work/streams"
  echo "removed $(wc -l <"$work/streams") log streams"
}

delete_packages() {
  local arn
  while read -r arn; do
    call sagemaker delete-model-package --model-package-name "$arn" || return 1
  done
  call sagemaker delete-model-package-group --model-package-group-name "$pipeline"
}

remove_models() {
  call sagemaker list-model-packages --model-package-group-name "$pipeline" \
    --query 'ModelPackageSummaryList[].ModelPackageArn' 2>/dev/null | words >"$work/packages" || true
  [[ -s $work/packages ]] || return 0
  confirm "Remove $(wc -l <"$work/packages") model packages and their group $pipeline?" || return 0
  if delete_packages <"$work/packages"; then
    echo "removed $(wc -l <"$work/packages") model packages"
  else
    echo "the model packages stay: aws has said why" >&2
  fi
}

remove_pipeline() {
  call sagemaker describe-pipeline --pipeline-name "$pipeline" >/dev/null 2>&1 || return 0
  confirm "Remove the pipeline $pipeline?" || return 0
  if call sagemaker delete-pipeline --pipeline-name "$pipeline" >/dev/null; then
    echo "removed the pipeline $pipeline"
  else
    echo "the pipeline $pipeline stays: aws has said why. What is stopping takes its time; then run this again" >&2
  fi
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
      --bucket | --repository | --pipeline)
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
  trap 'exit 130' INT # whatever aws makes of it, nothing more is removed
  call sts get-caller-identity >/dev/null || die "these credentials don't work; aws has said why."
  stop_executions
  stop_jobs
  remove_objects
  list_executions '[]' >"$work/executions"
  remove_logs
  remove_models
  remove_pipeline
  remove_repository
}

main "$@"
