"""Who signed a request: Signature Version 4 in a header or in the address, and version 2 in an address of S3's.

botocore, which signs for the clients, makes the signature once more; what differs each time (the date, the list of
headers) is taken from the request.
"""

import hmac
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit, urlunsplit

from botocore.auth import SIGV4_TIMESTAMP, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HEADERS = "local_test.headers"  # of the environ: as they came, since WSGI's names lose `_` and repetitions
_PART = r"[A-Za-z0-9-]+"
_CREDENTIAL = rf"(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>{_PART})/(?P<service>{_PART})/aws4_request"
# nothing but this form, so that nobody reads another service out of it
_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={_CREDENTIAL},\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>\S+)"
)
_S3 = "s3"
_WEEK = 7 * 24 * 3600  # seconds: the longest that S3 takes
ReadBody = Callable[[dict[str, Any]], bytes]


@dataclass(frozen=True)
class Signature:
    """Of one request. `made_by` says whether it was made with that secret key; `expires`: when an address does, in
    seconds since 1970."""

    access_key: str
    token: str
    service: str
    made_by: Callable[[str], bool]
    expires: float = math.inf


def read_signature(environ: dict[str, Any], read_body: ReadBody) -> Signature | None:
    """None for a request that has none, or one that no client of AWS makes. `read_body` gives the body, and leaves it
    to be read again; it is called only where the body is signed, and only to see who has signed."""
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if "HTTP_AUTHORIZATION" in environ:
        return _read_header(environ, read_body)
    if "X-Amz-Signature" in query:
        return _read_address(environ, query)
    return _read_version_2(environ, query) if "AWSAccessKeyId" in query else None


def _read_header(environ: dict[str, Any], read_body: ReadBody) -> Signature | None:
    found = _AUTHORIZATION.fullmatch(environ["HTTP_AUTHORIZATION"])
    if not found:
        return None
    headers: Message = environ[HEADERS]
    signer = _S3Again if found["service"] == _S3 else _Again

    def is_signed(secret: str) -> bool:
        body = b"" if found["service"] == _S3 else read_body(environ)  # S3's has its hash in a header
        request = _request(environ, found["headers"], headers.get("X-Amz-Date", ""), body=body)
        return _is_signed(signer, request, found, secret, found["signature"])

    return Signature(found["key"], headers.get("X-Amz-Security-Token", ""), found["service"], is_signed)


def _read_address(environ: dict[str, Any], query: dict[str, str]) -> Signature | None:
    found = re.fullmatch(_CREDENTIAL, query.get("X-Amz-Credential", ""))
    names, date = query.get("X-Amz-SignedHeaders", ""), query.get("X-Amz-Date", "")
    try:
        seconds = int(query.get("X-Amz-Expires", ""))
        begins = datetime.strptime(date, SIGV4_TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    if not found or found["service"] != _S3 or not 0 < seconds <= _WEEK:
        return None

    def is_signed(secret: str) -> bool:
        request = _request(environ, names, date, "X-Amz-Signature")
        return _is_signed(_AddressAgain, request, found, secret, query["X-Amz-Signature"])

    return Signature(found["key"], query.get("X-Amz-Security-Token", ""), _S3, is_signed, begins + seconds)


def _read_version_2(environ: dict[str, Any], query: dict[str, str]) -> Signature | None:
    headers: Message = environ[HEADERS]
    signed = {name: value for name, value in headers.items() if name.lower() in ("content-md5", "content-type")}
    given = {name: value for name, value in query.items() if name.startswith("x-amz-")}
    request = AWSRequest(environ["REQUEST_METHOD"], _url(environ), {**signed, **given})

    def is_signed(secret: str) -> bool:
        signer = _Version2Again(Credentials("", secret), query.get("Expires", ""))
        text = signer.canonical_string(request.method, urlsplit(request.url), request.headers)
        return hmac.compare_digest(signer.sign_string(text).encode(), query.get("Signature", "").encode())

    expires = query.get("Expires", "")
    if not re.fullmatch(r"[0-9]{1,15}", expires):
        return None
    return Signature(query["AWSAccessKeyId"], query.get("x-amz-security-token", ""), _S3, is_signed, int(expires))


def _request(environ: dict[str, Any], names: str, date: str, without: str = "", body: bytes = b"") -> AWSRequest:
    """As it was when it was signed: the headers that are named, the address without its signature."""
    headers: Message = environ[HEADERS]
    request = AWSRequest(environ["REQUEST_METHOD"], _url(environ, without), data=body)
    for name in names.split(";"):
        for value in headers.get_all(name, []):
            request.headers.add_header(name, value)
    request.context["timestamp"] = date
    return request


def _url(environ: dict[str, Any], without: str = "") -> str:
    """In the one spelling that is signed, whatever the client has left unquoted."""
    parts = urlsplit(f"http://{environ.get('HTTP_HOST', 'localhost')}{_target(environ)}")
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair and pair.partition("=")[0] != without]
    query = "&".join(f"{_requote(name, '')}{equals}{_requote(value, '')}" for name, equals, value in pairs)
    return urlunsplit((parts.scheme, parts.netloc, _requote(parts.path, "/"), query, ""))


def _target(environ: dict[str, Any]) -> str:
    """Of the request's first line, which may be a whole URL."""
    target: str = environ.get("REQUEST_URI", "/")
    return target if target.startswith("/") else urlsplit(target)._replace(scheme="", netloc="").geturl()


def _requote(text: str, safe: str) -> str:
    return quote(unquote_to_bytes(text), safe=f"{safe}-_.~")


def _is_signed(
    signer: type[SigV4Auth], request: AWSRequest, scope: "re.Match[str]", secret: str, signature: str
) -> bool:
    auth = signer(Credentials(scope["key"], secret), scope["service"], scope["region"])
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return hmac.compare_digest(expected.encode(), signature.encode())


class _Given:
    def headers_to_sign(self, request: AWSRequest) -> Any:
        """Those that the client says it has signed, also where botocore would not."""
        return request.headers


class _Again(_Given, SigV4Auth):
    pass


class _S3Again(_Given, S3SigV4Auth):
    pass


class _AddressAgain(_Given, S3SigV4QueryAuth):
    pass


class _Version2Again(HmacV1QueryAuth):
    def _get_date(self) -> str:
        """When the address expires: given here, not reckoned from now."""
        return str(self._expires)
