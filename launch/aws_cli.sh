#!/usr/bin/env bash
# Usage: launch/aws_cli.sh train|tune --image IMAGE --role ROLE --bucket BUCKET [--name NAME] [--instance-type TYPE]
#                          [--spot] [--wait] [--experiment NAME] [--hyperparameter NAME=VALUE]…
#                          [--job FILE]
#
# Train or tune with the AWS CLI. The same command runs on AWS and, with the exports of `python -m local_test serve`, on
# this machine. Python 3 fills in the request (launch/core/request.py, standard library only).
#
#   --image           what push.sh printed: repository@sha256:…; locally any image
#   --role            name or ARN of the execution role; locally: local
#   --bucket          where `python -m dataset upload` has put the data
#   --name            of the job; default: one with the time
#   --instance-type   default: what the request's file says
#   --spot            managed spot instances, with checkpoints
#   --wait            follow the job to its end; exit 0 only if it completes. Ctrl-C asks whether the job is to stop, too
#   --experiment      put the job's runs into a trial of this experiment; made if need be
#   --hyperparameter  instead of, or besides the file's
#   --job             a request instead of launch/training_job.json or launch/tuning_job.json

set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly GROUP=/aws/sagemaker/TrainingJobs SECONDS_BETWEEN=2
readonly PATIENCE=100 # calls without an answer, of some seconds each, before following is given up
export AWS_PAGER="" AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

die() {
  echo "$*" >&2
  exit 1
}

exec 3>&1 4>&2 # what Ctrl-C finds may be redirected, for the command that it interrupts
work=$(mktemp -d)
error=$work/error follower=""
trap clean_up EXIT

clean_up() {
  [[ -z $follower ]] || kill -KILL "$follower" 2>/dev/null || true
  rm -rf "$work"
}

# One call. Its answer on stdout; what it says instead of one is explained, in a line, and ends the script.
call() {
  aws --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@" 2>"$error" || explain "$@"
}

# As call, of a job that is followed. It does not need us: a network that is away for a while ends nothing.
ask() {
  local try
  for ((try = 0; try < PATIENCE; try++)); do
    aws --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$@" 2>"$error" && return
    passes || break
    ((try)) || echo "-- AWS does not answer; the job goes on, and so does looking" >&2
    sleep "$SECONDS_BETWEEN"
  done
  explain "$@"
}

# Whether the last error says nothing of the job or of the caller.
passes() {
  case $(said) in
    *"Could not connect to the endpoint"* | *"onnect timeout"* | *"Read timeout"* | *"Connection was closed"* | \
      *"Failed to connect"* | *Throttling* | *RequestLimitExceeded* | *ServiceUnavailable* | *InternalFailure*) return 0 ;;
    *) return 1 ;;
  esac
}

said() { tr '\n' ' ' <"$error" | sed 's/^ *//; s/ *$//'; }

explain() {
  local said
  said=$(said)
  [[ -n $said ]] || exit 130 # aws says nothing only after Ctrl-C
  case $said in
    *"Unable to locate credentials"* | *"could not be found"*profile* | *"config profile"*)
      die "No AWS credentials were found. Run \`aws configure\` or set AWS_PROFILE; for the local API paste the exports that \`python -m local_test serve\` prints." ;;
    *"You must specify a region"*)
      die "No region is set. Set AWS_DEFAULT_REGION, or run \`aws configure set region REGION\`." ;;
    *"Could not connect to the endpoint"* | *"onnect timeout"* | *"SSL validation failed"* | *"Read timeout"* | *"Connection was closed"* | *"Failed to connect"*)
      die "Nothing answers: $said. Is there a network? For the local API: does \`python -m local_test serve\` run?" ;;
    *InvalidClientTokenId* | *UnrecognizedClient* | *ExpiredToken* | *SignatureDoesNotMatch* | *InvalidAccessKeyId*)
      die "AWS does not know these credentials. Sign in again: \`aws configure\`, \`aws sso login\`, or new keys." ;;
    *AccessDenied*)
      die "Access denied: $said launch/iam/launcher_policy.json has what a launcher needs." ;;
    *ResourceLimitExceeded*)
      die "$said Ask for a higher quota in Service Quotas, or take another --instance-type." ;;
    *) die "$1 $2 was refused: $said" ;;
  esac
}

