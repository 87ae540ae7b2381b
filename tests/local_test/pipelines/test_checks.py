"""Definitions that are refused, each for its reason, and that nothing else than BadRequest comes of a text."""

import copy
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.pipelines.checks import read_checked
from local_test.pipelines.parameters import parse_values
from local_test.pipelines.parser import LONGEST, parse_definition, read_duration
from local_test.pipelines.step_types import REFUSED, STEP_TYPES
from tests.support.pipelines import (
    CALLBACK,
    DEFINITION,
    EVALUATE,
    FAIL,
    IS_GOOD,
    MODEL,
    REGISTER,
    TRAIN,
    TUNE,
    changed,
    definition,
)

PREFIX = "Unable to parse pipeline definition. "
NESTED = "Steps.2.Arguments.IfSteps.0"


def refusal(text: str) -> str:
    with pytest.raises(BadRequest) as caught:
        read_checked(text)
    message = str(caught.value)
    assert message.startswith(PREFIX)
    assert "\n" not in message
    return message.removeprefix(PREFIX)


def test_a_definition_is_read_whole() -> None:
    found = read_checked(definition())
    assert list(found.by_name) == ["Train", "Evaluate", "IsGood", "Model", "TooBad"]
    assert found.parents == {"Model": "IsGood", "TooBad": "IsGood"}
    assert found.predecessors("Evaluate") == {"Train"}
    assert found.predecessors("Model") == {"Train", "IsGood"}
    assert found.by_name["IsGood"].implied == {"Evaluate"}


def test_a_step_after_a_condition_waits_for_its_branches() -> None:
    after = {**copy.deepcopy(TRAIN), "Name": "After", "DependsOn": ["IsGood"]}
    found = read_checked(definition("Steps.3", after))
    assert found.predecessors("After") == {"IsGood", "Model", "TooBad"}


