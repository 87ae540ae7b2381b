from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.experiments.search_filter import known_name, matches, sort_key, with_known_names
from local_test.request.validation import service_model

ENTITY: dict[str, Any] = {
    "TrialComponentName": "part-1",
    "DisplayName": "Part",
    "CreationTime": datetime(2026, 1, 2, tzinfo=UTC),
    "Parameters": {"SageMaker.InstanceCount": {"NumberValue": 2.0}, "optimizer": {"StringValue": "adam"}},
    "Source": {"SourceArn": "arn:…:training-job/tuning-1-003"},
    "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}],
    "Parents": [{"TrialName": "t", "ExperimentName": "e"}],
    "Metrics": [{"MetricName": "validation:acc.top", "Max": 0.75, "Last": 0.5}],
    "Flag": True,
    "HyperParameters": {"rate": "0.25", "depth": "18", "optimizer": "adam", "limit": "inf"},
}


def condition(name: str, operator: str | None, value: str | None) -> dict[str, str]:
    found = {"Name": name, "Operator": operator, "Value": value}
    return {key: item for key, item in found.items() if item is not None}


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("DisplayName", None, "Part", True),
        ("DisplayName", "Equals", "part", False),
        ("DisplayName", "NotEquals", "Part", False),
        ("DisplayName", "NotEquals", "part", True),
        ("Nothing", "Equals", "x", False),
        ("Nothing", "NotEquals", "x", True),
        ("Nothing", "Exists", None, False),
        ("Nothing", "NotExists", None, True),
        ("Source.SourceArn", "Contains", "tuning-1", True),
        ("Source.SourceArn", "Contains", "tuning-2", False),
        ("Parameters.SageMaker.InstanceCount", "Equals", "2", True),
        ("Parameters.SageMaker.InstanceCount", "LessThan", "2", False),
        ("Parameters.SageMaker.InstanceCount", "LessThanOrEqualTo", "2.0", True),
        ("Parameters.optimizer", "In", "sgd, adam", True),
        ("Parameters.optimizer", "In", "sgd,rmsprop", False),
        ("Tags.b", "Equals", "2", True),
        ("Tags.b", "Equals", "1", False),
        ("Tags.b", "NotEquals", "2", False),
        ("Tags.c", "NotEquals", "2", True),
        ("Tags.c", "Exists", None, False),
        ("Parents.ExperimentName", "Equals", "e", True),
        ("Metrics.validation:acc.top.max", "GreaterThan", "0.7", True),
        ("Metrics.validation:acc.top.Last", "GreaterThanOrEqualTo", "0.7", False),
        ("CreationTime", "GreaterThan", "2026-01-01", True),
        ("CreationTime", "LessThan", "2026-01-02T00:00:01+00:00", True),
        ("Flag", "Equals", "TRUE", True),
        # hyperparameters are texts: compared as numbers, whole ones where the value is whole; other texts don't match
        ("HyperParameters.rate", "LessThan", "0.5", True),
        ("HyperParameters.rate", "GreaterThan", "0.3", False),
        ("HyperParameters.rate", "GreaterThan", "0", False),
        ("HyperParameters.rate", "LessThan", "1", True),
        ("HyperParameters.depth", "GreaterThanOrEqualTo", "18", True),
        ("HyperParameters.optimizer", "LessThan", "1", False),
        ("HyperParameters.limit", "GreaterThan", "1", True),
        # another component's parameter of that name may be a number, or a text
        ("Parameters.optimizer", "GreaterThan", "0.5", False),
        ("Parameters.SageMaker.InstanceCount", "Equals", "two", False),
        ("Parameters.SageMaker.InstanceCount", "In", "one, 2", True),
    ],
)
def test_one_filter(name: str, operator: str | None, value: str | None, expected: bool) -> None:
    assert matches(ENTITY, {"Filters": [condition(name, operator, value)]}) is expected