check_bucket() {
  local bucket=$1 place here
  if ! aws s3api head-bucket --bucket "$bucket" --query BucketRegion --output text >"$work/place" 2>"$error"; then
    case $(<"$error") in
      *"(404)"* | *NoSuchBucket*)
        die "The bucket does not exist. Received: $bucket. Make it with \`aws s3 mb s3://$bucket\`, or name another --bucket." ;;
      *"(403)"*)
        die "The bucket may not be used with these credentials. Received: $bucket. Is it yours? Name another --bucket." ;;
      *"(301)"*) echo "another region" >"$work/place" ;;
      *) explain s3api head-bucket ;;
    esac
  fi
  place=$(<"$work/place")
  here=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ $place == None || $place == "$here" ]] ||
    die "The bucket is in another region than the job. Received: $bucket in $place, the job in $here. Set AWS_DEFAULT_REGION=$place, or name another --bucket."
}

# What the job reads of its bucket.
check_data() {
  local bucket=$1 uri advice found
  while IFS=$'\t' read -r uri advice; do
    found=$(call s3api list-objects-v2 --bucket "$bucket" --prefix "${uri#"s3://$bucket/"}" --max-keys 1 \
      --query KeyCount --no-paginate </dev/null)
    [[ $found == 1 ]] || die "$advice"
  done < <(PYTHONPATH=$root python3 -c 'import json, sys
from launch.core.request import no_data, places
request, bucket = json.load(open(sys.argv[1])), sys.argv[2]
for uri, channel in places(request).items():
    if uri.startswith(f"s3://{bucket}/"):
        print(uri, no_data(channel, uri, bucket), sep="\t")' "$work/request.json" "$bucket")
}

# The role's ARN. A launcher need not be allowed to look at roles: then the service says what is wrong.
find_role() {
  local role=$1 found
  if ! aws iam get-role --role-name "${role##*/}" --query 'Role.[Arn, AssumeRolePolicyDocument]' --output json >"$work/role" 2>"$error"; then
    case $(<"$error") in
      *NoSuchEntity*)
        die "The role does not exist in this account. Received: $role. launch/iam/ has what to make one from; with the local API it is called local." ;;
      *AccessDenied*)
        [[ $role == arn:* ]] || die "The role can't be looked up by its name. Received: $role. Give its ARN."
        echo "$role"
        return ;;
      *) explain iam get-role ;;
    esac
  fi
  grep -q sagemaker.amazonaws.com "$work/role" ||
    die "SageMaker may not assume the role. Received: $role. Its trust policy must name sagemaker.amazonaws.com: see launch/iam/trust_policy.json."
  found=$(sed -n 's/^ *"\(arn:[^"]*\)",*$/\1/p' "$work/role" | head -n 1)
  [[ $role != arn:* || $role == "$found" ]] || die "The role does not exist. Received: $role. Did you mean $found?"
  echo "$found"
}

# ---- experiments

# Make something, unless it is there.
unless_there() {
  aws sagemaker "$@" >/dev/null 2>"$error" || grep -q "already exists" "$error" || explain sagemaker "$1"
}

# Every run of the job into the trial: those of a tuning job have no ExperimentConfig.
add_runs() {
  local component
  for component in $(call sagemaker search --resource ExperimentTrialComponent --search-expression \
    "{\"Filters\": [{\"Name\": \"Source.SourceArn\", \"Operator\": \"Contains\", \"Value\": \":training-job/${1,,}\"}]}" \
    --query 'Results[].TrialComponent.TrialComponentName'); do
    # the search finds a job whose name only begins so, too
    [[ ${component,,} =~ ^${1,,}(-[0-9]{3,}-[0-9a-f]+)?-aws-training-job$ ]] || continue
    call sagemaker associate-trial-component --trial-component-name "$component" --trial-name "$2" >/dev/null
  done
}

