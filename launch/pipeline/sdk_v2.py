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
    """The pipeline of launch/pipeline.json, step by step; numbers and ranges are read from there."""
    from sagemaker import parameter
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput
    from sagemaker.model import Model
    from sagemaker.model_metrics import MetricsSource, ModelMetrics
    from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
    from sagemaker.tuner import HyperparameterTuner
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.functions import Join, JsonGet
    from sagemaker.workflow.model_step import ModelStep
    from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.pipeline_context import PipelineSession
    from sagemaker.workflow.properties import PropertyFile
    from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TuningStep

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

    def processor(*command: str) -> Processor:
        return Processor(
            role=options.role, image_uri=image, instance_count=1, instance_type=instance_type, volume_size_in_gb=30,
            max_runtime_in_seconds=3600, entrypoint=list(command), sagemaker_session=session,
        )  # fmt: skip

    def given(name: str, source: Any) -> ProcessingInput:
        return ProcessingInput(source=source, destination=f"/opt/ml/processing/{name}", input_name=name)

    source = Join(on="/", values=[f"{home}/pictures", pictures, ""])
    prepared = Join(on="/", values=[f"{home}/prepared", pictures])
    prepare = ProcessingStep(
        name="Prepare",
        step_args=processor("python3", "-m", "dataset", "prepare").run(
            arguments=["--source", "/opt/ml/processing/pictures", "--out", "/opt/ml/processing/output/data"],
            inputs=[given("pictures", source)],
            outputs=[ProcessingOutput(output_name="data", source="/opt/ml/processing/output", destination=prepared)],
        ),
        cache_config=cache,
    )
    folder = prepare.properties.ProcessingOutputConfig.Outputs["data"].S3Output.S3Uri

    def part(name: str) -> Join:
        return Join(on="/", values=[folder, f"data/{name}"])

    channels = {
        "train": TrainingInput(part("train/")),
        "validation": TrainingInput(part("validation/")),
        "dataset": TrainingInput(part("dataset.json"), input_mode="File"),
    }
    metrics = steps["Train"]["AlgorithmSpecification"]["MetricDefinitions"]

    def estimator(**hyperparameters: Any) -> Estimator:
        return Estimator(
            image_uri=image, role=options.role, instance_count=1, instance_type=instance_type, volume_size=30,
            max_run=3600, input_mode="Pipe", output_path=f"{home}/jobs/", hyperparameters=hyperparameters,
            metric_definitions=metrics, sagemaker_session=session,
            disable_profiler=True,  # the profiler and the debugger would need code of theirs in the image
            debugger_hook_config=False,
        )  # fmt: skip

    trainer = estimator(**steps["Train"]["HyperParameters"] | {"epochs": epochs})
    train = TrainingStep(name="Train", step_args=trainer.fit(channels), cache_config=cache)
    tuner = HyperparameterTuner(
        estimator(**steps["Tune"]["TrainingJobDefinition"]["StaticHyperParameters"] | {"epochs": epochs}),
        **tuner_arguments(steps["Tune"], parameter) | {"max_jobs": tuning_jobs},
    )
    tune = TuningStep(name="Tune", step_args=tuner.fit(channels), depends_on=[train], cache_config=cache)
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
            outputs=[
                ProcessingOutput(
                    output_name="evaluation", source="/opt/ml/processing/evaluation", destination=evaluations
                )
            ],
        ),
        property_files=[report],
        cache_config=cache,
    )
    evaluated = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri

    model = Model(image_uri=inference_image, model_data=best, role=options.role, sagemaker_session=session)
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
