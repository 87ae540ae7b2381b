"""Train or tune with the SageMaker Python SDK, version 3: `python -m launch.sdk_v3 train --image … --role … --bucket …`

Needs launch/requirements-sdk-v3.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
pasted, on this machine. The SDK takes seconds to import; imported where it is used, it delays no error message.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

try:
    from launch.core.request import Options
    from launch.core.run import run
    from launch.core.sdk_common import build_for_sdk, make_session, tuner_arguments
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed. Run `make sdk-v3`, use .venv-sdk-v3/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.core.shapes import Channel
    from sagemaker.train import ModelTrainer


def create(options: Options) -> str:
    """Start the job; its name: the SDK adds the time to a training job's."""
    request = build_for_sdk(options)
    if options.command == "train":
        trainer = _trainer(request, options, request["HyperParameters"])
        trainer.train(_channels(request), wait=False, logs=False)
        return trainer._latest_training_job.training_job_name
    from sagemaker.core import parameter
    from sagemaker.train.tuner import HyperparameterTuner

    job = request["TrainingJobDefinition"]
    trainer = _trainer(job, options, job["StaticHyperParameters"])
    tuner = HyperparameterTuner(trainer, **tuner_arguments(request, parameter))
    tuner.tune(_channels(job), job_name=options.name, wait=False)
    return options.name


def _trainer(job: Mapping[str, Any], options: Options, hyperparameters: Mapping[str, str]) -> "ModelTrainer":
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.shapes import CheckpointConfig, MetricDefinition, OutputDataConfig
    from sagemaker.core.training.configs import Compute, StoppingCondition
    from sagemaker.train import ModelTrainer

    algorithm, resources, stopping = job["AlgorithmSpecification"], job["ResourceConfig"], job["StoppingCondition"]
    trainer = ModelTrainer(
        sagemaker_session=make_session(Session, options.bucket),
        training_image=algorithm["TrainingImage"],
        training_input_mode=algorithm["TrainingInputMode"],
        role=job["RoleArn"],
        base_job_name=options.name,
        compute=Compute(
            instance_type=resources["InstanceType"],
            instance_count=resources["InstanceCount"],
            volume_size_in_gb=resources["VolumeSizeInGB"],
            enable_managed_spot_training=job.get("EnableManagedSpotTraining"),
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=stopping["MaxRuntimeInSeconds"],
            max_wait_time_in_seconds=stopping.get("MaxWaitTimeInSeconds"),
        ),
        output_data_config=OutputDataConfig(s3_output_path=job["OutputDataConfig"]["S3OutputPath"]),
        hyperparameters=dict(hyperparameters),
        environment=job.get("Environment"),
    )
    if "CheckpointConfig" in job:
        trainer.with_checkpoint_config(CheckpointConfig(s3_uri=job["CheckpointConfig"]["S3Uri"]))
    metrics = [MetricDefinition(name=item["Name"], regex=item["Regex"]) for item in algorithm["MetricDefinitions"]]
    return trainer.with_metric_definitions(metrics)


def _channels(job: Mapping[str, Any]) -> list["Channel"]:
    return [_channel(item, item["DataSource"]["S3DataSource"]) for item in job["InputDataConfig"]]


def _channel(item: Mapping[str, Any], source: Mapping[str, str]) -> "Channel":
    from sagemaker.core.shapes import Channel, DataSource, S3DataSource

    place = S3DataSource(
        s3_data_type=source["S3DataType"],
        s3_uri=source["S3Uri"],
        s3_data_distribution_type=source["S3DataDistributionType"],
    )
    mode = {"input_mode": item["InputMode"]} if "InputMode" in item else {}
    return Channel(channel_name=item["ChannelName"], data_source=DataSource(s3_data_source=place), **mode)


if __name__ == "__main__":
    sys.exit(run(__doc__, create))