def test_the_members_of_a_step() -> None:
    step = {
        **TRAIN,
        "DisplayName": "The training",
        "Description": "of a model",
        "CacheConfig": {"Enabled": True, "ExpireAfter": "P1DT2H"},
        "RetryPolicies": [
            {"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 2, "BackoffRate": 1.5, "MaxAttempts": 4},
            {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "ExpireAfterMin": 10},
            {"ExceptionType": ["SageMaker.RESOURCE_LIMIT"]},
        ],
    }
    found = read_checked(definition("Steps.0", step)).by_name["Train"]
    assert (found.display_name, found.description) == ("The training", "of a model")
    assert found.cache and found.cache.expire_after == timedelta(days=1, hours=2)
    first, second, third = found.retry_policies
    assert (first.exceptions, first.interval_seconds, first.max_attempts) == (("Step.THROTTLING",), 2, 4)
    assert (second.max_attempts, second.expire_after) == (None, timedelta(minutes=10))
    assert third.max_attempts == 5


@pytest.mark.parametrize(
    ("path", "new", "expected"),
    [
        ("Version", "2021-01-01", "Unknown Version. Received: '2021-01-01'. Expected: 2020-12-01"),
        ("Steps", [], "Steps is empty"),
        ("Steps", {}, "Steps must be a list. Expecting start of Json Array"),
        ("Stpes", [], "The definition has an unknown member 'Stpes'"),
        ("Steps.0.Name", "a b", "A step's Name has 1 to 64 letters"),
        ("Steps.0.Name", "Evaluate", "Step names must be unique. Received twice: Evaluate"),
        (f"{NESTED}.Name", "Train", "Step names must be unique. Received twice: Train"),
        ("Parameters.1.Name", "Epochs", "Parameter names must be unique. Received twice: Epochs"),
        ("Parameters.0.DefaultValue", "3", "Parameter Epochs: DefaultValue must be of type Integer. Received: '3'"),
        ("Parameters.0.DefaultValue", True, "Parameter Epochs: DefaultValue must be of type Integer. Received: True"),
        ("Parameters.2.DefaultValue", "huge", "Parameter Kind: DefaultValue must be one of small, large"),
        ("Parameters.0.Type", "Number", "Parameter Epochs: unknown Type. Received: 'Number'"),
        ("Steps.0.Type", "Trainign", "Step Train: There is no such step type. Received: 'Trainign'"),
        ("Steps.0.Type", "Transform", "Step Train: The local platform runs no step of type Transform. No batch"),
        ("Steps.0.DependsOn", ["Nobody"], "Step Train: DependsOn names step Nobody, which there is not"),
        ("Steps.3", {**FAIL, "Name": "After", "DependsOn": ["TooBad"]}, "After can not depends on TooBad: "),
        ("Steps.0.DependsOn", ["Train"], "Steps depend on each other in a cycle: Train → Train"),
        ("Steps.0.DependsOn", ["Evaluate"], "Steps depend on each other in a cycle: "),
        ("Steps.0.DependsOn", ["IsGood"], "Steps depend on each other in a cycle: "),
        ("Steps.2.DependsOn", ["Model"], "Steps depend on each other in a cycle: "),
        ("Steps.0.DependsOn", [{"Step": "Evaluate", "Trigger": "Failed"}], "Step Train: DependsOn with Trigger Failed"),
        ("Steps.0.DispalyName", "x", "Step Train: It has an unknown member 'DispalyName'"),
        ("Steps.0.PropertyFiles", [], "Step Train: It has an unknown member 'PropertyFiles'"),
        ("Steps.0.CacheConfig", {"Enabled": "yes"}, "Step Train: CacheConfig.Enabled must be a boolean"),
        ("Steps.0.CacheConfig", {"Enabled": True, "ExpireAfter": "1 day"}, "Step Train: ExpireAfter must be an ISO"),
        ("Steps.0.RetryPolicies", [{"ExceptionType": ["X"]}], "Step Train: Unknown ExceptionType"),
        (
            "Steps.0.RetryPolicies",
            [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "ExpireAfterMin": 1}],
            "Step Train: A retry policy has MaxAttempts or ExpireAfterMin, not both",
        ),
        (
            "Steps.0.Arguments.HyperParameters.epochs",
            {"Get": "Parameters.Epcohs"},
            "Step Train: Invalid property reference: the pipeline has no parameter Epcohs. It has: Epochs, ",
        ),
        (
            "Steps.0.Arguments.HyperParameters.epochs",
            {"Get": "Epochs"},
            "Step Train: Invalid property reference. Received: 'Epochs'",
        ),
        (
            "Steps.0.Arguments.HyperParameters.epochs",
            {"Get": "Execution.Now"},
            "Step Train: Invalid property reference: there is no Execution.Now",
        ),
        (
            "Steps.0.Arguments.HyperParameters.epochs",
            {"Std:Jion": {}},
            "Step Train: There is no such function. Received: 'Std:Jion'",
        ),
        (
            f"{NESTED}.Arguments.PrimaryContainer.ModelDataUrl",
            {"Get": "Steps.Training.ModelArtifacts.S3ModelArtifacts"},
            "Step Model: Invalid property reference: the pipeline has no step Training",
        ),
        (
            f"{NESTED}.Arguments.PrimaryContainer.ModelDataUrl",
            {"Get": "Steps.Train.ModelArtifact.S3ModelArtifacts"},
            "Step Model: Invalid property reference: Steps.Train.ModelArtifact.S3ModelArtifacts is no property of a "
            "step of type Training",
        ),
        (
            f"{NESTED}.Arguments.PrimaryContainer.ModelDataUrl",
            {"Get": "Steps.Train.ModelArtifacts"},
            "Step Model: Model Validation failed: Arguments: 1 validation error detected: "
            "Value '{\"Get\": \"Steps.Train.ModelArtifacts\"}' at 'primaryContainer.modelDataUrl' failed to satisfy "
            "constraint: Member must be a string, not structure",
        ),
        (
            f"{NESTED}.Arguments.PrimaryContainer.ModelDataUrl",
            {"Get": "Steps.Evaluate.ProcessingOutputConfig.Outputs['reprot'].S3Output.S3Uri"},
            "Step Model: Invalid property reference: step Evaluate has no output reprot. It has: report",
        ),
        (
            "Steps.2.Arguments.Conditions.0.LeftValue.Std:JsonGet.PropertyFile.Get",
            "Steps.Evaluate.PropertyFiles.Rapport",
            "Step IsGood: Step Evaluate declares no property file Rapport. It has: Report",
        ),
        (
            "Steps.2.Arguments.Conditions.0.LeftValue.Std:JsonGet.Path",
            "metrics[*].value",
            "Step IsGood: Std:JsonGet knows paths of names and indices. Received: 'metrics[*].value'",
        ),
        (
            "Steps.2.Arguments.Conditions.0.RightValue",
            {"Get": "Steps.Train.TrainingJobName"},
            None,
        ),
        (
            "Steps.2.Arguments.Conditions.0",
            {"Type": "LessThan", "LeftValue": {"Get": "Parameters.Kind"}, "RightValue": 3},
            "Step IsGood: A condition of type LessThan can't compare a text with a number",
        ),
        (  # as a test of the SDK's own against the service has it
            "Steps.2.Arguments.Conditions.0",
            {"Type": "LessThan", "LeftValue": {"Get": "Steps.Train.HyperParameters['epochs']"}, "RightValue": 6.0},
            None,
        ),
        (
            "Steps.2.Arguments.Conditions.0",
            {
                "Type": "LessThan",
                "LeftValue": {"Get": "Steps.Train.FinalMetricDataList['a:b'].Value"},
                "RightValue": "x",
            },
            "Step IsGood: A condition of type LessThan can't compare a number with a text",
        ),
        (
            "Steps.2.Arguments.Conditions.0",
            {"Type": "GreaterThan", "LeftValue": {"Get": "Parameters.Quick"}, "RightValue": False},
            "Step IsGood: A condition of type GreaterThan takes no boolean",
        ),
        ("Steps.2.Arguments.Conditions.0.Type", "Like", "Step IsGood: There is no such condition."),
        ("Steps.2.Arguments.Conditions", [], "Step IsGood: Conditions must be a list of at least one condition"),
        (
            "Steps.1.PropertyFiles.0.OutputName",
            "output",
            "Step Evaluate: Property file Report is in output output, which the step does not have. It has: report",
        ),
        (
            "Steps.0.Arguments.ResourceConfig.InstanceCount",
            "one",
            "Step Train: Model Validation failed: Arguments: 1 validation error detected: Value 'one' at "
            "'resourceConfig.instanceCount' failed to satisfy constraint: Member must be an integer, not string",
        ),
        (
            "Steps.0.Arguments.ResourceConfig.InstanceCount",
            {"Get": "Parameters.Kind"},
            "Step Train: Model Validation failed: Arguments: 1 validation error detected: "
            "Value '{\"Get\": \"Parameters.Kind\"}' at 'resourceConfig.instanceCount' failed to satisfy constraint: "
            "Member must be an integer, not string",
        ),
        (
            "Steps.0.Arguments.TrainingImage",
            "image",
            "Step Train: Model Validation failed: Arguments: 1 validation error detected: Unknown member",
        ),
        (
            "Steps.0.Arguments.OutputDataConfig",
            ...,
            "Step Train: Model Validation failed: Arguments: 1 validation error detected: Value null at "
            "'outputDataConfig' failed",
        ),
        (
            "Steps.0.Arguments.AlgorithmSpecification.AlgorithmName",
            "arn:aws:sagemaker:us-east-1:123456789012:algorithm/a",
            "Step Train: Model Validation failed: Arguments: AlgorithmSpecification.AlgorithmName is not supported",
        ),
        (
            "Steps.1.Arguments.ProcessingOutputConfig.Outputs.0.FeatureStoreOutput",
            {"FeatureGroupName": "group"},
            "Step Evaluate: Model Validation failed: Arguments: ProcessingOutputConfig.Outputs[].FeatureStoreOutput."
            "FeatureGroupName is not supported",
        ),
        (
            "Steps.1.Arguments.ProcessingInputs.0.S3Input.S3InputMode",
            "Pipe",
            "Step Evaluate: Model Validation failed: Arguments: ProcessingInputs[].S3Input.S3InputMode has a value "
            "that is not supported locally. Received: Pipe. Supported: File",
        ),
        ("Steps.1.Arguments.ProcessingInputs.0.S3Input.S3InputMode", {"Get": "Parameters.Kind"}, None),
        ("Steps.1.Arguments.ProcessingInputs.0.S3Input", {"Get": "Steps.Train.ModelArtifacts"}, None),
        ("Steps.2.Arguments.ElseSteps.0.Arguments", {}, "Step TooBad: Arguments of a Fail step"),
        (
            "PipelineExperimentConfig.TrialName",
            {"Get": "Steps.Train.TrainingJobName"},
            "PipelineExperimentConfig.TrialName can refer to parameters and execution variables alone",
        ),
        (
            "PipelineExperimentConfig.ExperimentName",
            "my experiment",
            "PipelineExperimentConfig: 1 validation error detected: Value 'my experiment' at 'experimentName' failed",
        ),
        (
            "Steps.1.Arguments.Environment",
            {"JOB": {"Get": "Execution.TrainingJobName"}},
            "Step Evaluate: Execution.TrainingJobName has a value in a step of type Training alone",
        ),
        ("Steps.1.Arguments.Environment", {"JOB": {"Get": "Execution.ProcessingJobName"}}, None),
        ("PipelineExperimentConfig.TrialName", ..., "PipelineExperimentConfig has no TrialName"),
    ],
)
def test_what_is_wrong_is_named(path: str, new: Any, expected: str | None) -> None:
    if expected is None:
        read_checked(definition(path, new))
        return
    assert refusal(definition(path, new)).startswith(expected)


