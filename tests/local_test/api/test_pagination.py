"""Filters, order and pages, whatever the items."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.api.pagination import filter_items, page, sort_key
from local_test.errors import BadRequest

NAMES = ("Name", "State")
items = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["Failed", "Completed"])).map(
        lambda pair: {"CreationTime": datetime.fromtimestamp(pair[0], UTC), "State": pair[1]}
    )
).map(lambda found: [{**item, "Name": f"n{index}"} for index, item in enumerate(found)])
orders = st.fixed_dictionaries(
    {},
    optional={
        "SortBy": st.sampled_from(["Name", "CreationTime", "Status"]),
        "SortOrder": st.sampled_from(["Ascending", "Descending"]),
        "MaxResults": st.integers(1, 4),
    },
)


@given(items, orders)
def test_pages_give_every_item_once_in_order(found: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    key = sort_key(asked, *NAMES)
    seen, request = [], asked
    while True:
        shown, more = page(found, request, key)
        assert len(shown) <= asked.get("MaxResults", 10)
        seen += shown
        if not more:
            break
        request = {**asked, **more}
    assert seen == sorted(found, key=key, reverse=asked.get("SortOrder") == "Descending")


@given(items, st.integers(0, 5))
def test_an_item_that_goes_or_comes_moves_no_page(found: list[dict[str, Any]], gone: int) -> None:
    key = sort_key({}, *NAMES)
    first, more = page(found, {"MaxResults": 2}, key)
    rest = [item for index, item in enumerate(found) if index != gone]
    if more:
        shown, _ = page(rest, {"MaxResults": 100, **more}, key)
        assert shown == [item for item in sorted(rest, key=key) if item not in first and key(item) > key(first[-1])]


def item(name: str, second: int, state: str = "Completed") -> dict[str, Any]:
    time = datetime.fromtimestamp(second, UTC)
    return {"Name": name, "State": state, "CreationTime": time, "LastModifiedTime": time}


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({}, "abc"),
        ({"NameContains": "b"}, "b"),
        ({"StatusEquals": "Failed"}, "c"),
        ({"CreationTimeAfter": 2.0}, "c"),
        ({"CreationTimeBefore": 2.0}, "a"),
        ({"CreatedAfter": 2.0}, "c"),
        ({"CreatedBefore": 2.5, "CreatedAfter": 1.5}, "b"),
        ({"LastModifiedTimeAfter": 1.5, "LastModifiedTimeBefore": 2.5}, "b"),
    ],
)
def test_filters(request_: dict[str, Any], names: str) -> None:
    found = filter_items([item("a", 1), item("b", 2), item("c", 3, "Failed")], request_, *NAMES)
    assert "".join(one["Name"] for one in found) == names


DEEP = base64.urlsafe_b64encode(b"[" * 5000).decode()


@pytest.mark.parametrize("token", ["x", "", "bnVsbA==", "MQ==", "WyJhIiwgMV0=", pytest.param(DEEP, id="deep")])
def test_a_token_that_is_none(token: str) -> None:
    request = {"NextToken": token}
    if token:
        with pytest.raises(BadRequest, match="Invalid NextToken"):
            page([item("a", 1)], request, sort_key(request, *NAMES))
    else:
        assert page([item("a", 1)], request, sort_key(request, *NAMES))[0] == [item("a", 1)]
