"""What a job leaves, in a few lines: why it failed, its metrics, what is billed (here: how long it took), its model.

Standard library only. `python -m launch.core.summary DESCRIPTION.json [BEST.json]` prints it of saved descriptions, for
the AWS CLI, and exits with 0 if the job completed.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.core.console import begin_program, say

_LOCAL_ACCOUNT = "123456789012"  # of the local API; the one of AWS's documentation, so nobody's


def summarize_training(description: Mapping[str, Any]) -> Iterator[str]:
    """Lines about a DescribeTrainingJob answer."""
    if reason := description.get("FailureReason"):
        yield f"{description['TrainingJobName']} has failed: {reason}"
    yield from _results(description)


def summarize_tuning(description: Mapping[str, Any], best: Mapping[str, Any] | None) -> Iterator[str]:
    """Lines about a DescribeHyperParameterTuningJob answer; `best`: DescribeTrainingJob's of its best training job."""
    reason = description.get("FailureReason")
    yield f"-- {description['HyperParameterTuningJobStatus']}" + (f": {reason}" if reason else "")
    if best:
        yield f"best                 {best['TrainingJobName']}"
        for name, value in sorted(description["BestTrainingJob"]["TunedHyperParameters"].items()):
            yield f"{name:<20} {value}"
        yield from _results(best)


def _results(description: Mapping[str, Any]) -> Iterator[str]:
    for metric in description.get("FinalMetricDataList", []):
        yield f"{metric['MetricName']:<20} {metric['Value']:.6g}"
    if "BillableTimeInSeconds" in description:
        seconds, resources = description["BillableTimeInSeconds"], description["ResourceConfig"]
        instances = f"{resources['InstanceCount']} × {resources['InstanceType']}"
        local = f":{_LOCAL_ACCOUNT}:" in description["TrainingJobArn"]
        yield f"took                 {seconds} s" if local else f"billed               {seconds} s of {instances}"
    model = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if model and description["TrainingJobStatus"] != "Failed":  # then the archive may be empty
        yield f"model                {model}"


def exit_code(description: Mapping[str, Any]) -> int:
    """0 if the job completed."""
    status = description.get("TrainingJobStatus") or description["HyperParameterTuningJobStatus"]
    return 0 if status == "Completed" else 1


def _read(path: str) -> dict[str, Any]:
    try:
        description = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} can't be read: {error}") from None
    if not isinstance(description, dict) or not {"TrainingJobStatus", "HyperParameterTuningJobStatus"} & set(
        description
    ):
        raise argparse.ArgumentTypeError(f"{path} is no description of a training or a tuning job")
    return description


def main() -> int:
    """Print the summary; the exit code."""
    begin_program()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("description", metavar="DESCRIPTION.json", type=_read, help="of a training or a tuning job")
    parser.add_argument("best", metavar="BEST.json", type=_read, nargs="?", help="of a tuning job's best training job")
    arguments = parser.parse_args()
    description = arguments.description
    if "TrainingJobStatus" in description:
        lines = summarize_training(description)
    else:
        lines = summarize_tuning(description, arguments.best)
    for line in lines:
        say(line)
    return exit_code(description)


if __name__ == "__main__":
    sys.exit(main())