# ---- following

declare -A token # of each log stream
state="" command="" name=""

tell_lines() {
  local name=$1 stream host line next
  for stream in $(aws logs describe-log-streams --log-group-name "$GROUP" --log-stream-name-prefix "$name/" \
    --query 'logStreams[].logStreamName' --output text 2>/dev/null); do
    host=${stream#"$name"/}
    while :; do
      local -a from=()
      [[ -z ${token[$stream]:-} ]] || from=(--next-token "${token[$stream]}")
      ask logs get-log-events --log-group-name "$GROUP" --log-stream-name "$stream" --start-from-head \
        "${from[@]}" --query '[nextForwardToken, events[].message]' --output json --no-paginate >"$work/page"
      python3 -c 'import json, sys
token, lines = json.load(open(sys.argv[1]))
print(token)
for line in lines: print(f"{sys.argv[2]}  {line}")' "$work/page" "${host%-*}" >"$work/lines"
      next=$(head -n 1 "$work/lines")
      tail -n +2 "$work/lines"
      line=$(wc -l <"$work/lines")
      [[ $next != "${token[$stream]:-}" && $line -gt 1 ]] || { token[$stream]=$next && break; }
      token[$stream]=$next
    done
  done
}

follow_training() {
  local name=$1 status now
  while :; do
    now=$(ask sagemaker describe-training-job --training-job-name "$name" \
      --query '[TrainingJobStatus, SecondaryStatus, SecondaryStatusTransitions[-1].StatusMessage]')
    status=${now%%$'\t'*}
    tell_lines "$name"
    if [[ $now != "$state" ]]; then
      state=$now
      # CloudWatch shows a line some time after it was written
      case $status in Completed | Failed | Stopped) sleep "$SECONDS_BETWEEN" && tell_lines "$name" ;; esac
      echo "-- $(cut -f 2 <<<"$now"): $(cut -f 3 <<<"$now")"
    fi
    case $status in Completed | Failed | Stopped) break ;; esac
    sleep "$SECONDS_BETWEEN"
  done
  tell_result "$name"
  [[ $status == Completed ]]
}

tell_result() {
  local reason seconds count type
  reason=$(ask sagemaker describe-training-job --training-job-name "$1" --query FailureReason)
  [[ $reason == None ]] || echo "$1 has failed: $reason"
  ask sagemaker describe-training-job --training-job-name "$1" --query 'FinalMetricDataList[].[MetricName, Value]' |
    { grep -v '^None$' || true; } | awk -F '\t' '{printf "%-20s %.6g\n", $1, $2}'
  read -r seconds count type < <(ask sagemaker describe-training-job --training-job-name "$1" \
    --query '[BillableTimeInSeconds, ResourceConfig.InstanceCount, ResourceConfig.InstanceType]')
  [[ $seconds == None ]] || printf '%-20s %s s of %s × %s\n' billed "$seconds" "$count" "$type"
  ask sagemaker describe-training-job --training-job-name "$1" --query ModelArtifacts.S3ModelArtifacts |
    { grep '^s3:' || true; } | awk '{printf "%-20s %s\n", "model", $1}'
}

follow_tuning() {
  local name=$1 status best
  while :; do
    status=$(ask sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name "$name" \
      --query HyperParameterTuningJobStatus)
    ask sagemaker list-training-jobs-for-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name "$name" \
      --query 'TrainingJobSummaries[].[TrainingJobName, TrainingJobStatus, FinalHyperParameterTuningJobObjectiveMetric.Value]' |
      { grep -v '^None$' || true; } | sort >"$work/jobs"
    touch "$work/told"
    comm -13 "$work/told" "$work/jobs"
    mv "$work/jobs" "$work/told"
    case $status in Completed | Failed | Stopped) break ;; esac
    sleep "$SECONDS_BETWEEN"
  done
  echo "-- $status"
  best=$(ask sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name "$name" \
    --query BestTrainingJob.TrainingJobName)
  if [[ $best != None ]]; then
    printf '%-20s %s\n' best "$best"
    ask sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name "$name" --output json \
      --query BestTrainingJob.TunedHyperParameters >"$work/tuned"
    python3 -c 'import json, sys
