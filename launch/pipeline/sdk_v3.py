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
    """The pipeline of launch/pipeline.json, step by step; numbers and ranges are read from there."""
    from sagemaker.core import parameter
    from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import (
        Channel,
        DataSource,
        MetricDefinition,
        OutputDataConfig,
        ProcessingInput,
        ProcessingOutput,
        ProcessingS3Input,
        ProcessingS3Output,
        S3DataSource,
    )
    from sagemaker.core.training.configs import Compute, StoppingCondition
    from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.core.workflow.functions import Join, JsonGet
    from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.core.workflow.properties import PropertyFile
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.model_step import ModelStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TuningStep
    from sagemaker.serve import ModelBuilder
    from sagemaker.train import ModelTrainer
    from sagemaker.train.tuner import HyperparameterTuner

    session = make_session(PipelineSession, options.bucket)
    definition = build_definition(options)
    steps = {step["Name"]: step.get("Arguments") for step in definition["Steps"]}
    defaults = parameter_defaults(definition)
    pictures = ParameterString("Pictures", defaults["Pictures"])
    image = ParameterString("Image", defaults["Image"])
    instance_type = ParameterString("InstanceType", defaults["InstanceType"])
    epochs = ParameterInteger("Epochs", defaults["Epochs"])
    tuning_jobs = ParameterInteger("TuningJobs", defaults["TuningJobs"])
    threshold = ParameterFloat("AccuracyThreshold", defaults["AccuracyThreshold"])
    inference_image = ParameterString("InferenceImage", defaults["InferenceImage"])
    home = f"s3://{options.bucket}/{PREFIX}"
    cache = CacheConfig(enable_caching=True, expire_after="P30D")

    class CountedTuningStep(TuningStep):
        """The SDK's tuner takes a plain number of jobs, no parameter."""

        @property
        def arguments(self) -> Any:
            request = super().arguments
            request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = tuning_jobs
            return request

    def processor(*command: str) -> Processor:
        return Processor(
            role=options.role, image_uri=image, instance_count=1, instance_type=instance_type, volume_size_in_gb=30,
            max_runtime_in_seconds=3600, entrypoint=list(command), sagemaker_session=session,
        )  # fmt: skip

    def given(name: str, source: Any) -> ProcessingInput:
        place = ProcessingS3Input(
            s3_uri=source, local_path=f"/opt/ml/processing/{name}", s3_data_type="S3Prefix", s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated", s3_compression_type="None",
        )  # fmt: skip
        return ProcessingInput(input_name=name, app_managed=False, s3_input=place)

    def left(name: str, folder: str, destination: Any) -> ProcessingOutput:
        place = ProcessingS3Output(s3_uri=destination, local_path=folder, s3_upload_mode="EndOfJob")
        return ProcessingOutput(output_name=name, app_managed=False, s3_output=place)

    source = Join(on="/", values=[f"{home}/pictures", pictures, ""])
    prepared = Join(on="/", values=[f"{home}/prepared", pictures])
    prepare = ProcessingStep(
        name="Prepare",
        step_args=processor("python3", "-m", "dataset", "prepare").run(
            arguments=["--source", "/opt/ml/processing/pictures", "--out", "/opt/ml/processing/output/data"],
            inputs=[given("pictures", source)],
            outputs=[left("data", "/opt/ml/processing/output", prepared)],
        ),
        cache_config=cache,
    )
    folder = prepare.properties.ProcessingOutputConfig.Outputs["data"].S3Output.S3Uri

    def part(name: str) -> Join:
        return Join(on="/", values=[folder, f"data/{name}"])

    def channel(name: str, source: Any, **mode: str) -> Channel:
        place = S3DataSource(s3_data_type="S3Prefix", s3_uri=source, s3_data_distribution_type="FullyReplicated")
        return Channel(channel_name=name, data_source=DataSource(s3_data_source=place), **mode)

    channels = [
        channel("train", part("train/")),
        channel("validation", part("validation/")),
        channel("dataset", part("dataset.json"), input_mode="File"),
    ]
    metrics = steps["Train"]["AlgorithmSpecification"]["MetricDefinitions"]

    def trainer(hyperparameters: dict[str, Any]) -> ModelTrainer:
        made = ModelTrainer(
            training_image=image, role=options.role, training_input_mode="Pipe",
            compute=Compute(instance_type=instance_type, instance_count=1, volume_size_in_gb=30),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=3600),
            output_data_config=OutputDataConfig(s3_output_path=f"{home}/jobs/"),
            hyperparameters=hyperparameters, sagemaker_session=session,
            base_job_name=options.name,  # else the SDK takes the image for a text, to find a name in it
        )  # fmt: skip
        return made.with_metric_definitions([MetricDefinition(name=m["Name"], regex=m["Regex"]) for m in metrics])

    first = trainer(steps["Train"]["HyperParameters"] | {"epochs": epochs.to_string()})
    train = TrainingStep(name="Train", step_args=first.train(channels), cache_config=cache)
    tuner = HyperparameterTuner(
        trainer(steps["Tune"]["TrainingJobDefinition"]["StaticHyperParameters"] | {"epochs": epochs}),
        **tuner_arguments(steps["Tune"], parameter) | {"max_jobs": defaults["TuningJobs"]},
    )
    tune = CountedTuningStep(name="Tune", step_args=tuner.tune(channels), depends_on=[train], cache_config=cache)
    best = tune.get_top_model_s3_uri(top_k=0, s3_bucket=options.bucket, prefix=f"{PREFIX}/jobs")

    report = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")
    evaluations = Join(on="/", values=[f"{home}/evaluations", tune.properties.TrainingJobSummaries[0].TrainingJobName])
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=processor("python3", "-m", "train.evaluate").run(
            inputs=[
                given("model", best),
                given("validation", part("validation/")),
                given("dataset", part("dataset.json")),
            ],
            outputs=[left("evaluation", "/opt/ml/processing/evaluation", evaluations)],
        ),
        property_files=[report],
        cache_config=cache,
    )
    evaluated = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri

    model = ModelBuilder(
        image_uri=inference_image, s3_model_data_url=best, role_arn=options.role, sagemaker_session=session
    )
    statistics = MetricsSource("application/json", Join(on="/", values=[evaluated, "evaluation.json"]))
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name=options.name, approval_status="PendingManualApproval",
            content_types=["application/json"], response_types=["application/json"],
            inference_instances=["ml.m5.large"], transform_instances=["ml.m5.large"],
            model_metrics=ModelMetrics(model_statistics=statistics),
        ),
    )  # fmt: skip
    message = ["The best model's accuracy is below AccuracyThreshold, which is ", threshold, ": see ", evaluated]
    refuse = FailStep(name="Refuse", error_message=Join(on="", values=[*message, "/evaluation.json"]))
    accuracy = JsonGet(
        step_name="Evaluate", property_file=report, json_path="multiclass_classification_metrics.accuracy.value"
    )
    check = ConditionStep(
        name="CheckAccuracy",
        conditions=[ConditionGreaterThanOrEqualTo(left=accuracy, right=threshold)],
        if_steps=[register],
        else_steps=[refuse],
    )
    return Pipeline(
        name=options.name,
        parameters=[pictures, image, instance_type, epochs, tuning_jobs, threshold, inference_image],
        steps=[prepare, train, tune, evaluate, check],
        sagemaker_session=session,
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, start))
