"""The pipeline with the SageMaker Python SDK, version 2: `python -m launch.pipeline.sdk_v2 --image … --role … …`

Needs launch/requirements-sdk-v2.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
pasted, on this machine. The SDK takes seconds to import; imported where it is used, it delays no error message.
"""

import sys
from typing import TYPE_CHECKING, Any

try:
    from launch.core.request import PREFIX
    from launch.core.sdk_common import make_session, tuner_arguments
    from launch.pipeline.definition import Options, build_definition, parameter_defaults
    from launch.pipeline.run import run
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed. Run `make sdk-v2`, use .venv-sdk-v2/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.workflow.pipeline import Pipeline


def start(options: Options) -> str:
    """Make the pipeline, or bring it up to date, and start it; the execution's ARN."""
    pipeline = build(options)
    pipeline.upsert(role_arn=options.role)
    return pipeline.start(parameters=dict(options.parameters)).arn


def build(options: Options) -> "Pipeline":
    """The pipeline of launch/pipeline.json; numbers and ranges are read from there."""
    from sagemaker.workflow.pipeline import Pipeline

    steps = _Steps(options)
    prepare = steps.prepare()
    folder = prepare.properties.ProcessingOutputConfig.Outputs["data"].S3Output.S3Uri
    train = steps.train(folder)
    tune = steps.tune(folder, after=train)
    best = tune.get_top_model_s3_uri(top_k=0, s3_bucket=options.bucket, prefix=f"{PREFIX}/jobs")
    evaluate = steps.evaluate(folder, best, tune.properties.TrainingJobSummaries[0].TrainingJobName)
    evaluations = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri
    check = steps.check_accuracy(steps.register(best, evaluations), steps.refuse(evaluations))
    return Pipeline(
        name=options.name,
        parameters=steps.parameters,
        steps=[prepare, train, tune, evaluate, check],
        sagemaker_session=steps.session,
    )