for name, value in sorted(json.load(open(sys.argv[1])).items()): print(f"{name:<20} {value}")' "$work/tuned"
    tell_result "$best"
  fi
  [[ $status == Completed ]]
}

# Ctrl-C before there is a job to follow.
abandoned() {
  exec >&3 2>&4
  printf '\nInterrupted. If %s was accepted already, it goes on.\n' "${name:-a job}" >&2
  exit 130
}

follow() {
  error=$work/follower-error
  if [[ $command == train ]]; then follow_training "$name"; else follow_tuning "$name"; fi
}

# To the job's end, whose exit code is then `status`. What follows the job runs in the background, where Ctrl-C interrupts
# no command halfway; here Ctrl-C asks whether the job is to stop, too.
watch() {
  (trap "" INT && follow) &
  follower=$!
  trap : INT # ends nothing but `wait`
  trap 'exit 143' HUP TERM
  while :; do
    status=0
    wait "$follower" || status=$?
    if ((status <= 128)) || ! kill -STOP "$follower" 2>/dev/null; then
      follower=""
      return 0
    fi
    if ! stop_wanted; then
      echo "$name goes on."
      exit 130
    fi
    kill -CONT "$follower"
    stop
  done
}

stop_wanted() {
  local answer=""
  [[ -t 0 ]] || return 1
  read -r -p $'\n'"Stop $name, too? [y/N] " answer || true
  [[ $answer == [yY]* ]]
}

stop() {
  if [[ $command == train ]]; then
    call sagemaker stop-training-job --training-job-name "$name"
  else
    call sagemaker stop-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name "$name"
  fi
}

# Command, name, role and bucket of a request.
read_request() {
  python3 -c 'import json, sys
request = json.load(open(sys.argv[1]))
job = request.get("TrainingJobDefinition", request)
name = request.get("TrainingJobName") or request["HyperParameterTuningJobName"]
print("train" if "TrainingJobName" in request else "tune", name, job["RoleArn"], job["OutputDataConfig"]["S3OutputPath"].split("/")[2])' "$1"
}

main() {
  local role bucket arn tool argument previous="" wait="" experiment="" status=0
  for argument in "$@"; do
    [[ $previous != --experiment ]] || experiment=$argument
    previous=$argument
    case $argument in
      -h | --help) usage && return ;;
      --wait) wait=yes ;;
    esac
  done
  for tool in aws python3; do
    command -v "$tool" >/dev/null || die "There is no $tool on PATH. Install it first."
  done
  trap abandoned INT
  # it knows the whole command line, and says what is wrong with it
  PYTHONPATH=$root python3 -m launch.core.request "$@" >"$work/request.json" || exit $?
  read -r command name role bucket < <(read_request "$work/request.json")
  call sts get-caller-identity >/dev/null
  check_bucket "$bucket"
  check_data "$bucket"
  arn=$(find_role "$role")
  PYTHONPATH=$root python3 -m launch.core.request "$@" --role "$arn" --name "$name" >"$work/request.json"
  if [[ -n $experiment ]]; then
    unless_there create-experiment --experiment-name "$experiment"
    unless_there create-trial --trial-name "$name" --experiment-name "$experiment"
  fi
  if [[ $command == train ]]; then
    call sagemaker create-training-job --cli-input-json "file://$work/request.json" >/dev/null
  else
    call sagemaker create-hyper-parameter-tuning-job --cli-input-json "file://$work/request.json" >/dev/null
  fi
  echo "-- $name was accepted"
  if [[ -n $wait ]]; then
    watch
    [[ -z $experiment ]] || add_runs "$name" "$name"
  elif [[ -n $experiment && $command == tune ]]; then
    echo "-- afterwards: python -m launch.experiments associate --job $name --experiment $experiment"
  fi
  return "$status"
}

main "$@"
