"""The pipeline with the SageMaker Python SDK, version 3: `python -m launch.pipeline.sdk_v3 --image … --role … …`

Needs launch/requirements-sdk-v3.txt. The same command runs on AWS and, with the exports of `python -m local_test serve`
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
        f"{missing.name} is not installed. Run `make sdk-v3`, use .venv-sdk-v3/bin/python instead of {sys.executable}"
    )

if TYPE_CHECKING:
    from sagemaker.mlops.workflow.pipeline import Pipeline


def start(options: Options) -> str:
    """Make the pipeline, or bring it up to date, and start it; the execution's ARN."""
    pipeline = build(options)
    pipeline.upsert(role_arn=options.role)
    return pipeline.start(parameters=dict(options.parameters)).arn


def build(options: Options) -> "Pipeline":
    """The pipeline of launch/pipeline.json; numbers and ranges are read from there."""
    from sagemaker.mlops.workflow.pipeline import Pipeline

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
        from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
        from sagemaker.core.workflow.pipeline_context import PipelineSession
        from sagemaker.core.workflow.properties import PropertyFile
        from sagemaker.mlops.workflow.steps import CacheConfig

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
        from sagemaker.mlops.workflow.steps import ProcessingStep

        processor = self._processor("python3", "-m", "dataset", "prepare")
        request = processor.run(
            arguments=["--source", "/opt/ml/processing/pictures", "--out", "/opt/ml/processing/output/data"],
            inputs=[_input("pictures", _join(f"{self._home}/pictures", self._pictures, ""))],
            outputs=[_output("data", "/opt/ml/processing/output", _join(f"{self._home}/prepared", self._pictures))],
        )
        return ProcessingStep(name="Prepare", step_args=request, cache_config=self._cache)

    def train(self, folder: Any) -> Any:
        """A training job in Pipe mode."""
        from sagemaker.mlops.workflow.steps import TrainingStep

        hyperparameters = self._requests["Train"]["HyperParameters"] | {"epochs": self._epochs.to_string()}
        request = self._trainer(hyperparameters).train(_channels(folder))
        return TrainingStep(name="Train", step_args=request, cache_config=self._cache)

    def tune(self, folder: Any, after: Any) -> Any:
        """As many training jobs as the parameter says: the SDK's tuner takes a plain number, so its step puts it in."""
        from sagemaker.core import parameter
        from sagemaker.mlops.workflow.steps import TuningStep
        from sagemaker.train.tuner import HyperparameterTuner

        tuning_jobs = self._tuning_jobs

        class CountedTuningStep(TuningStep):
            @property
            def arguments(self) -> Any:
                request = super().arguments
                request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = tuning_jobs
                return request

        request = self._requests["Tune"]
        hyperparameters = request["TrainingJobDefinition"]["StaticHyperParameters"] | {"epochs": self._epochs}
        limits = {"max_jobs": tuning_jobs.default_value}
        tuner = HyperparameterTuner(self._trainer(hyperparameters), **tuner_arguments(request, parameter) | limits)
        return CountedTuningStep(
            name="Tune", step_args=tuner.tune(_channels(folder)), depends_on=[after], cache_config=self._cache
        )

    def _trainer(self, hyperparameters: dict[str, Any]) -> Any:
        from sagemaker.core.shapes import MetricDefinition, OutputDataConfig
        from sagemaker.core.training.configs import Compute, StoppingCondition
        from sagemaker.train import ModelTrainer

        trainer = ModelTrainer(
            training_image=self._image, role=self._role, training_input_mode="Pipe", hyperparameters=hyperparameters,
            compute=Compute(instance_type=self._instance_type, instance_count=1, volume_size_in_gb=30),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=3600),
            output_data_config=OutputDataConfig(s3_output_path=f"{self._home}/jobs/"),
            sagemaker_session=self.session,
            base_job_name=self._name,  # else the SDK takes the image for a text, to find a name in it
        )  # fmt: skip
        metrics = self._requests["Train"]["AlgorithmSpecification"]["MetricDefinitions"]
        return trainer.with_metric_definitions([MetricDefinition(name=m["Name"], regex=m["Regex"]) for m in metrics])

    def evaluate(self, folder: Any, model: Any, job: Any) -> Any:
        """The model of the training job `job`, on the validation pictures."""
        from sagemaker.mlops.workflow.steps import ProcessingStep

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
        from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
        from sagemaker.mlops.workflow.model_step import ModelStep
        from sagemaker.serve import ModelBuilder

        model = ModelBuilder(
            image_uri=self._inference_image, s3_model_data_url=data, role_arn=self._role, sagemaker_session=self.session
        )
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
        from sagemaker.core.workflow.functions import Join
        from sagemaker.mlops.workflow.fail_step import FailStep

        message = "The best model's accuracy is below AccuracyThreshold, which is "
        values = [message, self._threshold, ": see ", evaluations, "/evaluation.json"]
        return FailStep(name="Refuse", error_message=Join(on="", values=values))

    def check_accuracy(self, enough: Any, too_low: Any) -> Any:
        """One step or the other."""
        from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
        from sagemaker.core.workflow.functions import JsonGet
        from sagemaker.mlops.workflow.condition_step import ConditionStep

        path = "multiclass_classification_metrics.accuracy.value"
        accuracy = JsonGet(step_name="Evaluate", property_file=self._report, json_path=path)
        condition = ConditionGreaterThanOrEqualTo(left=accuracy, right=self._threshold)
        return ConditionStep(name="CheckAccuracy", conditions=[condition], if_steps=[enough], else_steps=[too_low])

    def _processor(self, *command: str) -> Any:
        from sagemaker.core.processing import Processor

        return Processor(
            role=self._role, image_uri=self._image, instance_count=1, instance_type=self._instance_type,
            volume_size_in_gb=30, max_runtime_in_seconds=3600, entrypoint=list(command),
            sagemaker_session=self.session,
        )  # fmt: skip


def _input(name: str, source: Any) -> Any:
    from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input

    place = ProcessingS3Input(
        s3_uri=source, local_path=f"/opt/ml/processing/{name}", s3_data_type="S3Prefix", s3_input_mode="File",
        s3_data_distribution_type="FullyReplicated", s3_compression_type="None",
    )  # fmt: skip
    return ProcessingInput(input_name=name, app_managed=False, s3_input=place)


def _output(name: str, folder: str, destination: Any) -> Any:
    from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output

    place = ProcessingS3Output(s3_uri=destination, local_path=folder, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, app_managed=False, s3_output=place)


def _channels(folder: Any) -> list[Any]:
    return [
        _channel("train", _join(folder, "data/train/")),
        _channel("validation", _join(folder, "data/validation/")),
        _channel("dataset", _join(folder, "data/dataset.json"), input_mode="File"),
    ]


def _channel(name: str, source: Any, **mode: str) -> Any:
    from sagemaker.core.shapes import Channel, DataSource, S3DataSource

    place = S3DataSource(s3_data_type="S3Prefix", s3_uri=source, s3_data_distribution_type="FullyReplicated")
    return Channel(channel_name=name, data_source=DataSource(s3_data_source=place), **mode)


def _join(*values: Any) -> Any:
    from sagemaker.core.workflow.functions import Join

    return Join(on="/", values=list(values))


if __name__ == "__main__":
    sys.exit(run(__doc__, start))
