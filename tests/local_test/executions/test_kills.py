"""A server killed at any moment of an execution: the next ends it as if nothing had been, each job made once."""

import io
import os
import random
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.executions import (
    create_pipeline,
    ended,
    get,
    job_name,
    register_step,
    start,
    steps,
    train_step,
)
from tests.support.processing import processing_request, put_program
from tests.support.served import BUCKET, Served

KILLS = int(os.environ.get("KILLS", "20"))
PREPARE = "folder = DATA / 'out'\nfolder.mkdir(parents=True, exist_ok=True)\n(folder / 'part').write_text('prepared')"
# what it finds of a run before goes on, as in a program that keeps checkpoints
TRAIN = (
    "kept = BASE / 'checkpoints/c'\nif not kept.exists(): time.sleep(0.3); kept.write_text('half ')\n"
    "(BASE / 'model/m').write_text(kept.read_text() + (BASE / 'input/data/train/part').read_text())\n"
    "print('loss=0.5;', flush=True)"
)
TUNE = (
    "import json\nrate = json.loads((BASE / 'input/config/hyperparameters.json').read_text())['rate']\n"
    "time.sleep(0.2); (BASE / 'model/m').write_text(f'rate {rate}')\nprint(f'accuracy={rate};', flush=True)"
)


def pipeline_steps(s3: Any) -> list[dict[str, Any]]:
    """Prepare → Train and Tune → Register, which has the best of Tune."""
    prepare = processing_request("prepared", put_program(s3, "prepare", PREPARE), outputs={"out": "EndOfJob"})
    del prepare["ProcessingJobName"]
    prepared = get("Steps.Prepare.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": prepared}}
    place = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}/kept", get("Execution.PipelineExecutionId")]}}
    train = train_step(
        "Train",
        TRAIN,
        arguments={
            "InputDataConfig": [{"ChannelName": "train", "InputMode": "File", "DataSource": source}],
            "CheckpointConfig": {"S3Uri": place},
        },
    )
    child = train_step("unnamed", TUNE)["Arguments"]
    child["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "accuracy", "Regex": "accuracy=(.*?);"}]
    tune = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "RandomSeed": 5,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "accuracy"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": child,
    }
    best = get("Steps.Tune.BestTrainingJob.TrainingJobName")
    model = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}/out", best, "output/model.tar.gz"]}}
    return [
        {"Name": "Prepare", "Type": "Processing", "Arguments": prepare},
        train,
        {"Name": "Tune", "Type": "Tuning", "Arguments": tune, "DependsOn": ["Prepare"]},
        {**register_step("Register", "killed", model), "DependsOn": ["Train"]},
    ]


def read_model(s3: Any, uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        file = archive.extractfile("m")
        assert file
        return file.read().decode()


def result(served: Served, arn: str) -> dict[str, Any]:
    """What an execution has left, without names; each of its jobs there once."""
    sagemaker, s3 = served.client("sagemaker"), served.client("s3")
    found = ended(sagemaker, arn)
    listed = steps(sagemaker, arn)
    assert found["PipelineExecutionStatus"] == "Succeeded", (found, listed)
    train, tune = job_name(listed["Train"]), job_name(listed["Tune"], "TuningJob")
    children = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tune, SortBy="CreationTime"
    )["TrainingJobSummaries"]
    identity = arn.rpartition("/")[2]
    jobs = sagemaker.list_training_jobs(NameContains=identity, MaxResults=100)["TrainingJobSummaries"]
    assert sorted(job["TrainingJobName"] for job in jobs) == sorted(
        [train, *(child["TrainingJobName"] for child in children)]
    )
    processed = sagemaker.list_processing_jobs(NameContains=identity)["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in processed] == [job_name(listed["Prepare"], "ProcessingJob")]
    tuned = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=identity)["HyperParameterTuningJobSummaries"]
    assert [job["HyperParameterTuningJobName"] for job in tuned] == [tune]
    package = sagemaker.describe_model_package(ModelPackageName=listed["Register"]["Metadata"]["RegisterModel"]["Arn"])
    description = sagemaker.describe_training_job(TrainingJobName=train)
    return {
        "statuses": {name: (step["StepStatus"], step["AttemptCount"]) for name, step in listed.items()},
        "model": read_model(s3, package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]),
        "trained": read_model(s3, description["ModelArtifacts"]["S3ModelArtifacts"]),
        "children": sorted((child["TrainingJobStatus"], child["TunedHyperParameters"]["rate"]) for child in children),
    }


@pytest.mark.slow
@pytest.mark.timeout(300 + 40 * KILLS)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed}")
    moments = random.Random(seed)
    with Served(tmp_path, "--parallel", "4") as served:
        served.client("s3").create_bucket(Bucket=BUCKET)
        create_pipeline(served.client("sagemaker"), "Killed", pipeline_steps(served.client("s3")))
        began = time.monotonic()
        expected = result(served, start(served.client("sagemaker"), "Killed"))
        took = time.monotonic() - began
        arn = start(served.client("sagemaker"), "Killed")
        served.end(signal.SIGKILL)
    assert expected["trained"] == "half prepared"
    for number in range(1, KILLS + 1):
        with Served(tmp_path, "--parallel", "4") as served:
            assert result(served, arn) == expected, (seed, number)
            sagemaker = served.client("sagemaker")
            packages = sagemaker.list_model_packages(ModelPackageGroupName="killed", MaxResults=100)
            assert len(packages["ModelPackageSummaryList"]) == number + 1, (seed, number)
            if number < KILLS:
                arn = start(sagemaker, "Killed")
                time.sleep(moments.uniform(0, took))
            served.end(signal.SIGKILL)
