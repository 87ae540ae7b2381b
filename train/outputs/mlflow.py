"""A job as a run of MLflow, where its environment has MLFLOW_TRACKING_URI: hyperparameters, metrics by epoch, status.

Over MLflow's REST API (version 2.0, which every server since MLflow 1.0 has), so that the image needs no further
package. The ARN of a tracking server of SageMaker is an address, too; its address, header and signature are those of
sagemaker-mlflow 0.5. If the server doesn't answer, one warning is logged and training continues.
"""

import base64
import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from train.outputs.metric_lines import EpochMetrics
from train.outputs.tensorboard import SCALARS

URI, EXPERIMENT, RUN = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "TRAINING_JOB_NAME"
_ENDPOINT = "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT"
_DEFAULT_EXPERIMENT = "cv-keras-cifar10"
_TAG = "sagemaker.training-job"
_SECONDS, _LAST_SECONDS = 10.0, 3.0  # of a request: the training waits for it; a job that is stopped has little time
_PARAMETER_CHARACTERS = 6000  # what a server takes of a value
# kind of resource in an ARN → address, header that names the resource, service that a request is signed for
_SAGEMAKER = {
    "mlflow-tracking-server": (
        "https://{region}.experiments.sagemaker.aws", "x-mlflow-sm-tracking-server-arn", "sagemaker-mlflow"
    ),
    "mlflow-app": ("https://mlflow.sagemaker.{region}.app.aws", "x-sm-mlflow-app-arn", "sagemaker"),
}  # fmt: skip
_log = logging.getLogger(__name__)


class MlflowRun:
    """The MLflow run of this job: a new one, or that of a stopped job of the same name."""

    def __init__(self, variables: Mapping[str, str], hyperparameters: Mapping[str, bool | float | str]) -> None:
        self._server: _Server | None = _Server(variables)
        self._run = ""
        self._call(lambda server: self._begin(server, variables, hyperparameters))

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        """An epoch's metrics."""
        now = _now()
        values = [
            {"key": key, "value": float(getattr(metrics, name)), "timestamp": now, "step": metrics.epoch}
            for key, name in SCALARS.items()
        ]
        self._call(lambda server: server.post("runs/log-batch", run_id=self._run, metrics=values))

    def on_stop(self) -> None:
        """The job was stopped: one that goes on from its checkpoint is RUNNING again."""
        self._finish("KILLED")

    def on_failure(self) -> None:
        """The job has failed."""
        self._finish("FAILED")

    def on_end(self) -> None:
        """The job is complete."""
        self._finish("FINISHED")

    def _finish(self, status: str) -> None:
        if self._server:
            self._server.seconds = _LAST_SECONDS
        self._call(lambda server: server.post("runs/update", run_id=self._run, status=status, end_time=_now()))

    def _begin(
        self, server: "_Server", variables: Mapping[str, str], hyperparameters: Mapping[str, bool | float | str]
    ) -> None:
        experiment = server.find_or_create_experiment(variables.get(EXPERIMENT) or _DEFAULT_EXPERIMENT)
        name = variables.get(RUN, "")
        run_id = server.find_run(experiment, name) if name else None
        if run_id:
            self._run = run_id
            server.post("runs/update", run_id=run_id, status="RUNNING")
            return
        tags = [{"key": _TAG, "value": name}] if name else []
        run = server.post("runs/create", experiment_id=experiment, run_name=name, start_time=_now(), tags=tags)
        self._run = run["run"]["info"]["run_id"]
        values = [{"key": key, "value": str(value)[:_PARAMETER_CHARACTERS]} for key, value in hyperparameters.items()]
        server.post("runs/log-batch", run_id=self._run, params=values)

    def _call(self, call: Any) -> None:
        if self._server is None:
            return
        try:
            call(self._server)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            _log.warning(
                "MLflow does not take this job: %s. Received: %s=%s. The training goes on without it.",
                " ".join(str(error).split()) or type(error).__name__, URI, self._server.name,
            )  # fmt: skip
            self._server = None


class _Server:
    """A tracking server. Its calls raise OSError or ValueError."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        uri, self.seconds = variables[URI], _SECONDS
        self._url, self._authorization = _split_password(uri.rstrip("/"))
        self.name = self._url  # what a log may show
        self._headers: dict[str, str] = {}
        self._signing: tuple[str, str] | None = None
        if uri.startswith("arn:"):
            _, _, _, region, _, resource = [*uri.split(":", 5), *[""] * 6][:6]
            url, header, service = _SAGEMAKER.get(resource.partition("/")[0], ("", "", ""))
            self._url = variables.get(_ENDPOINT) or url.format(region=region)
            self._headers, self._signing = {header: uri}, (service, region)

    def find_or_create_experiment(self, name: str) -> str:
        """The ID of the experiment; it is created if there is none."""
        try:
            return self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]
        except _NotFoundError:
            return self.post("experiments/create", name=name)["experiment_id"]

    def find_run(self, experiment: str, job: str) -> str | None:
        """The ID of the run of a job of that name, if there is one."""
        query = f"tags.`{_TAG}` = '{job}'"
        answer = self.post("runs/search", experiment_ids=[experiment], filter=query, max_results=1)
        return answer["runs"][0]["info"]["run_id"] if answer.get("runs") else None

    def get(self, operation: str, **members: str) -> dict[str, Any]:
        return self._answer("GET", f"{operation}?{urllib.parse.urlencode(members)}", None)

    def post(self, operation: str, **members: Any) -> dict[str, Any]:
        return self._answer("POST", operation, json.dumps(members).encode())

    def _answer(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        if not self._url.startswith(("http://", "https://")):
            raise ValueError("the address must be http://…, https://… or the ARN of an MLflow server of SageMaker's")
        url = f"{self._url}/api/2.0/mlflow/{path}"
        headers = self._sign(method, url, {"Content-Type": "application/json", **self._headers}, body)
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - checked above
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                message = error.read().decode(errors="replace")
            if error.code == http.HTTPStatus.NOT_FOUND and "RESOURCE_DOES_NOT_EXIST" in message:
                raise _NotFoundError(message) from None
            raise OSError(f"HTTP {error.code}: {message[:300]}") from None

    def _sign(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> dict[str, str]:
        if not self._signing:
            return headers
        # only here, since it takes a quarter of a second: the toolkit brings it into the image
        import botocore.session
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = botocore.session.Session().get_credentials()
        if credentials is None:
            raise ValueError("there are no AWS credentials to sign with")
        request = AWSRequest(method, url, headers, body or b"")
        SigV4Auth(credentials, *self._signing).add_auth(request)
        return dict(request.headers)


def _split_password(url: str) -> tuple[str, str]:
    """(the address without user and password, the header that has them), as MLflow's own client sends them."""
    scheme, separator, rest = url.rpartition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not at:
        return url, ""
    encoded = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
    return f"{scheme}{separator}{host}{slash}{path}", f"Basic {encoded}"


class _NotFoundError(ValueError):
    """The server has no such thing."""


def _now() -> int:
    """Milliseconds."""
    return round(time.time() * 1000)
