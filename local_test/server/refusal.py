"""Errors of the server itself, in the form that the client of each service reads."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

# what is known of a service before its request is read: S3 and the query protocol speak XML, all others JSON
_XML = re.compile(r"/(s3|iam|sts|ec2|sns|sqs|cloudformation|autoscaling|rds|redshift)/aws4_request")
_FORM = "application/x-www-form-urlencoded"


def respond(
    environ: dict[str, Any], start_response: Callable[..., Any], message: str, code: str = "AccessDeniedException"
) -> Iterable[bytes]:
    """One error: 403 where access is denied, else 400, which no client tries again."""
    status = "403 FORBIDDEN" if code.startswith("AccessDenied") else "400 BAD REQUEST"
    request_id = str(uuid4())
    if _speaks_xml(environ):
        error = f"<Code>{escape(code.removesuffix('Exception'))}</Code><Message>{escape(message)}</Message>"
        service = _XML.search(environ.get("HTTP_AUTHORIZATION", ""))
        if _is_form(environ) or (service and service[1] != "s3"):
            text = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>{request_id}</RequestId>"
            body = f"{text}</ErrorResponse>".encode()
        else:
            body = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>".encode()
        kind = "text/xml"
    else:
        body, kind = json.dumps({"__type": code, "message": message}).encode(), "application/x-amz-json-1.1"
    headers = [
        *(("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-RequestId", request_id)),
        *(("x-amzn-ErrorType", code), ("Connection", "close")),  # what is left of the body is never read
    ]
    start_response(status, headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def _speaks_xml(environ: dict[str, Any]) -> bool:
    """A client of S3 that signs the address has no header that tells; nor has one that does not sign."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        return False
    query = environ.get("QUERY_STRING", "")
    presigned = "X-Amz-Signature=" in query or "Signature=" in query
    return presigned or _is_form(environ) or bool(_XML.search(environ.get("HTTP_AUTHORIZATION", "")))


def _is_form(environ: dict[str, Any]) -> bool:
    return str(environ.get("CONTENT_TYPE", "")).startswith(_FORM)
