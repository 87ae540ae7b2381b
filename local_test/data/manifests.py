"""ManifestFile and AugmentedManifestFile: objects that name objects."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from local_test.data.object_store import ObjectStore, StoredObject, join_uri, split_s3
from local_test.errors import BadRequest, DataError
from local_test.util.atomic_files import local_path

_REF = "-ref"  # an attribute that names an object


@dataclass(frozen=True)
class Line:
    """One line of an augmented manifest; `where` names it in messages."""

    values: dict[str, Any]
    where: str

    def content(self, attribute: str, storage: ObjectStore) -> bytes:
        """The bytes of an attribute: a text as it is, any other value as JSON, for `-ref` the object that it names."""
        value = self.values[attribute]
        if attribute.endswith(_REF):
            return storage.read(value)
        return (value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))).encode()


def manifest_objects(uri: str, storage: ObjectStore) -> Iterator[StoredObject]:
    """The objects of [{"prefix": "s3://…"}, "key", …], in its order. BadRequest if it is not such a list."""
    try:
        listed = json.loads(_read(uri, storage))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The manifest is not JSON: {error}. Received: {uri}") from None
    prefix = listed[0].get("prefix") if isinstance(listed, list) and listed and isinstance(listed[0], dict) else None
    names = listed[1:] if isinstance(listed, list) else []
    if not isinstance(prefix, str) or not names or not all(isinstance(name, str) for name in names):
        raise BadRequest(f'A manifest must be [{{"prefix": "s3://bucket/…"}}, "name", …]. Received: {uri}')
    _check_scheme(prefix, uri, f"The manifest {uri}")
    local = local_path(prefix) is not None
    there = {item.uri: item for item in storage.objects(prefix)}
    for name in names:
        # plain concatenation, as the service has it; a local folder may lack its last slash
        full = join_uri(prefix, quote(name.lstrip("/"))) if local else f"{prefix}{name}"
        if full not in there:
            raise BadRequest(f"The manifest {uri} names an object that does not exist. Received: {full}")
        yield there[full]


def manifest_lines(uri: str, attributes: Sequence[str], storage: ObjectStore) -> Iterator[Line]:
    """JSON Lines. BadRequest for a line that is no JSON object, or lacks one of the attributes."""
    for number, text in enumerate(_read(uri, storage).split(b"\n"), 1):
        if not text.strip():
            continue
        where = f"line {number} of {uri}"
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"Not JSON: {error}. Received: {where}") from None
        for attribute in attributes:
            if not isinstance(values, dict) or attribute not in values:
                raise BadRequest(
                    f"There is no attribute {attribute} in {where}. Received: {text[:200].decode(errors='replace')}"
                )
            if attribute.endswith(_REF):
                if not isinstance(values[attribute], str):
                    raise BadRequest(f"{attribute} must be an S3 URI in {where}. Received: {values[attribute]}")
                _check_scheme(values[attribute], uri, f"{attribute} in {where}")
        yield Line(values, where)


def _check_scheme(named: str, uri: str, what: str) -> None:
    """An object of S3, which anybody may have written, never names a file of this machine; a local file may name both.
    BadRequest, also for what is no URI of objects."""
    if local_path(named) is None:
        split_s3(named)
    elif local_path(uri) is None:
        raise BadRequest(
            f"{what} names a file of this machine. Received: {named}. Expected s3://bucket/…, as it is in S3"
        )


def _read(uri: str, storage: ObjectStore) -> bytes:
    try:
        return storage.read(uri)
    except DataError as error:
        raise BadRequest(str(error)) from None
