"""What the docs say of the code is what the code says."""

from typing import Any

import pytest

from docs.generate import PAGES, TABLES, find_refused, generate
from local_test.errors import BadRequest
from local_test.request.processing import PROCESSING_SUPPORT
from local_test.request.support import TRAINING_SUPPORT, Support

REFUSED = [(support, path) for support in (TRAINING_SUPPORT, PROCESSING_SUPPORT) for path in find_refused(support)]


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_the_codes(page: str) -> None:
    assert generate(page) == (PAGES / page).read_text(), "run `make docs`"


@pytest.mark.parametrize(("support", "path"), REFUSED, ids=[f"{support.operation}-{path}" for support, path in REFUSED])
def test_a_member_that_is_listed_as_refused_is_refused_by_name(support: Support, path: str) -> None:
    request: Any = "a value"
    for name in reversed(path.replace("[]", ".[]").split(".")):
        request = [request] if name == "[]" else {name: request}
    with pytest.raises(BadRequest) as refusal:
        support.check(request)
    assert str(refusal.value).startswith(f"{path} is not supported locally")