def _range(low: Any, high: Any) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": low, "MaxValue": high}]}


KIND = {"Get": "Parameters.Kind"}
COUNT = {"Get": "Parameters.Epochs"}
CHANNEL = {
    "ChannelName": "train",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": {"Get": "Parameters.Data"}}},
}
OUTPUT = EVALUATE["Arguments"]["ProcessingOutputConfig"]["Outputs"][0]
CONFIG, JOB = "HyperParameterTuningJobConfig", "TrainingJobDefinition"
METRICS, OUTPUTS = "AlgorithmSpecification.MetricDefinitions", "ProcessingOutputConfig.Outputs"
COUNT_OF_INSTANCES = "ProcessingResources.ClusterConfig.InstanceCount"


@pytest.mark.parametrize(
    ("step", "path", "new", "expected"),
    [
        (TRAIN, "InputDataConfig", [CHANNEL, CHANNEL], "Channel names must be unique. Received: train 2 times"),
        (TRAIN, "InputDataConfig", [CHANNEL, {**CHANNEL, "ChannelName": KIND}], None),
        (TRAIN, "ResourceConfig.InstanceCount", ..., "ResourceConfig.InstanceCount is missing or 0. Received: "),
        (TRAIN, "ResourceConfig.InstanceCount", COUNT, None),
        (TRAIN, "AlgorithmSpecification.TrainingImage", ..., "AlgorithmSpecification.TrainingImage is missing or 0"),
        (TRAIN, "AlgorithmSpecification.TrainingImage", KIND, None),
        (TRAIN, METRICS, [{"Name": "a", "Regex": "("}], "MetricDefinitions: the regex"),
        (TRAIN, METRICS, [{"Name": "a", "Regex": KIND}], None),
        (TRAIN, "StoppingCondition", {"MaxWaitTimeInSeconds": COUNT}, "Invalid MaxWaitTimeInSeconds. It is only"),
        (TRAIN, "CheckpointConfig", {"S3Uri": KIND, "LocalPath": "/a/../b"}, "CheckpointConfig.LocalPath must be the"),
        (TRAIN, "CheckpointConfig", {"S3Uri": KIND, "LocalPath": KIND}, None),
        (EVALUATE, f"{OUTPUTS}.1", OUTPUT, "Output names must be unique. Received: 'report' 2 times"),
        (EVALUATE, f"{OUTPUTS}.1", {**OUTPUT, "OutputName": "b"}, "Output 'b': Output 'report' has its"),
        (EVALUATE, f"{OUTPUTS}.0.S3Output.LocalPath", "/tmp", "Output 'report': S3Output.LocalPath must"),
        (EVALUATE, f"{OUTPUTS}.0.S3Output.LocalPath", KIND, None),
        (EVALUATE, "ProcessingInputs.0.InputName", KIND, None),
        (EVALUATE, COUNT_OF_INSTANCES, ..., f"{COUNT_OF_INSTANCES} is missing"),
        (TUNE, f"{CONFIG}.ParameterRanges", _range("1", "1"), "The range of rate must have MinValue < MaxValue."),
        (TUNE, f"{CONFIG}.ParameterRanges", _range("1", KIND), None),
        (TUNE, f"{CONFIG}.HyperParameterTuningJobObjective.MetricName", "b", "A metric is required for this"),
        (TUNE, f"{CONFIG}.HyperParameterTuningJobObjective.MetricName", KIND, None),
        (TUNE, f"{CONFIG}.ResourceLimits.MaxNumberOfTrainingJobs", COUNT, None),
        (TUNE, f"{CONFIG}.Strategy", "Grid", "Strategy Grid "),
        (TUNE, f"{CONFIG}.Strategy", KIND, None),
        (TUNE, f"{JOB}.StaticHyperParameters", {"rate": KIND}, "A hyperparameter is static or has a range, not both"),
        (TUNE, f"{JOB}.InputDataConfig", [CHANNEL, CHANNEL], "Channel names must be unique. Received: train 2 times"),
        (TUNE, "WarmStartConfig", {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "later"}],
                                   "WarmStartType": "TransferLearning"}, None),
    ],
)  # fmt: skip
def test_what_no_job_could_be_is_refused_before_a_step_runs(
    step: dict[str, Any], path: str, new: Any, expected: str | None
) -> None:
    """Whatever the expressions stand for: nobody learns after an hour that the second step has a name twice."""
    text = json.dumps({"Parameters": DEFINITION["Parameters"], "Steps": [TRAIN, step] if step is not TRAIN else [step]})
    value = json.loads(text)
    value["Steps"][-1] = changed(value["Steps"][-1], f"Arguments.{path}", new)
    if expected is None:
        read_checked(json.dumps(value))
        return
    assert f"Step {step['Name']}: Model Validation failed: Arguments: {expected}" in refusal(json.dumps(value))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_type_that_cannot_run_is_refused_with_a_way_out(kind: str) -> None:
    message = refusal(definition("Steps.3", {"Name": "Last", "Type": kind, "Arguments": {}}))
    assert message == f"Step Last: The local platform runs no step of type {kind}. {REFUSED[kind]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "It is not JSON"),
        ("{", "It is not JSON"),
        ("[]", "The definition must be an object. Expecting start of Json Object. Received: []"),
        ("NaN", "It is not JSON: NaN is no number of JSON"),
        ('{"Steps": "\\ud800"}', "It has half of a surrogate pair"),
        (
            definition("Parameters.0.DefaultValue", 1 << 63),
            "Parameter Epochs: DefaultValue must be a number of 64 bits",
        ),
        ("[" * 100_000, "It is nested too deeply"),
        ("[" * 200 + "]" * 200, "It is nested too deeply. Expected: at most 100 levels"),
        (" " * (LONGEST + 1), f"It has {LONGEST + 1} characters. Expected: at most {LONGEST}"),
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_no_definition(text: str, expected: str) -> None:
    assert refusal(text).startswith(expected)


