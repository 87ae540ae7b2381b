"""The pipeline with the SageMaker Python SDK, version 3: `python -m launch.pipeline.sdk_v3 --image … --role … …`

Needs launch/requirements-sdk-v3.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
pasted, on this machine. The SDK takes seconds to import; imported where it is used, it delays no error message.
"""

import sys
from typing import TYPE_CHECKING, Any

try:
    from launch.core.sdk_common import tuner_arguments
    from launch.pipeline.definition import Options
    from launch.pipeline.run import run
    from launch.pipeline.sdk_steps import Steps, load_classes, make_start
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed. Run `make sdk-v3`, use .venv-sdk-v3/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.mlops.workflow.pipeline import Pipeline

_CLASSES = {
    "sagemaker.core.model_metrics": "MetricsSource ModelMetrics",
    "sagemaker.core.processing": "Processor",
    "sagemaker.core.workflow.conditions": "ConditionGreaterThanOrEqualTo",
    "sagemaker.core.workflow.functions": "Join JsonGet",
    "sagemaker.core.workflow.parameters": "ParameterFloat ParameterInteger ParameterString",
    "sagemaker.core.workflow.pipeline_context": "PipelineSession",
    "sagemaker.core.workflow.properties": "PropertyFile",
    "sagemaker.mlops.workflow.condition_step": "ConditionStep",
    "sagemaker.mlops.workflow.fail_step": "FailStep",
    "sagemaker.mlops.workflow.model_step": "ModelStep",
    "sagemaker.mlops.workflow.pipeline": "Pipeline",
    "sagemaker.mlops.workflow.steps": "CacheConfig ProcessingStep TrainingStep TuningStep",
}  # by module


def build(options: Options) -> "Pipeline":
    """The pipeline of launch/pipeline.json."""
    return _Steps(options, load_classes(_CLASSES)).build_pipeline()


class _Steps(Steps):
    def train(self, folder: Any) -> Any:
        hyperparameters = self.requests["Train"]["HyperParameters"] | {"epochs": self.epochs.to_string()}
        request = self._trainer(hyperparameters).train(self._channels(folder))
        return self.sdk.TrainingStep(name="Train", step_args=request, cache_config=self.cache)

    def tune(self, folder: Any, after: Any) -> Any:
        """The SDK's tuner takes a plain number, so its step puts the parameter in."""
        from sagemaker.core import parameter
        from sagemaker.train.tuner import HyperparameterTuner

        tuning_jobs = self.tuning_jobs

        class CountedTuningStep(self.sdk.TuningStep):  # type: ignore[name-defined]
            @property
            def arguments(self) -> Any:
                request = super().arguments
                request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = tuning_jobs
                return request

        request = self.requests["Tune"]
        hyperparameters = request["TrainingJobDefinition"]["StaticHyperParameters"] | {"epochs": self.epochs}
        limits = {"max_jobs": tuning_jobs.default_value}
        tuner = HyperparameterTuner(self._trainer(hyperparameters), **tuner_arguments(request, parameter) | limits)
        return CountedTuningStep(
            name="Tune", step_args=tuner.tune(self._channels(folder)), depends_on=[after], cache_config=self.cache
        )

    def _trainer(self, hyperparameters: dict[str, Any]) -> Any:
        from sagemaker.core.shapes import MetricDefinition, OutputDataConfig
        from sagemaker.core.training.configs import Compute, StoppingCondition
        from sagemaker.train import ModelTrainer

        trainer = ModelTrainer(
            training_image=self.image, role=self.role, training_input_mode="Pipe", hyperparameters=hyperparameters,
            compute=Compute(instance_type=self.instance_type, instance_count=1, volume_size_in_gb=30),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=3600),
            output_data_config=OutputDataConfig(s3_output_path=f"{self.home}/jobs/"),
            sagemaker_session=self.session,
            base_job_name=self.name,  # else the SDK takes the image for a text, to find a name in it
        )  # fmt: skip
        metrics = self.requests["Train"]["AlgorithmSpecification"]["MetricDefinitions"]
        return trainer.with_metric_definitions([MetricDefinition(name=m["Name"], regex=m["Regex"]) for m in metrics])

    def _channels(self, folder: Any) -> list[Any]:
        return [
            _channel("train", self.join(folder, "data/train/")),
            _channel("validation", self.join(folder, "data/validation/")),
            _channel("dataset", self.join(folder, "data/dataset.json"), input_mode="File"),
        ]

    def model(self, data: Any) -> Any:
        from sagemaker.serve import ModelBuilder

        return ModelBuilder(
            image_uri=self.inference_image, s3_model_data_url=data, role_arn=self.role, sagemaker_session=self.session
        )

    def input(self, name: str, source: Any) -> Any:
        from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input

        place = ProcessingS3Input(
            s3_uri=source, local_path=f"/opt/ml/processing/{name}", s3_data_type="S3Prefix", s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated", s3_compression_type="None",
        )  # fmt: skip
        return ProcessingInput(input_name=name, app_managed=False, s3_input=place)

    def output(self, name: str, folder: str, destination: Any) -> Any:
        from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output

        place = ProcessingS3Output(s3_uri=destination, local_path=folder, s3_upload_mode="EndOfJob")
        return ProcessingOutput(output_name=name, app_managed=False, s3_output=place)


def _channel(name: str, source: Any, **mode: str) -> Any:
    from sagemaker.core.shapes import Channel, DataSource, S3DataSource

    place = S3DataSource(s3_data_type="S3Prefix", s3_uri=source, s3_data_distribution_type="FullyReplicated")
    return Channel(channel_name=name, data_source=DataSource(s3_data_source=place), **mode)


if __name__ == "__main__":
    sys.exit(run(__doc__, make_start(build)))
