"""Answers of the API as tests look at them: of the shape that botocore knows, or refused with the service's code."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_test.request.validation import _check, service_model


def check_shape(operation: str, response: dict[str, Any]) -> dict[str, Any]:
    """The response, found to be what the model says; but a job without channels is described with none, as there."""
    answer = {key: value for key, value in response.items() if key != "ResponseMetadata"}
    problems = list(_check(answer, service_model().operation_model(operation).output_shape, ""))
    assert [problem for problem in problems if not re.match(r"Value '\[\]' at '[\w.]*inputDataConfig'", problem)] == []
    return answer


def refusal_of(call: Any, code: str, **members: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]
