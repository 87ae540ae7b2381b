"""List operations: filters, order, pages. A page starts after the last item of the page before, whatever was added."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from local_test.util.strict_json import bad_token, read_token, write_token

_PAGE = 10  # items where MaxResults is not given
# a time → how the limits on it begin, of jobs and of everything else: CreationTimeAfter, CreatedBefore
_TIMES = {"CreationTime": ("CreationTime", "Created"), "LastModifiedTime": ("LastModifiedTime", "Modified")}

Items = Iterable[Mapping[str, Any]]
Key = Callable[[Mapping[str, Any]], tuple[Any, ...]]  # an item → what it is sorted by


def filter_items(items: Items, request: Mapping[str, Any], name: str, status: str) -> list[Mapping[str, Any]]:
    """The items that fulfil NameContains, StatusEquals and the time limits; `name`, `status`: members' names."""

    return [item for item in items if within_times(item, request) and _matches(item, request, name, status)]


def within_times(item: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether the item's times are within all limits that the request has."""
    times = ((item[time], word) for time, words in _TIMES.items() if time in item for word in words)
    return all(_between(time, request.get(f"{word}After"), request.get(f"{word}Before")) for time, word in times)


def _matches(item: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str) -> bool:
    return request.get("NameContains", "") in item[name] and request.get("StatusEquals") in (None, item[status])


def _between(time: datetime, after: float | None, before: float | None) -> bool:
    seconds = time.timestamp()
    return (after is None or seconds > after) and (before is None or seconds < before)


def page(
    items: Items, request: Mapping[str, Any], key: Key, order: str = "Ascending"
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """(the items of this page, {"NextToken": …} if there are more). `key` sorts and must differ for any two items;
    `order`: where the request names none."""
    descending = request.get("SortOrder", order) == "Descending"
    ordered = sorted(items, key=key, reverse=descending)
    if token := request.get("NextToken"):
        last = tuple(read_token(token))
        try:
            ordered = [item for item in ordered if (key(item) < last if descending else key(item) > last)]
        except TypeError:
            raise bad_token(token) from None
    size = request.get("MaxResults", _PAGE)
    on_page = ordered[:size]
    return on_page, {"NextToken": write_token(list(key(on_page[-1])))} if len(ordered) > size else {}


def sort_key(request: Mapping[str, Any], name: str, status: str) -> Key:
    """Sorts by SortBy (default: CreationTime), then by name; JSON values only, since tokens hold them."""
    by = {"Name": name, "Status": status}.get(request.get("SortBy", "CreationTime"))

    def key(item: Mapping[str, Any]) -> tuple[Any, ...]:
        return (item[by] if by else item["CreationTime"].timestamp(), item[name])

    return key
