"""The pipeline as both SDKs build it: its order, its parameters, and the steps that they write alike. What an SDK calls
otherwise is in sdk_v2.py and sdk_v3.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from launch.core.request import PREFIX
from launch.core.sdk_common import make_session
from launch.pipeline.definition import Options, build_definition, parameter_defaults


def load_classes(names: Mapping[str, str]) -> SimpleNamespace:
    """The classes of an SDK: module → their names, separated by spaces. It takes seconds."""
    found = {name: getattr(import_module(module), name) for module, text in names.items() for name in text.split()}
    return SimpleNamespace(**found)


def make_start(build: Callable[[Options], Any]) -> Callable[[Options], str]:
    """What makes the pipeline, or brings it up to date, and starts it; the execution's ARN."""

    def start(options: Options) -> str:
        pipeline = build(options)
        pipeline.upsert(role_arn=options.role)
        return pipeline.start(parameters=dict(options.parameters)).arn

    return start


class Steps(ABC):
    """Makes each step; numbers and ranges are read from launch/pipeline.json. What is known when the pipeline runs is
    the SDK's variables: parameters, properties, joins. `sdk` has the SDK's classes: see `load_classes`."""

    def __init__(self, options: Options, sdk: Any) -> None:
        definition = build_definition(options)
        self.sdk, self.requests = sdk, {step["Name"]: step["Arguments"] for step in definition["Steps"]}
        default = parameter_defaults(definition)
        self.pictures = sdk.ParameterString("Pictures", default["Pictures"])
        self.image = sdk.ParameterString("Image", default["Image"])
        self.instance_type = sdk.ParameterString("InstanceType", default["InstanceType"])
        self.epochs = sdk.ParameterInteger("Epochs", default["Epochs"])
        self.tuning_jobs = sdk.ParameterInteger("TuningJobs", default["TuningJobs"])
        self.threshold = sdk.ParameterFloat("AccuracyThreshold", default["AccuracyThreshold"])
        self.inference_image = sdk.ParameterString("InferenceImage", default["InferenceImage"])
        self.session = make_session(sdk.PipelineSession, options.bucket)
        self.role, self.name, self.bucket = options.role, options.name, options.bucket
        self.home = f"s3://{options.bucket}/{PREFIX}"
        self.cache = sdk.CacheConfig(enable_caching=True, expire_after="P30D")
        self._report = sdk.PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")

    def build_pipeline(self) -> Any:
        """The SDK's Pipeline."""
        prepare = self._prepare()
        folder = prepare.properties.ProcessingOutputConfig.Outputs["data"].S3Output.S3Uri
        train = self.train(folder)
        tune = self.tune(folder, after=train)
        best = tune.get_top_model_s3_uri(top_k=0, s3_bucket=self.bucket, prefix=f"{PREFIX}/jobs")
        evaluate = self._evaluate(folder, best, tune.properties.TrainingJobSummaries[0].TrainingJobName)
        evaluations = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri
        check = self._check_accuracy(self._register(best, evaluations), self._refuse(evaluations))
        return self.sdk.Pipeline(
            name=self.name,
            parameters=[
                self.pictures, self.image, self.instance_type, self.epochs, self.tuning_jobs, self.threshold,
                self.inference_image,
            ],
            steps=[prepare, train, tune, evaluate, check],
            sagemaker_session=self.session,
        )  # fmt: skip

    @abstractmethod
    def train(self, folder: Any) -> Any:
        """A training job in Pipe mode."""

    @abstractmethod
    def tune(self, folder: Any, after: Any) -> Any:
        """As many training jobs as the parameter says."""

    @abstractmethod
    def model(self, data: Any) -> Any:
        """What the SDK registers: the serving image with the model's artifact."""

    @abstractmethod
    def input(self, name: str, source: Any) -> Any:
        """Of a processing job, below /opt/ml/processing/."""

    @abstractmethod
    def output(self, name: str, folder: str, destination: Any) -> Any: ...

    def join(self, *values: Any) -> Any:
        return self.sdk.Join(on="/", values=list(values))

    def _prepare(self) -> Any:
        """Pictures → shards."""
        processor = self._processor("python3", "-m", "dataset", "prepare")
        request = processor.run(
            arguments=["--source", "/opt/ml/processing/pictures", "--out", "/opt/ml/processing/output/data"],
            inputs=[self.input("pictures", self.join(f"{self.home}/pictures", self.pictures, ""))],
            outputs=[
                self.output("data", "/opt/ml/processing/output", self.join(f"{self.home}/prepared", self.pictures))
            ],
        )
        return self.sdk.ProcessingStep(name="Prepare", step_args=request, cache_config=self.cache)

    def _evaluate(self, folder: Any, model: Any, job: Any) -> Any:
        """The model of the training job `job`, on the validation pictures."""
        processor = self._processor("python3", "-m", "train.evaluate")
        place = self.join(f"{self.home}/evaluations", job)
        request = processor.run(
            inputs=[
                self.input("model", model),
                self.input("validation", self.join(folder, "data/validation/")),
                self.input("dataset", self.join(folder, "data/dataset.json")),
            ],
            outputs=[self.output("evaluation", "/opt/ml/processing/evaluation", place)],
        )
        return self.sdk.ProcessingStep(
            name="Evaluate", step_args=request, property_files=[self._report], cache_config=self.cache
        )

    def _register(self, data: Any, evaluations: Any) -> Any:
        """The model, with the evaluation as its metrics."""
        statistics = self.sdk.MetricsSource("application/json", self.join(evaluations, "evaluation.json"))
        request = self.model(data).register(
            model_package_group_name=self.name, approval_status="PendingManualApproval",
            content_types=["application/json"], response_types=["application/json"],
            inference_instances=["ml.m5.large"], transform_instances=["ml.m5.large"],
            model_metrics=self.sdk.ModelMetrics(model_statistics=statistics),
        )  # fmt: skip
        return self.sdk.ModelStep(name="Register", step_args=request)

    def _refuse(self, evaluations: Any) -> Any:
        """Fails the execution, and says why."""
        message = "The best model's accuracy is below AccuracyThreshold, which is "
        values = [message, self.threshold, ": see ", evaluations, "/evaluation.json"]
        return self.sdk.FailStep(name="Refuse", error_message=self.sdk.Join(on="", values=values))

    def _check_accuracy(self, enough: Any, too_low: Any) -> Any:
        """One step or the other."""
        path = "multiclass_classification_metrics.accuracy.value"
        accuracy = self.sdk.JsonGet(step_name="Evaluate", property_file=self._report, json_path=path)
        condition = self.sdk.ConditionGreaterThanOrEqualTo(left=accuracy, right=self.threshold)
        return self.sdk.ConditionStep(
            name="CheckAccuracy", conditions=[condition], if_steps=[enough], else_steps=[too_low]
        )

    def _processor(self, *command: str) -> Any:
        return self.sdk.Processor(
            role=self.role, image_uri=self.image, instance_count=1, instance_type=self.instance_type,
            volume_size_in_gb=30, max_runtime_in_seconds=3600, entrypoint=list(command),
            sagemaker_session=self.session,
        )  # fmt: skip