class _Steps:
    """Makes each step. What is known when the pipeline runs is the SDK's variables: parameters, properties, joins."""

    def __init__(self, options: Options) -> None:
        from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
        from sagemaker.workflow.pipeline_context import PipelineSession
        from sagemaker.workflow.properties import PropertyFile
        from sagemaker.workflow.steps import CacheConfig

        definition = build_definition(options)
        self._requests = {step["Name"]: step["Arguments"] for step in definition["Steps"]}
        default = parameter_defaults(definition)
        self._pictures = ParameterString("Pictures", default["Pictures"])
        self._image = ParameterString("Image", default["Image"])
        self._instance_type = ParameterString("InstanceType", default["InstanceType"])
        self._epochs = ParameterInteger("Epochs", default["Epochs"])
        self._tuning_jobs = ParameterInteger("TuningJobs", default["TuningJobs"])
        self._threshold = ParameterFloat("AccuracyThreshold", default["AccuracyThreshold"])
        self._inference_image = ParameterString("InferenceImage", default["InferenceImage"])
        self.parameters = [
            self._pictures, self._image, self._instance_type, self._epochs, self._tuning_jobs, self._threshold,
            self._inference_image,
        ]  # fmt: skip
        self.session = make_session(PipelineSession, options.bucket)
        self._role, self._name, self._home = options.role, options.name, f"s3://{options.bucket}/{PREFIX}"
        self._cache = CacheConfig(enable_caching=True, expire_after="P30D")
        self._report = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")

    def prepare(self) -> Any:
        """Pictures → shards."""
        from sagemaker.workflow.steps import ProcessingStep

        processor = self._processor("python3", "-m", "dataset", "prepare")
        request = processor.run(
            arguments=["--source", "/opt/ml/processing/pictures", "--out", "/opt/ml/processing/output/data"],
            inputs=[_input("pictures", _join(f"{self._home}/pictures", self._pictures, ""))],
            outputs=[_output("data", "/opt/ml/processing/output", _join(f"{self._home}/prepared", self._pictures))],
        )
        return ProcessingStep(name="Prepare", step_args=request, cache_config=self._cache)

    def train(self, folder: Any) -> Any:
        """A training job in Pipe mode."""
        from sagemaker.workflow.steps import TrainingStep

        estimator = self._estimator(self._requests["Train"]["HyperParameters"])
        return TrainingStep(name="Train", step_args=estimator.fit(_channels(folder)), cache_config=self._cache)

    def tune(self, folder: Any, after: Any) -> Any:
        """As many training jobs as the parameter says."""
        from sagemaker import parameter
        from sagemaker.tuner import HyperparameterTuner
        from sagemaker.workflow.steps import TuningStep

        request = self._requests["Tune"]
        estimator = self._estimator(request["TrainingJobDefinition"]["StaticHyperParameters"])
        limits = {"max_jobs": self._tuning_jobs}
        tuner = HyperparameterTuner(estimator, **tuner_arguments(request, parameter) | limits)
        return TuningStep(
            name="Tune", step_args=tuner.fit(_channels(folder)), depends_on=[after], cache_config=self._cache
        )

    def _estimator(self, hyperparameters: dict[str, Any]) -> Any:
        from sagemaker.estimator import Estimator

        return Estimator(
            image_uri=self._image, role=self._role, instance_count=1, instance_type=self._instance_type,
            volume_size=30, max_run=3600, input_mode="Pipe", output_path=f"{self._home}/jobs/",
            hyperparameters=hyperparameters | {"epochs": self._epochs}, sagemaker_session=self.session,
            metric_definitions=self._requests["Train"]["AlgorithmSpecification"]["MetricDefinitions"],
            disable_profiler=True,  # the profiler and the debugger would need code of theirs in the image
            debugger_hook_config=False,
        )  # fmt: skip

    def evaluate(self, folder: Any, model: Any, job: Any) -> Any:
        """The model of the training job `job`, on the validation pictures."""
        from sagemaker.workflow.steps import ProcessingStep

        processor = self._processor("python3", "-m", "train.evaluate")
        request = processor.run(
            inputs=[
                _input("model", model),
                _input("validation", _join(folder, "data/validation/")),
                _input("dataset", _join(folder, "data/dataset.json")),
            ],
            outputs=[_output("evaluation", "/opt/ml/processing/evaluation", _join(f"{self._home}/evaluations", job))],
        )
        return ProcessingStep(
            name="Evaluate", step_args=request, property_files=[self._report], cache_config=self._cache
        )

    def register(self, data: Any, evaluations: Any) -> Any:
        """The model, with the evaluation as its metrics."""
        from sagemaker.model import Model
        from sagemaker.model_metrics import MetricsSource, ModelMetrics
        from sagemaker.workflow.model_step import ModelStep

        model = Model(image_uri=self._inference_image, model_data=data, role=self._role, sagemaker_session=self.session)
        statistics = MetricsSource("application/json", _join(evaluations, "evaluation.json"))
        request = model.register(
            model_package_group_name=self._name, approval_status="PendingManualApproval",
            content_types=["application/json"], response_types=["application/json"],
            inference_instances=["ml.m5.large"], transform_instances=["ml.m5.large"],
            model_metrics=ModelMetrics(model_statistics=statistics),
        )  # fmt: skip
        return ModelStep(name="Register", step_args=request)

    def refuse(self, evaluations: Any) -> Any:
        """Fails the execution, and says why."""
        from sagemaker.workflow.fail_step import FailStep
        from sagemaker.workflow.functions import Join

        message = "The best model's accuracy is below AccuracyThreshold, which is "
        values = [message, self._threshold, ": see ", evaluations, "/evaluation.json"]
        return FailStep(name="Refuse", error_message=Join(on="", values=values))

    def check_accuracy(self, enough: Any, too_low: Any) -> Any:
        """One step or the other."""
        from sagemaker.workflow.condition_step import ConditionStep
        from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
        from sagemaker.workflow.functions import JsonGet

        path = "multiclass_classification_metrics.accuracy.value"
        accuracy = JsonGet(step_name="Evaluate", property_file=self._report, json_path=path)
        condition = ConditionGreaterThanOrEqualTo(left=accuracy, right=self._threshold)
        return ConditionStep(name="CheckAccuracy", conditions=[condition], if_steps=[enough], else_steps=[too_low])

    def _processor(self, *command: str) -> Any:
        from sagemaker.processing import Processor

        return Processor(
            role=self._role, image_uri=self._image, instance_count=1, instance_type=self._instance_type,
            volume_size_in_gb=30, max_runtime_in_seconds=3600, entrypoint=list(command),
            sagemaker_session=self.session,
        )  # fmt: skip


def _input(name: str, source: Any) -> Any:
    from sagemaker.processing import ProcessingInput

    return ProcessingInput(source=source, destination=f"/opt/ml/processing/{name}", input_name=name)


def _output(name: str, folder: str, destination: Any) -> Any:
    from sagemaker.processing import ProcessingOutput

    return ProcessingOutput(output_name=name, source=folder, destination=destination)


def _channels(folder: Any) -> dict[str, Any]:
    from sagemaker.inputs import TrainingInput

    return {
        "train": TrainingInput(_join(folder, "data/train/")),
        "validation": TrainingInput(_join(folder, "data/validation/")),
        "dataset": TrainingInput(_join(folder, "data/dataset.json"), input_mode="File"),
    }


def _join(*values: Any) -> Any:
    from sagemaker.workflow.functions import Join

    return Join(on="/", values=list(values))


if __name__ == "__main__":
    sys.exit(run(__doc__, start))
