"""Train or tune with the SageMaker Python SDK, version 2: `python -m launch.sdk_v2 train --image … --role … --bucket …`

Needs launch/requirements-sdk-v2.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
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
        f"{missing.name} is not installed. Run `make sdk-v2`, use .venv-sdk-v2/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput


def create(options: Options) -> str:
    """Start the job; its name."""
    request = build_for_sdk(options)
    if options.command == "train":
        estimator = _estimator(request, options, request["HyperParameters"])
        experiment = request.get("ExperimentConfig")
        estimator.fit(_inputs(request), job_name=options.name, experiment_config=experiment, wait=False)
    else:
        from sagemaker import parameter
        from sagemaker.tuner import HyperparameterTuner

        job = request["TrainingJobDefinition"]
        estimator = _estimator(job, options, job["StaticHyperParameters"])
        tuner = HyperparameterTuner(estimator, **tuner_arguments(request, parameter))
        tuner.fit(_inputs(job), job_name=options.name, wait=False)
    return options.name


def _estimator(job: Mapping[str, Any], options: Options, hyperparameters: Mapping[str, str]) -> "Estimator":
    from sagemaker.estimator import Estimator
    from sagemaker.session import Session

    algorithm, resources, stopping = job["AlgorithmSpecification"], job["ResourceConfig"], job["StoppingCondition"]
    return Estimator(
        image_uri=algorithm["TrainingImage"],
        role=job["RoleArn"],
        instance_count=resources["InstanceCount"],
        instance_type=resources["InstanceType"],
        volume_size=resources["VolumeSizeInGB"],
        max_run=stopping["MaxRuntimeInSeconds"],
        max_wait=stopping.get("MaxWaitTimeInSeconds"),
        use_spot_instances=job.get("EnableManagedSpotTraining", False),
        checkpoint_s3_uri=job.get("CheckpointConfig", {}).get("S3Uri"),
        input_mode=algorithm["TrainingInputMode"],
        output_path=job["OutputDataConfig"]["S3OutputPath"],
        hyperparameters=dict(hyperparameters),
        environment=job.get("Environment"),
        metric_definitions=algorithm["MetricDefinitions"],
        disable_profiler=True,  # the profiler and the debugger would need code of theirs in the image
        debugger_hook_config=False,
        sagemaker_session=make_session(Session, options.bucket),
    )


def _inputs(job: Mapping[str, Any]) -> dict[str, "TrainingInput"]:
    return {item["ChannelName"]: _input(item, item["DataSource"]["S3DataSource"]) for item in job["InputDataConfig"]}


def _input(item: Mapping[str, Any], source: Mapping[str, str]) -> "TrainingInput":
    from sagemaker.inputs import TrainingInput

    kind, distribution = source["S3DataType"], source["S3DataDistributionType"]
    return TrainingInput(source["S3Uri"], distribution, s3_data_type=kind, input_mode=item.get("InputMode"))


if __name__ == "__main__":
    sys.exit(run(__doc__, create))
