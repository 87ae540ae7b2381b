"""Expressions have values wherever the checks accept them; conditions compare what can be compared."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.pipelines.checks import read_checked
from local_test.pipelines.conditions import hold
from local_test.pipelines.definition import Definition
from local_test.pipelines.expressions import Path, read_json_path, read_reference, resolve
from local_test.pipelines.step_types import get_property, property_type, resolve_arguments
from tests.support.pipelines import definition

DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "Train": {
        "TrainingJobName": "the-job",
        "CreationTime": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
        "HyperParameters": {"epochs": "3"},
        "FinalMetricDataList": [{"MetricName": "accuracy", "Value": 0.5}, {"MetricName": "val:acc", "Value": 0.25}],
        "ResourceConfig": {"InstanceCount": 2},
    },
    "Evaluate": {
        "ProcessingOutputConfig": {
            "Outputs": [
                {"OutputName": "other", "S3Output": {"S3Uri": "s3://bucket/other"}},
                {"OutputName": "report", "S3Output": {"S3Uri": "s3://bucket/report"}},
            ]
        }
    },
    "IsGood": {"Outcome": "true"},
}
REPORT = {"metrics": {"accuracy": {"value": 0.75}, "a.b": [1, {"c": True}]}}


class Known:
    """A scope with the values above."""

    def parameter(self, name: str) -> Any:
        return {"Epochs": 3, "Threshold": 0.5, "Kind": "small", "Data": "s3://bucket/data", "Quick": True}[name]

    def execution_variable(self, name: str) -> Any:
        return f"<{name}>"

    def experiment_config(self, name: str) -> Any:
        return f"<{name}>"

    def step_property(self, step: str, path: Path) -> Any:
        return get_property(DESCRIPTIONS[step], path)

    def property_file(self, step: str, name: str) -> Any:
        assert (step, name) == ("Evaluate", "Report")
        return REPORT

    def json_object(self, s3_uri: str) -> Any:
        assert s3_uri == "s3://bucket/report/evaluation.json"
        return REPORT


SCOPE = Known()
GETS: dict[str, Any] = {
    "Parameters.Epochs": 3,
    "Parameters.Quick": True,
    "Execution.PipelineExecutionId": "<PipelineExecutionId>",
    "PipelineExperimentConfig.TrialName": "<TrialName>",
    "Steps.Train.TrainingJobName": "the-job",
    "Steps.Train.ModelArtifacts.S3ModelArtifacts": "s3://bucket/model.tar.gz",
    "Steps.Train.HyperParameters['epochs']": "3",
    'Steps.Train.HyperParameters["epochs"]': "3",
    "Steps.Train.FinalMetricDataList[0].Value": 0.5,
    "Steps.Train.FinalMetricDataList['val:acc'].Value": 0.25,
    "Steps.Train.ResourceConfig.InstanceCount": 2,
    "Steps.Evaluate.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri": "s3://bucket/report",
    "Steps.Evaluate.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri": "s3://bucket/other",
    "Steps.IsGood.Outcome": "true",
}


@pytest.mark.parametrize("text", GETS)
def test_gets(text: str) -> None:
    assert resolve({"a": [{"Get": text}]}, SCOPE) == {"a": [GETS[text]]}


@pytest.mark.parametrize("where", [{"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}}, {
    "S3Uri": {"Std:Join": {"On": "/", "Values": ["s3:/", "bucket", "report", "evaluation.json"]}}
}], ids=["property file", "object"])  # fmt: skip
@pytest.mark.parametrize(
    ("path", "value"),
    [("metrics.accuracy.value", 0.75), ("$.metrics.accuracy.value", 0.75), ("$['metrics']['a.b'][1].c", True)],
)
def test_json_gets(where: dict[str, Any], path: str, value: Any) -> None:
    assert resolve({"Std:JsonGet": {**where, "Path": path}}, SCOPE) == value


@pytest.mark.parametrize("path", ["metrics.loss", "metrics.accuracy[0]", "metrics['a.b'][2]", "metrics['a.b'].x"])
def test_what_a_file_lacks_is_named(path: str) -> None:
    value = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": path}}
    with pytest.raises(BadRequest, match="in the property file Report of step Evaluate"):
        resolve(value, SCOPE)


def test_joins() -> None:
    values = ["a", {"Get": "Parameters.Epochs"}, {"Get": "Parameters.Quick"}, {"Get": "Parameters.Threshold"}]
    inner = {"Std:Join": {"On": "", "Values": [{"Get": "Steps.Train.CreationTime"}]}}
    assert resolve({"Std:Join": {"On": "/", "Values": [*values, inner]}}, SCOPE) == (
        "a/3/true/0.5/2026-01-02T03:04:05.678+00:00"
    )
    with pytest.raises(BadRequest, match="joins texts and numbers"):
        resolve({"Std:Join": {"Values": [{"Get": "Steps.Train.ModelArtifacts"}]}}, SCOPE)


def test_a_few_expressions_do_not_become_gigabytes() -> None:
    class Large(Known):
        def json_object(self, s3_uri: str) -> Any:  # noqa: ARG002
            return {"text": "x" * (1 << 20), "list": ["x"] * (1 << 20)}

    text, many = ({"Std:JsonGet": {"S3Uri": "s3://bucket/large.json", "Path": path}} for path in ("text", "list"))
    assert len(resolve({"Std:Join": {"On": "/", "Values": [text] * 3}}, Large())) == 3 * (1 << 20) + 2
    with pytest.raises(BadRequest, match="Std:Join makes a text of more than 4194304 characters"):
        resolve({"Std:Join": {"On": "/", "Values": [text] * 10_000}}, Large())
    for value in (text, many):
        found = read_checked(definition("Steps.0.Arguments.HyperParameters", {f"h{n}": value for n in range(90)}))
        with pytest.raises(BadRequest, match="more than 4194304 characters and values"):
            resolve_arguments(found.by_name["Train"], Large())


def test_the_best_model_of_a_tuning_step() -> None:
    """As TuningStep.get_top_model_s3_uri writes it."""
    uri = {
        "Std:Join": {
            "On": "/",
            "Values": ["s3:/", "bucket", {"Get": "Steps.Tune.TrainingJobSummaries[1].TrainingJobName"}, "m"],
        }
    }

    class Tuned(Known):
        def step_property(self, step: str, path: Path) -> Any:
            assert step == "Tune"
            return get_property({"TrainingJobSummaries": [{"TrainingJobName": "a"}, {"TrainingJobName": "b"}]}, path)

    assert resolve(uri, Tuned()) == "s3://bucket/b/m"


def test_a_number_in_the_place_of_a_text_becomes_one() -> None:
    hyperparameters = {"epochs": {"Get": "Parameters.Epochs"}, "quick": {"Get": "Parameters.Quick"}, "x": "1"}
    found = read_checked(definition("Steps.0.Arguments.HyperParameters", hyperparameters))
    arguments = resolve_arguments(found.by_name["Train"], SCOPE)
    assert arguments["HyperParameters"] == {"epochs": "3", "quick": "true", "x": "1"}
    assert arguments["ResourceConfig"]["InstanceCount"] == 1


CONDITIONS = [
    ({"Type": "Equals", "LeftValue": 3, "RightValue": {"Get": "Parameters.Epochs"}}, True),
    ({"Type": "Equals", "LeftValue": 3.0, "RightValue": {"Get": "Parameters.Epochs"}}, True),
    ({"Type": "Equals", "LeftValue": True, "RightValue": {"Get": "Parameters.Quick"}}, True),
    ({"Type": "GreaterThan", "LeftValue": {"Get": "Parameters.Epochs"}, "RightValue": 3}, False),
    ({"Type": "GreaterThanOrEqualTo", "LeftValue": {"Get": "Parameters.Epochs"}, "RightValue": 3}, True),
    ({"Type": "LessThan", "LeftValue": "a", "RightValue": {"Get": "Parameters.Kind"}}, True),
    ({"Type": "LessThanOrEqualTo", "LeftValue": 4, "RightValue": {"Get": "Parameters.Epochs"}}, False),
    ({"Type": "In", "QueryValue": {"Get": "Parameters.Kind"}, "Values": ["large", "small"]}, True),
    ({"Type": "In", "QueryValue": {"Get": "Parameters.Kind"}, "Values": []}, False),
]


@pytest.mark.parametrize(("condition", "outcome"), CONDITIONS)
def test_conditions(condition: dict[str, Any], outcome: bool) -> None:
    assert hold([condition], SCOPE) is outcome
    assert hold([{"Type": "Not", "Condition": condition}], SCOPE) is not outcome
    assert hold([{"Type": "Or", "Conditions": [condition, CONDITIONS[0][0]]}], SCOPE)
    assert hold([CONDITIONS[0][0], condition], SCOPE) is outcome


def test_what_a_file_says_may_not_be_comparable() -> None:
    value = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": "metrics"}}
    with pytest.raises(BadRequest, match="A condition of type GreaterThan takes no structure"):
        hold([{"Type": "GreaterThan", "LeftValue": value, "RightValue": 1}], SCOPE)
    with pytest.raises(BadRequest, match="can't compare a text with a number"):
        hold([{"Type": "Equals", "LeftValue": "0.5", "RightValue": {"Get": "Parameters.Threshold"}}], SCOPE)


def read_report(path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Report"}, "Path": path}}


def join(on: str, values: list[Any]) -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": values}}


EXPRESSIONS = st.recursive(
    st.sampled_from([*({"Get": text} for text in GETS), read_report("metrics.accuracy.value")]) | st.text(max_size=5),
    lambda inner: st.builds(join, st.text(max_size=2), st.lists(inner, max_size=3)),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_what_the_checks_accept_has_a_value(expression: Any) -> None:
    step = {"Name": "Last", "Type": "Fail", "Arguments": {"ErrorMessage": join("", [expression])}}
    found = read_checked(definition("Steps.3", step))
    message = resolve_arguments(found.by_name["Last"], SCOPE)["ErrorMessage"]
    assert isinstance(message, str)


@given(st.text(alphabet="StepsParameters.[]'\"0aA-_ $", max_size=30))
def test_references_and_paths_are_read_or_refused(text: str) -> None:
    for read in (read_reference, read_json_path):
        try:
            read(text)
        except BadRequest as error:
            assert repr(text) in str(error)


def test_every_property_has_the_type_of_the_description() -> None:
    found: Definition = read_checked(definition())
    assert property_type(found.by_name["Train"], ("FinalMetricDataList", 0, "Value")) == "float"
    assert property_type(found.by_name["Train"], ("HyperParameters", "epochs")) == "string"