def test_a_large_definition_is_read_in_no_time() -> None:
    """Steps after a condition wait for each step of its branches; a refusal is no longer than a person reads."""
    inner = [{**FAIL, "Name": f"Inner{n}"} for n in range(2000)]
    steps = [{**FAIL, "Name": f"S{n}", "DependsOn": ["IsGood"]} for n in range(2000)]
    value = changed({**DEFINITION, "Steps": [*DEFINITION["Steps"], *steps]}, "Steps.2.Arguments.IfSteps", inner)
    begin = time.monotonic()
    assert len(read_checked(json.dumps(value)).by_name) == 4004
    assert time.monotonic() - begin < 5  # pairs of them would take longer
    text = json.dumps({"Steps": [{**FAIL, "Name": "A", "DependsOn": ["B"]}, {**FAIL, "Name": "B", "DependsOn": ["A"]}]})
    assert refusal(text) in [f"Steps depend on each other in a cycle: {cycle}" for cycle in ("A → B → A", "B → A → B")]
    message = refusal(json.dumps(changed(value, "Steps.2.Arguments.IfSteps.0.DependsOn", ["S7"])))
    assert message.startswith("Steps depend on each other in a cycle: ")
    assert {"Inner0", "S7"} <= set(message.partition(": ")[2].split(" → "))
    in_circle = [{**FAIL, "Name": f"S{n}", "DependsOn": [f"S{(n + 1) % 2000}"]} for n in range(2000)]
    assert len(refusal(json.dumps({"Steps": in_circle}))) == 2001


