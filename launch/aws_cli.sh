#!/usr/bin/env bash
# Usage: launch/aws_cli.sh train|tune --image IMAGE --role ROLE --bucket BUCKET [OPTION…]
#
# Train or tune with the AWS CLI; Python's standard library fills in the request. The same command runs on AWS and, with
# the exports of `python -m local_test serve`, on this machine. Ctrl-C asks whether a job that is waited for is to stop.

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root SECONDS_BETWEEN=2
readonly QUIET=5 # seconds without a word, after which the next look says that the job goes on
readonly PATIENCE=100 # calls without an answer, of some seconds each, before waiting is given up
readonly NETWORK="ould not connect|Failed to connect|onnect timeout|Read timeout|Connection was closed|SSL validation failed"
readonly OVERLOAD="Throttling|RequestLimitExceeded|ServiceUnavailable|InternalFailure"
export PYTHONPATH=$root AWS_PAGER="" AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard

usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  python3 -m launch.core.request --help | sed -n '/^options:/,$p'
}

die() {
  echo "$*" >&2
  exit 1
}

ask() { aws --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@" 2>"$work/error"; }

# One call: its answer, or one line that says what to do instead.
call() { ask "$@" || explain "$1 $2"; }

explain() {
  local error
  error=$(tr '\n' ' ' <"$work/error" | sed 's/^ *//; s/ *$//')
  # aws says nothing only after Ctrl-C; while it loads its modules, where it was then
  [[ -n $error && $error != *KeyboardInterrupt* ]] || exit 130
  [[ ! $error =~ $NETWORK ]] ||
    die "Nothing answers: $error. Is there a network? For the local API: does \`python -m local_test serve\` run?"
  case "$1: $error" in
    *"Unable to locate credentials"* | *"config profile"*)
      die "No AWS credentials were found. Run \`aws configure\` or set AWS_PROFILE; for the local API paste the exports that \`python -m local_test serve\` prints." ;;
    *InvalidClientTokenId* | *UnrecognizedClient* | *ExpiredToken* | *SignatureDoesNotMatch* | *InvalidAccessKeyId*)
      die "AWS does not know these credentials. Sign in again: \`aws configure\`, \`aws sso login\`, or new keys." ;;
    *"You must specify a region"*) die "No region is set. Set AWS_DEFAULT_REGION, or run \`aws configure set region REGION\`." ;;
    s3api*"(404)"*) die "The bucket does not exist. Received: $bucket. Make it with \`aws s3 mb s3://$bucket\`, or name another --bucket." ;;
    s3api*"(403)"*) die "The bucket may not be used with these credentials. Received: $bucket. Is it yours? Name another --bucket." ;;
    s3api*"(301)"*) die "The bucket is in another region than the job. Received: $bucket. Set AWS_DEFAULT_REGION, or name another --bucket." ;;
    iam*NoSuchEntity*) die "The role does not exist in this account. Received: $role. launch/iam/ has what to make one from; with the local API it is called local." ;;
    iam*AccessDenied*) die "The role can't be looked up by its name. Received: $role. Give its ARN." ;;
    *AccessDenied*) die "Access denied: $error launch/iam/launcher_policy.json has what a launcher needs." ;;
    *ResourceLimitExceeded*) die "$error Ask for a higher quota in Service Quotas, or take another --instance-type." ;;
    *) die "$1 was refused: $error" ;;
  esac
}

