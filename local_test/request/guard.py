"""What a request over the API may name: whoever can send one must not thereby read and write the user's files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_test.util.atomic_files import FILE_SCHEME, refuse_file

_ADDRESSES = ("S3Uri", "S3OutputPath")
_ROLE = "RoleArn"


@dataclass(frozen=True)
class Guard:
    """`allow_files`: file:// URIs where S3 is meant; `check_role` raises for a role that no job may have."""

    allow_files: bool = False
    check_role: Callable[[str], None] | None = None

    def check(self, request: Mapping[str, Any]) -> None:
        """BadRequest, one line, for what it may not name. A hyperparameter is the program's own affair."""
        for path, name, text in _texts(request, ""):
            if name in _ADDRESSES and text.startswith(FILE_SCHEME) and not self.allow_files:
                raise refuse_file(text, path)
            if name == _ROLE and self.check_role:
                self.check_role(text)


def _texts(value: Any, at: str) -> Iterator[tuple[str, str, str]]:
    """(path, member, text) of every text that is a member."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            path = f"{at}.{name}" if at else name
            if isinstance(item, str):
                yield path, name, item
            elif name not in ("HyperParameters", "StaticHyperParameters", "Environment"):
                yield from _texts(item, path)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, f"{at}[]")