def test_conditions_within_conditions() -> None:
    inner = {**copy.deepcopy(IS_GOOD), "Name": "Inner"}
    inner["Arguments"]["IfSteps"], inner["Arguments"]["ElseSteps"] = [{**FAIL, "Name": "Deep"}], []
    found = read_checked(definition("Steps.2.Arguments.ElseSteps", [inner]))
    assert found.predecessors("Deep") == {"Inner"}
    assert found.predecessors("Inner") == {"Evaluate", "IsGood"}


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_WORDS = st.sampled_from(
    ["Get", "Std:Join", "Std:JsonGet", "On", "Values", "Path", "PropertyFile", "S3Uri", "Name", "Type", "Arguments"]
)
_REFERENCES = st.sampled_from(
    [
        "Steps.Train.TrainingJobName",
        "Steps.Evaluate.PropertyFiles.Report",
        "Steps.Train.HyperParameters['x']",
        "Steps.Train.FinalMetricDataList[0].Value",
        "Steps.IsGood.Outcome",
        "Steps.",
        "Parameters.Epochs",
        "Execution.PipelineArn",
    ]
)
JSON = st.recursive(
    _LEAVES | _REFERENCES | st.builds(lambda text: {"Get": text}, _REFERENCES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, at: str = "") -> list[str]:
    """Of every item within."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in items for path in (f"{at}{key}", *paths(item, f"{at}{key}.")) if "." not in str(key)]


EVERY_TYPE = {**DEFINITION, "Steps": [*DEFINITION["Steps"], TUNE, REGISTER, CALLBACK]}


def test_every_step_type_is_there() -> None:
    found = read_checked(json.dumps(EVERY_TYPE))
    assert {step.type for step in found.by_name.values()} == set(STEP_TYPES)
    assert found.predecessors("Register") == {"Tune"}


@given(st.sampled_from(paths(EVERY_TYPE)), JSON)
@example("Steps.3.Arguments.TrainingJobDefinitions", {"Get": "Steps.Train.InputDataConfig"})
@example(
    "Steps.3.Arguments.TrainingJobDefinition.AlgorithmSpecification", {"Get": "Steps.Train.AlgorithmSpecification"}
)
@example("Steps.5.OutputParameters.0.OutputName", {"Get": "Parameters.Epochs"})
@example("Steps.0.Arguments", {"Get": "Parameters.Epochs"})
@example("Steps.0.Arguments.StoppingCondition", {"\n": None})
@example("Steps.1.Arguments.ProcessingOutputConfig", {"Get": "Parameters.Epochs"})
def test_nothing_but_bad_request_comes_of_a_change(path: str, new: Any) -> None:
    text = json.dumps(changed(EVERY_TYPE, path, new))
    try:
        read_checked(text)
    except BadRequest as error:
        assert str(error).startswith(PREFIX)
        assert "\n" not in str(error)


@given(st.text() | JSON.map(json.dumps))
def test_nothing_but_bad_request_comes_of_a_text(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_definition(text)


def test_values_of_parameters() -> None:
    parameters = read_checked(definition()).parameters
    assert parse_values(parameters, {"Data": "s3://x", "Epochs": "7", "Threshold": "1e-3", "Quick": "false"}) == {
        "Epochs": 7, "Threshold": 1e-3, "Kind": "small", "Data": "s3://x", "Quick": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, "Missing parameters: Data have no default"),
        ({"Data": "x", "Dta": "x"}, "the pipeline has no Dta. It has: Epochs, Threshold, Kind, Data, Quick"),
        ({"Data": "x", "Epochs": "3.5"}, "Parameter Epochs: the value must be of type Integer. Received: '3.5'"),
        ({"Data": "x", "Threshold": "high"}, "Parameter Threshold: the value must be of type Float"),
        ({"Data": "x", "Threshold": "nan"}, "Parameter Threshold: the value must be a finite number"),
        ({"Data": "x", "Quick": "yes"}, "Parameter Quick: the value must be of type Boolean"),
        ({"Data": "x", "Kind": "huge"}, "Parameter Kind: the value must be one of small, large. Received: 'huge'"),
    ],
)
def test_values_that_are_none(texts: dict[str, str], expected: str) -> None:
    with pytest.raises(BadRequest, match=expected.replace(".", r"\.")):
        parse_values(read_checked(definition()).parameters, texts)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P30D", 30 * 86400), ("p30d", 30 * 86400), ("P4DT12H", 388800), ("T12H", 43200), ("PT1.5S", 1)],
)
def test_durations(text: str, seconds: int) -> None:
    assert read_duration(text).total_seconds() == seconds


@given(st.text(alphabet="PTYMWDHS0123456789.-", max_size=12))
def test_a_duration_or_a_refusal(text: str) -> None:
    try:
        assert read_duration(text) >= timedelta(0)
    except BadRequest as error:
        assert text in str(error)


def test_model_is_not_named_by_the_pipeline() -> None:
    package = {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelPackageName": "x"}}
    assert refusal(definition("Steps.3", package)) == "Step Register: Unknown Argument member 'ModelPackageName'."
    assert read_checked(definition("Steps.3", {**MODEL, "Name": "Other"}))
