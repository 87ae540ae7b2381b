"""Definitions that the real SDKs write: every step type and function of theirs is acted on or refused by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.pipelines.checks import read_checked
from local_test.pipelines.definition import Definition
from tests.support.clients import BUCKET, LaunchServer, sdk_python
from tests.support.missing import missing

pytestmark = pytest.mark.slow
ROLE = "arn:aws:iam::123456789012:role/local"

# what both SDKs write alike, once their own classes are imported
COMMON = f"""
session = PipelineSession(default_bucket="{BUCKET}", sagemaker_config={{
    "SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}})
epochs, threshold = ParameterInteger("Epochs", 3), ParameterFloat("Threshold", 0.5)
instance = ParameterString("InstanceType", "ml.m5.large", enum_values=["ml.m5.large", "ml.c5.xlarge"])
flag, data = ParameterBoolean("Register", default_value=True), ParameterString("Data")
cache = CacheConfig(enable_caching=True, expire_after="P30D")
machine = dict(role="{ROLE}", image_uri="image", instance_count=1, instance_type=instance, sagemaker_session=session)
prepare = ProcessingStep("Prepare", cache_config=cache, step_args=ScriptProcessor(command=["python3"], **machine).run(
    code="s3://{BUCKET}/code/prepare.py", arguments=["--seed", epochs.to_string()], inputs=[source("raw", data)],
    outputs=[target("train", Join(on="/", values=["s3://{BUCKET}", ExecutionVariables.PIPELINE_EXECUTION_ID, "v"]))]))
where = prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri
train = TrainingStep("Train", step_args=fit(where), cache_config=cache, depends_on=["Prepare"], retry_policies=[
    StepRetryPolicy([StepExceptionTypeEnum.THROTTLING], max_attempts=3),
    SageMakerJobStepRetryPolicy([SageMakerJobExceptionTypeEnum.CAPACITY_ERROR], expire_after_mins=10)])
tune = TuningStep("Tune", step_args=search(where), depends_on=[train])
best = tune.get_top_model_s3_uri(top_k=0, s3_bucket="{BUCKET}", prefix="out")
report = PropertyFile("Report", output_name="report", path="evaluation.json")
evaluate = ProcessingStep("Evaluate", property_files=[report], step_args=Processor(
    entrypoint=["python", "-m", "train.evaluate"], **machine).run(
    inputs=[source("best", best), source("first", train.properties.ModelArtifacts.S3ModelArtifacts)],
    outputs=[target("report", "s3://{BUCKET}/report")]))
accuracy = JsonGet(step_name="Evaluate", property_file=report, json_path="metrics.accuracy.value")
metrics = ModelMetrics(model_statistics=MetricsSource(content_type="application/json", s3_uri=Join(on="/", values=[
    evaluate.properties.ProcessingOutputConfig.Outputs["report"].S3Output.S3Uri, "evaluation.json"])))
register = ModelStep("Register", step_args=model(best).register(
    model_package_group_name="cifar", content_types=["application/json"], response_types=["application/json"],
    inference_instances=["ml.m5.large"], transform_instances=["ml.m5.large"], model_metrics=metrics,
    approval_status="PendingManualApproval", customer_metadata_properties={{"accuracy": accuracy.to_string()}}))
verdict = CallbackOutput("verdict", CallbackOutputTypeEnum.String)
callback = CallbackStep("Approve", sqs_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/queue",
    inputs={{"accuracy": accuracy, "best": tune.properties.BestTrainingJob.TrainingJobName}}, outputs=[verdict])
fail = FailStep("TooBad", error_message=Join(on=" ", values=["accuracy is below", threshold]))
condition = ConditionStep("IsGood", if_steps=[register], else_steps=[fail], conditions=[
    ConditionGreaterThanOrEqualTo(accuracy, threshold), ConditionEquals(callback.properties.Outputs["verdict"], "yes"),
    ConditionOr([ConditionEquals(flag, True), ConditionNot(ConditionIn(instance, ["ml.m5.large"]))])])
pipeline = Pipeline("cifar", parameters=[epochs, instance, threshold, flag, data], sagemaker_session=session,
                    steps=[prepare, train, tune, evaluate, callback, condition])
print("DEFINITION " + pipeline.definition())
for _ in range(2):  # made, then changed
    print("ARN " + pipeline.upsert(role_arn="{ROLE}")["PipelineArn"])
@step(role="{ROLE}", instance_type="ml.m5.large", image_uri="image")
def double(number):
    return 2 * number
functions = Pipeline("functions", steps=[double(double(3))], sagemaker_session=session)
functions.upsert(role_arn="{ROLE}")
print("FUNCTIONS " + functions.definition())
for one in refused():
    try:
        Pipeline("refused", steps=[one], sagemaker_session=session).create(role_arn="{ROLE}")
    except Exception as error:
        print(f"REFUSED-{{one.step_type.value}} {{error}}")
"""
V2 = (
    """
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput, TransformInput
from sagemaker.lambda_helper import Lambda
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.parameter import ContinuousParameter
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor, ScriptProcessor
from sagemaker.transformer import Transformer
from sagemaker.tuner import HyperparameterTuner
from sagemaker.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import *
from sagemaker.workflow.emr_step import EMRStep, EMRStepConfig
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.function_step import step
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.lambda_step import LambdaStep
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterBoolean, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.retry import *
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TransformStep, TuningStep

def source(name, uri):
    return ProcessingInput(input_name=name, source=uri, destination=f"/opt/ml/processing/{name}")

def target(name, uri):
    return ProcessingOutput(output_name=name, source=f"/opt/ml/processing/{name}", destination=uri)

def estimator():
    return Estimator("image", machine["role"], 1, instance, output_path="s3://out/out", sagemaker_session=session,
                     hyperparameters={"epochs": epochs, "rate": 0.1}, input_mode="Pipe")

def fit(uri):
    return estimator().fit({"train": TrainingInput(uri)})

def search(uri):
    found = [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}]
    return HyperparameterTuner(estimator(), "accuracy", {"rate": ContinuousParameter(1e-5, 1e-3)}, found).fit(
        {"train": TrainingInput(uri)})

def model(uri):
    return Model("image", model_data=uri, role=machine["role"], sagemaker_session=session)

def refused():
    session.sagemaker_client.create_model(ModelName="a-model", ExecutionRoleArn=machine["role"],
                                          PrimaryContainer={"Image": "image"})
    transformer = Transformer("a-model", 1, "ml.m5.large", sagemaker_session=session)
    yield TransformStep("Transform", step_args=transformer.transform("s3://bucket/in"))
    yield EMRStep("Emr", None, None, "j-1", EMRStepConfig(jar="s3://bucket/a.jar"))
    yield LambdaStep("Lambda", lambda_func=Lambda("arn:aws:lambda:us-east-1:123456789012:function:f"), inputs={})
"""
    + COMMON
)
V3 = (
    """
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.processing import Processor, ScriptProcessor
from sagemaker.core.shapes import (MetricDefinition, OutputDataConfig, ProcessingInput, ProcessingOutput,
                                   ProcessingS3Input, ProcessingS3Output)
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.core.workflow.conditions import *
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterBoolean, ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.for_each_step import ForEachStep
from sagemaker.mlops.workflow.function_step import step
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import *
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TuningStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

def source(name, uri):
    place = ProcessingS3Input(s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_data_type="S3Prefix",
                              s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=place)

def target(name, uri):
    place = ProcessingS3Output(s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=place)

def trainer():
    made = ModelTrainer(training_image="image", role=machine["role"], training_input_mode="Pipe",
                        hyperparameters={"epochs": epochs, "rate": 0.1}, sagemaker_session=session,
                        compute=Compute(instance_type=instance, instance_count=1),
                        output_data_config=OutputDataConfig(s3_output_path="s3://out/out"))
    return made.with_metric_definitions([MetricDefinition(name="accuracy", regex="accuracy=([0-9.]+)")])

def fit(uri):
    return trainer().train([InputData(channel_name="train", data_source=uri)])

def search(uri):
    found = [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}]
    tuner = HyperparameterTuner(trainer(), "accuracy", {"rate": ContinuousParameter(1e-5, 1e-3)}, found)
    return tuner.tune([InputData(channel_name="train", data_source=uri)])

def model(uri):
    return ModelBuilder(image_uri="image", s3_model_data_url=uri, role_arn=machine["role"], sagemaker_session=session)

def refused():
    body = TrainingStep("Body", step_args=fit("s3://bucket/data"))
    yield ForEachStep("Each", iterable_items=["a"], max_concurrency=1, for_each_body=[body])
"""
    + COMMON
)
REFUSED = {"v2": ["Transform", "EMR", "Lambda"], "v3": ["ForEach"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchServer]:
    with LaunchServer(tmp_path_factory.mktemp("launched")) as running:
        yield running


@pytest.mark.parametrize(("version", "program"), [("v2", V2), ("v3", V3)])
def test_what_an_sdk_writes(server: LaunchServer, tmp_path: Path, version: str, program: str) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (tmp_path / "program.py").write_text(program)
    done = server.run([sdk_python(version), str(tmp_path / "program.py")], HOME=str(tmp_path))
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    printed = dict(lines)
    text = printed["DEFINITION"]
    check_definition(read_checked(text))
    arn = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/cifar"
    assert [rest for word, rest in lines if word == "ARN"] == [arn, arn]
    found: dict[str, Any] = server.client("sagemaker").describe_pipeline(PipelineName="cifar")
    assert json.loads(found["PipelineDefinition"]) == json.loads(text)
    functions = list(read_checked(printed["FUNCTIONS"]).by_name.values())
    assert [one.type for one in functions] == ["Training", "Training"]
    assert {one.name for one in functions if not one.dependencies} == functions[0].dependencies
    for kind in REFUSED[version]:
        assert f"The local platform runs no step of type {kind}. " in printed[f"REFUSED-{kind}"]


def check_definition(found: Definition) -> None:
    types = {step.name.partition("-")[0]: step.type for step in found.by_name.values()}
    assert types == {
        "Prepare": "Processing", "Train": "Training", "Tune": "Tuning", "Evaluate": "Processing",
        "Approve": "Callback", "IsGood": "Condition", "Register": "RegisterModel", "TooBad": "Fail",
    }  # fmt: skip
    assert {name: found.by_name[name].dependencies for name in ("Train", "Tune", "Evaluate", "IsGood")} == {
        "Train": {"Prepare"}, "Tune": {"Prepare", "Train"}, "Evaluate": {"Train", "Tune"},
        "IsGood": {"Evaluate", "Approve"},
    }  # fmt: skip
    train = found.by_name["Train"]
    assert train.cache and train.cache.enabled
    assert [policy.exceptions for policy in train.retry_policies] == [
        ("Step.THROTTLING",),
        ("SageMaker.CAPACITY_ERROR",),
    ]
    assert found.by_name["Approve"].members["OutputParameters"] == [{"OutputName": "verdict", "OutputType": "String"}]
    assert [one.name for one in found.parameters] == ["Epochs", "InstanceType", "Threshold", "Register", "Data"]
    assert found.experiment
