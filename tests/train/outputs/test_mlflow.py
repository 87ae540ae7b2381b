"""A run of MLflow: on a real server where there is one, and on servers that fail."""

import base64
import http.server
import json
import logging
import os
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import free_port
from tests.support.metrics import HYPERPARAMETERS, make_metrics
from tests.support.missing import missing
from tests.support.opt_ml import job_folder
from train.outputs.mlflow import EXPERIMENT, RUN, URI, MlflowRun
from train.runtime import environment

MLFLOW = Path(__file__).parents[3] / ".venv-sdk-v3/bin/mlflow"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/mine"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of MLflow's own server."""
    if not MLFLOW.exists():
        missing("no MLflow: `make sdk-v3` brings it")
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [
        str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        )  # fmt: skip
        try:
            limit = time.monotonic() + 200
            while not answers(f"http://127.0.0.1:{port}/health"):
                assert time.monotonic() < limit, (folder / "log").read_text()
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 9)
            process.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def asked(server: str, operation: str, **members: object) -> dict:
    body = json.dumps(members).encode()
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/{operation}", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def runs(server: str, experiment: str) -> list[dict]:
    found = asked(server, "experiments/search", filter=f"name = '{experiment}'", max_results=10)["experiments"]
    return asked(server, "runs/search", experiment_ids=[found[0]["experiment_id"]]).get("runs", [])


@pytest.mark.slow
def test_a_run_has_parameters_metrics_and_its_status(server: str) -> None:
    variables = {URI: server, EXPERIMENT: "mine", RUN: "job-1"}
    run = MlflowRun(variables, HYPERPARAMETERS)
    run.on_epoch_end(make_metrics(1))
    assert [found["info"]["status"] for found in runs(server, "mine")] == ["RUNNING"]
    run.on_stop()
    assert [found["info"]["status"] for found in runs(server, "mine")] == ["KILLED"]
    again = MlflowRun(variables, HYPERPARAMETERS)  # goes on from its checkpoint
    again.on_epoch_end(make_metrics(2))
    again.on_end()
    (found,) = runs(server, "mine")
    assert (found["info"]["run_name"], found["info"]["status"]) == ("job-1", "FINISHED")
    assert found["info"]["end_time"] >= found["info"]["start_time"]
    parameters = {item["key"]: item["value"] for item in found["data"]["params"]}
    assert parameters == {name: str(value) for name, value in HYPERPARAMETERS.items()}
    last = {item["key"]: (item["value"], item["step"]) for item in found["data"]["metrics"]}
    assert last["validation/accuracy"] == (0.5, 2)
    assert last["train/loss"] == (1.0, 2)
    other = MlflowRun({**variables, RUN: "job-2"}, HYPERPARAMETERS)
    other.on_end()
    assert len(runs(server, "mine")) == 2


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers with what `answers` has for the operation, and remembers the headers."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.server.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer()

    def _answer(self) -> None:
        operation = self.path.partition("/mlflow/")[2].partition("?")[0]
        self.server.seen.append((operation, dict(self.headers)))
        status, body = self.server.answers.get(operation, (200, {}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def recorder() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as made:
        made.seen, made.said = [], []
        made.answers = {
            "experiments/get-by-name": (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}),
            "experiments/create": (200, {"experiment_id": "7"}),
            "runs/create": (200, {"run": {"info": {"run_id": "r"}}}),
        }
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join(100)


def test_a_server_of_sagemakers_is_asked_with_a_signature(recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    endpoint = f"http://127.0.0.1:{recorder.server_address[1]}"
    run = MlflowRun({URI: ARN, "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": endpoint, RUN: "job"}, HYPERPARAMETERS)
    run.on_epoch_end(make_metrics(1))
    run.on_end()
    assert [operation for operation, _ in recorder.seen] == [
        "experiments/get-by-name", "experiments/create", "runs/search", "runs/create", "runs/log-batch",
        "runs/log-batch", "runs/update",
    ]  # fmt: skip
    for _, headers in recorder.seen:
        sent = {name.lower(): value for name, value in headers.items()}
        assert sent["x-mlflow-sm-tracking-server-arn"] == ARN
        assert "Credential=key/" in sent["authorization"]
        assert "/eu-west-1/sagemaker-mlflow/aws4_request" in sent["authorization"]


@pytest.mark.parametrize(
    ("uri", "answer", "message"),
    [
        ("http://127.0.0.1:9", None, "Connection refused"),
        ("databricks", None, "the address must be http"),
        ("arn:aws:sagemaker:eu-west-1:1:domain/d", None, "the address must be http"),
        (None, (403, {"message": "not yours"}), "HTTP 403: .*not yours"),
        (None, (200, {"unexpected": 1}), "experiment"),
    ],
)
def test_the_training_goes_on_without_it(recorder, caplog, uri, answer, message) -> None:
    if answer:
        recorder.answers["experiments/get-by-name"] = answer
    address = uri or f"http://127.0.0.1:{recorder.server_address[1]}"
    with caplog.at_level(logging.WARNING):
        run = MlflowRun({URI: address}, HYPERPARAMETERS)
        run.on_epoch_end(make_metrics(1))
        run.on_end()
    (record,) = caplog.records  # said once
    assert f"Received: MLFLOW_TRACKING_URI={address}. The training goes on without it." in record.getMessage()
    assert record.levelname == "WARNING"

    assert re.search(message, record.getMessage())


@pytest.mark.parametrize("address", ["http://me:s%40cret@127.0.0.1:{}", "http://me:s@cret@127.0.0.1:{}", "me:secret@h"])
def test_a_password_is_sent_but_never_logged(recorder, caplog, address) -> None:
    """As MLflow's own client sends it. One in an address without a scheme is not logged, either."""
    recorder.answers["experiments/get-by-name"] = 403, {"message": "not yours"}
    with caplog.at_level(logging.WARNING):
        MlflowRun({URI: address.format(recorder.server_address[1])}, HYPERPARAMETERS)
    (record,) = caplog.records
    assert "cret" not in record.getMessage()
    if "://" in address:
        assert recorder.seen[0][1]["Authorization"] == f"Basic {base64.b64encode(b'me:s@cret').decode()}"


def test_the_environment_brings_its_variables(tmp_path: Path) -> None:
    found = environment.read(tmp_path, {URI: "http://x"})
    assert found.variables == {URI: "http://x"}


def test_a_whole_job_tells_its_epochs_and_its_end(recorder, tmp_path: Path, shards, start) -> None:
    root = job_folder(tmp_path, "File", {"epochs": "2", "learning-rate": "0.02"})
    for channel in ("train", "validation"):
        (root / "input/data" / channel).symlink_to(shards / channel)
    job = start(root, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{recorder.server_address[1]}", TRAINING_JOB_NAME="whole")
    assert job.wait() == 0, job.lines
    operations = [operation for operation, _ in recorder.seen]
    assert operations.count("runs/log-batch") == 3  # hyperparameters, two epochs
    assert operations[-1] == "runs/update"
    assert recorder.said[-1]["status"] == "FINISHED"


def test_a_job_that_fails_tells_it(recorder, tmp_path: Path, shards, start) -> None:
    root = job_folder(tmp_path, "File", {"epochs": "2", "learning-rate": "0.02"})
    (root / "input/data/train").symlink_to(shards / "train")
    (root / "input/data/validation").mkdir()
    job = start(root, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{recorder.server_address[1]}", TRAINING_JOB_NAME="failing")
    assert job.wait() == 1, job.lines
    assert (recorder.seen[-1][0], recorder.said[-1]["status"]) == ("runs/update", "FAILED")
