"""What the docs say of the code is what the code says."""

from typing import Any

import pytest

from docs.generate import PAGES, TABLES, find_refused, generate
from local_test.errors import BadRequest
from local_test.request.support import check_supported


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_the_codes(page: str) -> None:
    assert generate(page) == (PAGES / page).read_text(), "run `make docs`"


@pytest.mark.parametrize("path", find_refused())
def test_a_member_that_is_listed_as_refused_is_refused_by_name(path: str) -> None:
    request: Any = "a value"
    for name in reversed(path.replace("[]", ".[]").split(".")):
        request = [request] if name == "[]" else {name: request}
    with pytest.raises(BadRequest) as refusal:
        check_supported(request)
    assert str(refusal.value).startswith(f"{path} is not supported locally")