@pytest.mark.parametrize(
    ("name", "operator", "value", "message"),
    [
        ("DisplayName", "GreaterThan", "a", "GreaterThan is for numbers and times"),
        ("Flag", "Equals", "yes", "compared with true or false"),
        ("CreationTime", "LessThan", "yesterday", "compared with a time"),
        ("Parameters.SageMaker.InstanceCount", "LessThan", "two", "LessThan is for numbers and times"),
        ("DisplayName", "Exists", "x", "takes no Value"),
        ("DisplayName", "Contains", None, "needs a Value"),
    ],
)
def test_a_filter_that_is_none(name: str, operator: str, value: str | None, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        matches(ENTITY, {"Filters": [condition(name, operator, value)]})


def test_nested_filters_hold_for_one_item() -> None:
    def both(key: str, value: str) -> bool:
        inner = [condition("Tags.Key", "Equals", key), condition("Tags.Value", "Equals", value)]
        return matches(ENTITY, {"NestedFilters": [{"NestedPropertyName": "Tags", "Filters": inner}]})

    assert both("a", "1")
    assert not both("a", "2")


def test_and_or_and_what_is_inside() -> None:
    yes, no = condition("DisplayName", "Equals", "Part"), condition("DisplayName", "Equals", "other")
    assert not matches(ENTITY, {"Filters": [yes, no]})
    assert matches(ENTITY, {"Filters": [yes, no], "Operator": "Or"})
    assert matches(ENTITY, {"SubExpressions": [{"Filters": [yes, no], "Operator": "Or"}, {"Filters": [yes]}]})
    assert not matches(ENTITY, {"SubExpressions": [{"Filters": [no]}, {"Filters": [yes]}]})
    assert matches(ENTITY, {})
    with pytest.raises(BadRequest, match="at most 20 conditions"):
        matches(ENTITY, {"Filters": [yes] * 21})


VALUES = st.none() | st.floats(allow_nan=False) | st.text(max_size=3) | st.datetimes(timezones=st.just(UTC))


@given(st.lists(VALUES, max_size=8))
def test_whatever_a_property_holds_it_can_be_ordered(values: list[Any]) -> None:
    entities = [
        {"Name": str(n), **({} if value is None else {"Property": value})} for n, value in enumerate(values)
    ]  # fmt: skip
    key = sort_key("Property", "Name")
    ordered = sorted(entities, key=key)
    assert sorted(map(key, entities)) == [key(entity) for entity in ordered]
    assert len({key(entity) for entity in entities}) == len(entities)


@pytest.mark.parametrize(
    ("shape", "known", "unknown"),
    [
        ("TrainingJob", "TrainingJobName", "TrainingJobNam"),
        ("TrainingJob", "Metrics.validation:accuracy", "Metrics"),
        ("TrainingJob", "Tags.a.b", "Tag.a"),
        ("TrainingJob", "HyperParameters.learning.rate", "HyperParameter.learning.rate"),
        ("TrainingJob", "InputDataConfig.DataSource.S3DataSource.S3Uri", "InputDataConfig.S3Uri"),
        ("TrialComponent", "Metrics.acc.max", "FinalMetricDataList.MetricName"),
        ("TrialComponent", "Parameters.batch-size", "TrialComponentName.x"),
        ("Trial", "TrialComponentSummaries.TrialComponentName", "Components"),
    ],
)
def test_what_no_entity_has_is_refused_as_a_property(shape: str, known: str, unknown: str) -> None:
    model = service_model().shape_for(shape)
    assert known_name(known, model) == known
    assert known_name(f"{known[:1].lower()}{known[1:]}", model) == known  # as AWS's own examples write members
    inner = {"Filters": [condition(known, "Exists", None)]}
    assert with_known_names({"SubExpressions": [inner]}, model)["SubExpressions"][0]["Filters"] == inner["Filters"]
    for expression in (
        {"Filters": [condition(unknown, "Exists", None)]},
        {"NestedFilters": [{"NestedPropertyName": unknown, "Filters": []}]},
        {"SubExpressions": [{"Filters": [condition(unknown, "Exists", None)]}]},
    ):
        with pytest.raises(BadRequest, match=f"Unknown property name: {unknown}"):
            with_known_names(expression, model)


@pytest.mark.parametrize("begin", ["InputDataConfig.", "inputDataConfig.", ""])
def test_names_in_nested_filters_may_begin_with_the_list(begin: str) -> None:
    model = service_model().shape_for("TrainingJob")
    nested = [
        {"NestedPropertyName": "inputdataconfig", "Filters": [condition(f"{begin}channelName", "Equals", "train")]}
    ]
    expression = with_known_names({"NestedFilters": nested}, model)
    assert expression["NestedFilters"][0]["Filters"][0]["Name"] == "InputDataConfig.ChannelName"
    assert matches({"InputDataConfig": [{"ChannelName": "a"}, {"ChannelName": "train"}]}, expression)