# inputs: prefix, and what to say if nothing is there, in turns.
check_bucket() {
  local region here input found
  region=$(call s3api head-bucket --bucket "$bucket" --query BucketRegion)
  here=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ $region == None || $region == "$here" ]] ||
    die "The bucket is in another region than the job. Received: $bucket in $region, the job in $here. Set AWS_DEFAULT_REGION=$region, or name another --bucket."
  for ((input = 0; input < ${#inputs[@]}; input += 2)); do
    found=$(call s3api list-objects-v2 --bucket "$bucket" --prefix "${inputs[input]}" --max-keys 1 --no-paginate --query KeyCount)
    [[ $found == 1 ]] || die "${inputs[input + 1]}"
  done
}

# The role's ARN. Who may not look at roles gives it: then the service says what is wrong.
find_role() {
  local found arn trusted
  if ! found=$(ask iam get-role --role-name "${role##*/}" --query \
    "[Role.Arn, contains(to_string(Role.AssumeRolePolicyDocument), 'sagemaker.amazonaws.com')]"); then
    { [[ $role == arn:* ]] && grep -q AccessDenied "$work/error"; } || explain "iam get-role"
    echo "$role" && return
  fi
  read -r arn trusted <<<"$found"
  [[ $role != arn:* || $role == "$arn" ]] || die "The role does not exist. Received: $role. Did you mean $arn?"
  [[ $trusted == True ]] ||
    die "SageMaker may not assume the role. Received: $role. Its trust policy must name sagemaker.amazonaws.com: see launch/iam/trust_policy.json."
  echo "$arn"
}

create_unless_exists() { ask sagemaker "$@" >/dev/null || grep -q "already exists" "$work/error" || explain "sagemaker $1"; }

# Print each new state until the job is over, through a network that is away for a while.
wait_for_end() {
  local now state="" unanswered=0 told=$SECONDS query="[TrainingJobStatus, SecondaryStatus, SecondaryStatusTransitions[-1].StatusMessage]"
  [[ $kind == training-job ]] || query="[HyperParameterTuningJobStatus, 'Tuning', to_string(TrainingJobStatusCounters)]"
  until [[ $state == @(Completed|Failed|Stopped)$'\t'* ]]; do
    if now=$(ask sagemaker "describe-$kind" "--$kind-name" "$name" --query "$query"); then
      unanswered=0
      [[ $now == "$state" ]] || { echo "-- $(cut -f 2 <<<"$now"): $(cut -f 3 <<<"$now")" && told=$SECONDS; }
      state=$now
    elif [[ -s $work/error ]]; then # empty: Ctrl-C has interrupted the call
      { grep -qE "$NETWORK|$OVERLOAD" "$work/error" && ((++unanswered <= PATIENCE)); } || explain "sagemaker describe-$kind"
      ((unanswered > 1)) || echo "-- AWS does not answer; the job goes on, and so does looking"
    fi
    if ((SECONDS - told >= QUIET)); then
      ((unanswered)) && now="no answer" || now=$(cut -f 2 <<<"$state")
      printf -- '-- %s: %d:%02d\n' "$now" $((SECONDS / 60)) $((SECONDS % 60))
      told=$SECONDS
    fi
    sleep "$SECONDS_BETWEEN" || true
  done
}

# How to follow the job later, and how to stop it.
say_way_back() {
  local place=--aws
  [[ -z ${AWS_ENDPOINT_URL:-} ]] || place="--endpoint-url $AWS_ENDPOINT_URL"
  echo "-- follow it: python -m local_test attach $name $place"
  echo "-- stop it:   python -m local_test stop $name $place"
}

# What Ctrl-C does while the job is waited for.
confirm_stop() {
  local answer=""
  [[ ! -t 0 ]] || read -r -p $'\n'"Stop $name, too? [y/N] " answer 2>&3 || true
  [[ $answer == [yY]* ]] || { echo "$name goes on." >&3 && say_way_back >&3 && exit 130; }
  call sagemaker "stop-$kind" "--$kind-name" "$name"
}

# Metrics, what is billed, the model; of a tuning job, its best training job's. Fails unless the job completed.
summarize() {
  local best=None
  call sagemaker "describe-$kind" "--$kind-name" "$name" --output json >"$work/0-job.json"
  [[ $kind == training-job ]] ||
    best=$(call sagemaker "describe-$kind" "--$kind-name" "$name" --query BestTrainingJob.TrainingJobName)
  [[ $best == None ]] || call sagemaker describe-training-job --training-job-name "$best" --output json >"$work/1-best.json"
  python3 -m launch.core.summary "$work"/[01]-*.json
}

main() {
  local facts tool word kind name role bucket experiment wait
  local -a inputs
  for word; do
    [[ $word != -h && $word != --help ]] || { usage && return; }
  done
  for tool in aws python3; do
    command -v "$tool" >/dev/null || die "There is no $tool on PATH. Install it first."
  done
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  exec 3>&2 # a command that Ctrl-C interrupts may have redirected it
  trap 'printf "\nInterrupted. If %s was accepted already, it goes on.\n" "${name:-a job}" >&3 && exit 130' INT
  facts=$(python3 -m launch.core.shell_facts "$@") || exit $?
  eval "$facts" # kind, name, role, bucket, experiment, wait, inputs
  call sts get-caller-identity >/dev/null
  check_bucket
  role=$(find_role)
  if [[ -n $experiment ]]; then
    create_unless_exists create-experiment --experiment-name "$experiment"
    create_unless_exists create-trial --trial-name "$name" --experiment-name "$experiment"
  fi
  python3 -m launch.core.request "$@" --role "$role" --name "$name" >"$work/request.json"
  call sagemaker "create-$kind" --cli-input-json "file://$work/request.json" >/dev/null
  echo "-- $name was accepted"
  [[ -z $experiment || $kind == training-job ]] ||
    echo "-- afterwards: python -m launch.experiments associate --job $name --experiment $experiment"
  [[ -n $wait ]] || { say_way_back && return; }
  trap confirm_stop INT
  wait_for_end
  summarize
}

main "$@"
