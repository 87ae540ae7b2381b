"""moto, which answers for every service but SageMaker's own operations: what of it is open, and what is not."""

from collections.abc import Collection
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import HTTPException

from local_test.server.access import Wsgi
from local_test.server.refusal import respond
from local_test.util.console import warn_on_stderr

# moto's names of services → why they are refused: they would start a container or run code on this machine, make such
# things out of a template, or say that something will begin which never does
REFUSED = {
    **dict.fromkeys(
        (
            "awslambda",
            "awslambda_simple",
            "batch",
            "batch_simple",
            "cloudformation",
            "codebuild",
            "codepipeline",
            "servicecatalog",
            "stepfunctions",
        ),
        "it would run code on this machine beside the jobs",
    ),
    "events": "no event comes here that a rule could wait for",
    "scheduler": "no schedule would begin anything. Call start_pipeline_execution, from cron for example",
}
_CONTROL = "moto_api"  # moto's own page and `reset`, which a test suite needs and nobody else may have


def mocked_services(services: Collection[str] | None = None) -> Wsgi:
    """A WSGI application. Each service is asked for by whatever means moto knows and made by `create`, so nothing
    gets around it. `services`: moto's names of those that are open, if not all are."""

    def create(service: Any) -> Any:
        if service == _CONTROL:
            return _refusing(
                "This address has no pages of moto's and no reset. Start serve with another --root instead"
            )
        if service in REFUSED:
            return _refusing(f"The local platform does not offer {service}: {REFUSED[service]}")
        if services is not None and service not in services:
            return _refusing(f"A job's container may not call {service}")
        app = create_backend_app(service)
        app.register_error_handler(
            NotImplementedError, lambda error: _refusing(str(error), "UnknownOperationException")
        )
        app.register_error_handler(Exception, lambda error: _explain(service, error))
        return app

    return DomainDispatcherApplication(create)


def _explain(service: str, error: Exception) -> Wsgi:
    """moto's own errors are answers as they are; for any other one it would say 500, such as for tags of what has
    none there: a version of a model package."""
    if isinstance(error, HTTPException):
        return error
    reason = f"moto, which answers for {service} here, fails at this request: {type(error).__name__}: {error}"
    warn_on_stderr(reason)
    return _refusing(reason, "InternalFailure")


def _refusing(message: str, code: str = "AccessDeniedException") -> Wsgi:
    """Every request gets this one error: not a page that says 500, which clients try again and again."""
    return lambda environ, start_response: respond(environ, start_response, message, code)
