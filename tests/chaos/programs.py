"""What the jobs do: shell programs for `train`, in a container or as a process."""

from typing import Any

_HEAD = 'B=${SAGEMAKER_BASE_DIR:-/opt/ml}; D=$B/input/data; echo "loss=0.5"; '
_CHANNEL = "for n in 0 1; do until [ -p $D/train_$n ]; do sleep 0.05; done; "
PROGRAMS = {
    "short": "echo m > $B/model/m",
    "fails": "echo bad > $B/output/failure; exit 3",
    "prints": 'i=0; while [ $i -lt 3000 ]; do echo "line $i loss=$i"; i=$((i+1)); done',
    "reads": f"{_CHANNEL} cat $D/train_$n | wc -c; done; echo m > $B/model/m",
    "reads slowly": f"{_CHANNEL} (head -c 100; sleep 1; head -c 100; sleep 1; cat) < $D/train_$n | wc -c; done",
    "reads a part": f"{_CHANNEL} head -c 10 $D/train_$n | wc -c; done",
    "checkpoints": "for n in 0 1 2 3 4 5 6 7; do echo $n > $B/checkpoints/c$n; sleep 0.3; done; echo m > $B/model/m",
    "deaf": "trap '' TERM; for n in 0 1 2 3 4 5 6 7; do sleep 0.5; done",
    "polite": "trap 'echo m > $B/model/m; exit 0' TERM; for n in 0 1 2 3 4 5 6 7 8 9; do sleep 0.5; done",
    "leaves children": "sleep 100 & sleep 100 & echo m > $B/model/m",
}


def request(name: str, program: str, image: str, bucket: str, hosts: int) -> dict[str, Any]:
    """A CreateTrainingJob request for one of the programs."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "Pipe",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{name}"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "Environment": {"PROGRAM": _HEAD + PROGRAMS[program]},
    }
