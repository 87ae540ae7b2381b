"""Every constraint comes from botocore's model; the wording is the service's."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.request.validation import service_model, validate
from tests.support.local_jobs import request_for

REQUEST = request_for("job-1", Path("/out"), {"train": Path("/data")})


def message(**members: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        validate({**REQUEST, **members})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_valid_request_with_local_uris_passes() -> None:
    validate(REQUEST)


def test_a_name_that_does_not_match() -> None:
    assert message(TrainingJobName="a_b") == (
        "1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_a_missing_member() -> None:
    request = {key: value for key, value in REQUEST.items() if key != "RoleArn"}
    with pytest.raises(
        BadRequest, match="Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
    ):
        validate(request)


def test_an_unknown_member_names_the_nearest() -> None:
    assert "Unknown member 'HyperParameter' in 'request': did you mean HyperParameters?" in message(HyperParameter={})


def test_what_is_unknown_is_told_once_and_many_problems_are_cut() -> None:
    assert message(Foo=1, Bar=2, Quux=3).count("known members: TrainingJobName") == 1
    assert "Unknown members 'Foo', 'Bar', 'Quux' in 'request'" in message(Foo=1, Bar=2, Quux=3)
    many = message(HyperParameters={str(n): n for n in range(25)})
    assert many.startswith("25 validation errors detected: ")
    assert many.endswith(
        "'hyperParameters.9' failed to satisfy constraint: Member must be a string, not integer; and 15 more"
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"HyperParameters": {"epochs": 10}},
            "Value '10' at 'hyperParameters.epochs' .* must be a string, not integer",
        ),
        ({"HyperParameters": []}, "must be a structure|must be a map"),
        ({"HyperParameters": {"k": "v" * 2501}}, "^.{,50}'v{1000}…' at .* length less than or equal to 2500"),
        ({"HyperParameters": {str(i): "" for i in range(101)}}, "length less than or equal to 100"),
        ({"EnableNetworkIsolation": "yes"}, "must be a boolean, not string"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "'stoppingCondition.maxRuntimeInSeconds' .* greater than or equal to 1",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "must be an integer, not boolean"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 1 << 31}}, "must be an integer from -2147483648 to 2147483647"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Stream"}}, r"enum value set: \[Pipe, File, FastFile\]"),
        ({"InputDataConfig": []}, "'inputDataConfig' .* length greater than or equal to 1"),
        ({"InputDataConfig": [{"ChannelName": "a b"}]}, "2 validation errors .*inputDataConfig.1.member.dataSource"),
        ({"OutputDataConfig": {"S3OutputPath": "gs://x"}}, "'outputDataConfig.s3OutputPath'"),
        ({"TrainingJobName": None}, "must be a string, not null"),
        ({"Environment": {"A": "b\0c"}}, r"Value 'b\\0c' at 'environment.A' .* must not contain the character U\+0000"),
        ({"OutputDataConfig": {"S3OutputPath": "file:///a\0b"}}, r"Value 'file:///a\\0b' at"),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "Duplicate tag key. Received: a"),
        ({"Tags": [{"Key": "AWS:stack", "Value": ""}]}, "aws: prefixed tag key names .* Received: AWS:stack"),
        ({"Tags": [{"Key": "a", "Value": "ä ü"}, {"Key": "#", "Value": ""}]}, "'tags.2.member.key'"),
    ],
)
def test_each_kind_of_constraint(members: dict[str, Any], expected: str) -> None:
    import re

    assert re.search(expected, message(**members)), message(**members)


@pytest.mark.parametrize("when", [1e12, -1e11, 1e308, 1 << 4000])
def test_a_time_is_of_the_years_1_to_9999(when: float) -> None:
    with pytest.raises(BadRequest, match=r"at 'startTime' .* a timestamp from -62135596800 to 253402300799"):
        validate({"TrialComponentName": "a", "StartTime": when}, "CreateTrialComponent")


def test_a_request_that_is_no_object() -> None:
    with pytest.raises(BadRequest, match="must be a structure, not list"):
        validate([])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*sorted(REQUEST), "Tags", "HyperParameters", "Nonsense"]), json_values))
def test_no_json_object_makes_it_fall_over(members: dict[str, Any]) -> None:
    try:
        validate({**REQUEST, **members})
    except BadRequest as error:
        assert "validation error" in str(error)


def test_every_pattern_of_the_service_compiles() -> None:
    from local_test.request.validation import _compile

    shapes = [service_model().shape_for(name) for name in service_model().shape_names]
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert len(patterns) > 200
    for pattern in patterns:
        _compile(pattern)
