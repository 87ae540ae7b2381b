"""Each region has jobs, tuning jobs and experiments of its own, and names in use there are free elsewhere."""

import json
from pathlib import Path
from typing import Any

from local_test.training.job_store import JobStore
from tests.support.api import refusal_of
from tests.support.served import BUCKET, WAIT, Served, ended, printed, request, until
from tests.support.tuning import tuning_request


def names(answer: dict[str, Any], what: str) -> list[str]:
    return [item[f"{what}Name"] for item in answer[f"{what}Summaries"]]


def test_what_a_region_has_no_other_sees(tmp_path: Path) -> None:
    with Served(tmp_path, "--parallel", "1") as served:
        served.client("s3").create_bucket(Bucket=BUCKET)
        here, there = served.client("sagemaker"), served.client("sagemaker", "eu-west-1")
        here.create_training_job(**request("same", WAIT))
        printed(served, "same", "ready")
        assert names(there.list_training_jobs(), "TrainingJob") == []
        assert there.search(Resource="TrainingJob")["Results"] == []
        missing = refusal_of(there.describe_training_job, "ValidationException", TrainingJobName="same")
        assert missing == "Requested resource not found."
        arn = there.create_training_job(**request("same", "print(1)"))["TrainingJobArn"]
        assert arn == "arn:aws:sagemaker:eu-west-1:123456789012:training-job/same"
        for client, region in ((here, "us-east-1"), (there, "eu-west-1")):
            client.create_experiment(ExperimentName="same")
            assert names(client.list_experiments(), "Experiment") == ["same"]
            assert f":{region}:" in client.describe_experiment(ExperimentName="same")["ExperimentArn"]
        # one machine, one place: the other region's job waits for it
        assert there.describe_training_job(TrainingJobName="same")["SecondaryStatus"] == "Starting"
        here.stop_training_job(TrainingJobName="same")
        assert ended(there, "same")["TrainingJobStatus"] == "Completed"
        assert ended(here, "same")["TrainingJobStatus"] == "Stopped"
        wanted = tuning_request(jobs=1)
        wanted["TrainingJobDefinition"].update(
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"}, Environment={"PROGRAM": "print('acc=0.5')"}
        )
        there.create_hyper_parameter_tuning_job(**wanted)
        assert names(here.list_hyper_parameter_tuning_jobs(), "HyperParameterTuningJob") == []
        found = {"HyperParameterTuningJobName": "tune"}
        until(
            lambda: there.describe_hyper_parameter_tuning_job(**found)["HyperParameterTuningJobStatus"] == "Completed"
        )
        served.end()
    with Served(tmp_path, "--parallel", "1") as again:
        here, there = again.client("sagemaker"), again.client("sagemaker", "eu-west-1")
        assert names(here.list_training_jobs(), "TrainingJob") == ["same"]
        assert len(names(there.list_training_jobs(), "TrainingJob")) == 2
        assert names(there.list_hyper_parameter_tuning_jobs(), "HyperParameterTuningJob") == ["tune"]
        strange = again.client("sagemaker", "elsewhere")
        assert "no name of a region" in refusal_of(strange.list_training_jobs, "ValidationException")
        assert "Traceback" not in again.end()


def test_what_an_earlier_version_kept_in_one_folder_comes_to_its_region(tmp_path: Path) -> None:
    arns = {
        "training/a": {"TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/a"},
        "tuning/b": {
            "Environment": {"PLAN": "arn:aws:sagemaker:us-east-1:1:x/y"},
            "HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/b",
        },
        "experiments/trial/c": {"TrialArn": "arn:aws:sagemaker:ap-south-1:123456789012:experiment-trial/c"},
        "training/stays": {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/stays"},
        "training/damaged": {"TrainingJobArn": 1},
    }
    (tmp_path / ".lock").touch()
    for place, description in arns.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "describe.json").write_text(json.dumps(description))
    store = JobStore(tmp_path)
    assert store.regions() == ["us-east-1", "ap-south-1", "eu-west-1"]
    assert (store.region("eu-west-1").training.path / "a/describe.json").exists()
    assert (store.region("eu-west-1").tuning / "b/describe.json").exists()
    assert (store.region("ap-south-1").experiments / "trial/c/describe.json").exists()
    assert sorted(path.name for path in store.region("us-east-1").training.path.iterdir()) == ["damaged", "stays"]
    store.close()
