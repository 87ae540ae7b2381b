"""The pipeline with the SageMaker Python SDK, version 2: `python -m launch.pipeline.sdk_v2 --image … --role … …`

Needs launch/requirements-sdk-v2.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
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
        f"{missing.name} is not installed. Run `make sdk-v2`, use .venv-sdk-v2/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.workflow.pipeline import Pipeline

_CLASSES = {
    "sagemaker.model_metrics": "MetricsSource ModelMetrics",
    "sagemaker.processing": "Processor",
    "sagemaker.workflow.condition_step": "ConditionStep",
    "sagemaker.workflow.conditions": "ConditionGreaterThanOrEqualTo",
    "sagemaker.workflow.fail_step": "FailStep",
    "sagemaker.workflow.functions": "Join JsonGet",
    "sagemaker.workflow.model_step": "ModelStep",
    "sagemaker.workflow.parameters": "ParameterFloat ParameterInteger ParameterString",
    "sagemaker.workflow.pipeline": "Pipeline",
    "sagemaker.workflow.pipeline_context": "PipelineSession",
    "sagemaker.workflow.properties": "PropertyFile",
    "sagemaker.workflow.steps": "CacheConfig ProcessingStep TrainingStep TuningStep",
}  # by module


def build(options: Options) -> "Pipeline":
    """The pipeline of launch/pipeline.json."""
    return _Steps(options, load_classes(_CLASSES)).build_pipeline()


class _Steps(Steps):
    def train(self, folder: Any) -> Any:
        estimator = self._estimator(self.requests["Train"]["HyperParameters"])
        request = estimator.fit(self._channels(folder))
        return self.sdk.TrainingStep(name="Train", step_args=request, cache_config=self.cache)

    def tune(self, folder: Any, after: Any) -> Any:
        from sagemaker import parameter
        from sagemaker.tuner import HyperparameterTuner

        request = self.requests["Tune"]
        estimator = self._estimator(request["TrainingJobDefinition"]["StaticHyperParameters"])
        limits = {"max_jobs": self.tuning_jobs}
        tuner = HyperparameterTuner(estimator, **tuner_arguments(request, parameter) | limits)
        return self.sdk.TuningStep(
            name="Tune", step_args=tuner.fit(self._channels(folder)), depends_on=[after], cache_config=self.cache
        )

    def _estimator(self, hyperparameters: dict[str, Any]) -> Any:
        from sagemaker.estimator import Estimator

        return Estimator(
            image_uri=self.image, role=self.role, instance_count=1, instance_type=self.instance_type,
            volume_size=30, max_run=3600, input_mode="Pipe", output_path=f"{self.home}/jobs/",
            hyperparameters=hyperparameters | {"epochs": self.epochs}, sagemaker_session=self.session,
            metric_definitions=self.requests["Train"]["AlgorithmSpecification"]["MetricDefinitions"],
            disable_profiler=True,  # the profiler and the debugger would need code of theirs in the image
            debugger_hook_config=False,
        )  # fmt: skip

    def _channels(self, folder: Any) -> dict[str, Any]:
        from sagemaker.inputs import TrainingInput

        return {
            "train": TrainingInput(self.join(folder, "data/train/")),
            "validation": TrainingInput(self.join(folder, "data/validation/")),
            "dataset": TrainingInput(self.join(folder, "data/dataset.json"), input_mode="File"),
        }

    def model(self, data: Any) -> Any:
        from sagemaker.model import Model

        return Model(image_uri=self.inference_image, model_data=data, role=self.role, sagemaker_session=self.session)

    def input(self, name: str, source: Any) -> Any:
        from sagemaker.processing import ProcessingInput

        return ProcessingInput(source=source, destination=f"/opt/ml/processing/{name}", input_name=name)

    def output(self, name: str, folder: str, destination: Any) -> Any:
        from sagemaker.processing import ProcessingOutput

        return ProcessingOutput(output_name=name, source=folder, destination=destination)


if __name__ == "__main__":
    sys.exit(run(__doc__, make_start(build)))
