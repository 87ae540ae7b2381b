"""A job that a pipeline waits for goes on after its server was killed; any other one has failed."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_test.training.job_store import PIPELINE_TAG
from local_test.util.atomic_files import file_uri
from tests.support.served import WAIT, Served, ended, printed, request, until

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
TAGS = [{"Key": PIPELINE_TAG, "Value": "arn"}]
# prints what it finds of its first run, of which the second one only sees the checkpoint
PROGRAM = (
    "kept = BASE / 'checkpoints/c'\n"
    "import json\n"
    "run = json.loads((BASE / 'input/config/init-config.json').read_text())['jobRunInfo']['jobRunNumber']\n"
    "print(f'loss={2 if kept.exists() else 1}; in run {run}', flush=True)\n"
    "if kept.exists(): (BASE / 'model/m').write_text('m'); sys.exit(0)\n"
    "kept.write_text('x'); (BASE / 'model/left').write_text('x')\n" + WAIT
)
METRICS = [{"Name": "loss", "Regex": "loss=(.*?);"}]


def test_a_job_of_a_pipeline_runs_again_from_its_checkpoints(tmp_path: Path) -> None:
    out = file_uri(tmp_path / "out")

    def job(name: str, **members: object) -> dict[str, object]:
        wanted = request(name, PROGRAM, OutputDataConfig={"S3OutputPath": out}, **members)
        wanted["AlgorithmSpecification"]["MetricDefinitions"] = METRICS
        return wanted | {"CheckpointConfig": {"S3Uri": f"{out}/kept/{name}"}}

    with Served(tmp_path, "--allow-files", "--parallel", "1") as first:
        sagemaker = first.client("sagemaker")
        sagemaker.create_training_job(**job("job", Tags=TAGS))
        printed(first, "job", "ready")
        sagemaker.create_training_job(**job("spent", Tags=TAGS, StoppingCondition={"MaxRuntimeInSeconds": 100}))
        sagemaker.create_training_job(**job("waits", Tags=TAGS))
        sagemaker.create_training_job(**job("stops", Tags=TAGS))
        sagemaker.create_training_job(**job("other"))
        runtime = first.root / "training/job/.runtime"
        until(lambda: runtime.exists() and float(runtime.read_text().split()[0]) > 0.5)
        first.end(signal.SIGKILL)
    killed = datetime.now(UTC)
    seen = datetime.fromtimestamp(runtime.stat().st_mtime, UTC)
    seconds = float(runtime.read_text().split()[0])
    (first.root / "training/spent/.runtime").write_text("100.1 3\n")  # more than its MaxRuntimeInSeconds
    with Served(tmp_path, "--allow-files", "--parallel", "1") as second:
        sagemaker = second.client("sagemaker")
        assert ended(sagemaker, "other")["FailureReason"].startswith("InternalServerError: The local server ended")
        description = ended(sagemaker, "job")
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert [(item["MetricName"], item["Value"]) for item in description["FinalMetricDataList"]] == [("loss", 2.0)]
        states = [item["Status"] for item in description["SecondaryStatusTransitions"]]
        assert states[states.index("Training") :][:5] == [
            "Training",
            "Restarting",
            "Starting",
            "Downloading",
            "Training",
        ]
        # the time until the next start is nobody's training, and the job has only the rest of its time
        first_run, restart = description["SecondaryStatusTransitions"][2:4]
        assert abs(restart["StartTime"] - seen) < timedelta(milliseconds=2), (restart, seen)
        assert first_run["EndTime"] == restart["StartTime"] <= killed
        assert seconds <= description["BillableTimeInSeconds"] + 0.5
        asleep = restart["EndTime"] - restart["StartTime"]
        whole = description["TrainingEndTime"] - description["TrainingStartTime"] - asleep
        assert description["TrainingTimeInSeconds"] <= max(1, round(whole.total_seconds()))
        log = (second.root / "training/job/logs/algo-1.log").read_text().splitlines()
        assert [line for line in log if "run" in line] == ["loss=1; in run 1", "loss=2; in run 2"]
        spent = ended(sagemaker, "spent")
        assert (spent["TrainingJobStatus"], spent["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
        assert "Training" not in [item["Status"] for item in spent["SecondaryStatusTransitions"]]
        rows = (second.root / "training/job/metrics.csv").read_text().splitlines()
        assert [row.split(",")[1:] for row in rows[1:]] == [["loss", "1.0", "0"], ["loss", "2.0", "1"]]
        printed(second, "waits", "ready")  # its turn came, and it is at its first run
        with pytest.raises(sagemaker.exceptions.ResourceInUse):
            sagemaker.create_training_job(**job("WAITS"))
        sagemaker.stop_training_job(TrainingJobName="stops")
        assert ended(sagemaker, "stops")["TrainingJobStatus"] == "Stopped"
        component = sagemaker.describe_trial_component(TrialComponentName="job-aws-training-job")
        assert component["Status"]["PrimaryStatus"] == "Completed"
        assert [metric["Count"] for metric in component["Metrics"]] == [2]
        sagemaker.stop_training_job(TrainingJobName="waits")
        assert "Traceback" not in second.end()


def test_a_job_whose_image_or_data_are_gone_has_failed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("a")
    wanted = request("job", WAIT, {"train": file_uri(data)}, OutputDataConfig={"S3OutputPath": file_uri(tmp_path)})
    with Served(tmp_path, "--allow-files") as first:
        first.client("sagemaker").create_training_job(**wanted, Tags=TAGS)
        printed(first, "job", "ready")
        first.end(signal.SIGKILL)
    (data / "a").unlink()
    with Served(tmp_path, "--allow-files") as second:
        reason = ended(second.client("sagemaker"), "job")["FailureReason"]
    assert reason.startswith("InternalServerError: The local server ended while the job ran, and it can't go on: ")


@pytest.mark.docker
def test_a_container_goes_on_from_its_checkpoints(tmp_path: Path, image: str) -> None:
    """They are a container's files, copied although no sync has seen them."""
    (tmp_path / "images.json").write_text(json.dumps({ECR: image}))
    options = ["--runner", "docker", "--images", "images.json", "--allow-files"]
    shell = (
        "c=/opt/ml/checkpoints/c; if [ -e $c ]; then cp $c /opt/ml/model/m; exit 0; fi; echo kept > $c; echo ready; "
        "trap 'exit 0' TERM; while true; do sleep 0.1; done"
    )
    out = file_uri(tmp_path / "out")
    wanted = request("job", shell, OutputDataConfig={"S3OutputPath": out}, Tags=TAGS)
    wanted["AlgorithmSpecification"]["TrainingImage"] = ECR
    with Served(tmp_path, *options, own=False) as first:
        first.client("sagemaker").create_training_job(**wanted, CheckpointConfig={"S3Uri": f"{out}/kept"})
        printed(first, "job", "ready")
        first.end(signal.SIGKILL)
    with Served(tmp_path, *options, own=False) as second:
        description = ended(second.client("sagemaker"), "job")
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert (tmp_path / "out/kept/c").read_text() == "kept\n"
        assert "Traceback" not in second.end()
