"""moto, which answers for every service but SageMaker's own operations: what of it is open, and what is not."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, request
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

# moto's names of services that would start a container or run code on this machine, and of those that make such
# things out of a template
REFUSED = frozenset(
    {
        "awslambda",
        "awslambda_simple",
        "batch",
        "batch_simple",
        "cloudformation",
        "codebuild",
        "codepipeline",
        "servicecatalog",
        "stepfunctions",
    }
)
_CONTROL = "moto_api"  # moto's own page and `reset`, which a test suite needs and nobody else may have


def mocked_services() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application. Each service is asked for by whatever means moto knows and made by `_create`, so nothing
    gets around it."""
    return DomainDispatcherApplication(_create)


def _create(service: Any) -> Flask:
    if service == _CONTROL:
        return _refusing("This address has no pages of moto's and no reset. Start serve with another --root instead")
    if service in REFUSED:
        return _refusing(
            f"The local platform does not offer {service}: it would run code on this machine beside the training jobs"
        )
    return create_backend_app(service)


def _refusing(message: str) -> Flask:
    """Every request gets this one error: JSON for most clients, XML for those that send a form (query protocol)."""
    app = Flask(__name__, static_folder=None)

    def refuse(path: str = "") -> Response:  # noqa: ARG001 - whatever the address
        code = "AccessDeniedException"
        if request.mimetype == "application/x-www-form-urlencoded":
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            text = f"<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>"
            return Response(text, 403, content_type="text/xml")
        return Response(f'{{"__type":"{code}","message":"{message}"}}', 403, {"x-amzn-ErrorType": code})

    methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
    app.add_url_rule("/", view_func=refuse, methods=methods)
    app.add_url_rule("/<path:path>", view_func=refuse, methods=methods)
    return app
