"""`serve` as a person starts and ends it."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.served import BUCKET, ROOT, WAIT, Served, printed, request


def refused(folder: Path, *arguments: str) -> str:
    """The one line on standard error."""
    command = [sys.executable, "-m", "local_test", "serve", "--runner", "process", *arguments]
    run = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=200
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def test_the_ready_line_and_the_exports(tmp_path: Path) -> None:
    with Served(tmp_path, "--runner", "process", own=False) as served:
        assert set(served.exports) == {
            "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION",
        }  # fmt: skip
        err = served.end()
    ready = f"local_test: ready at {served.exports['AWS_ENDPOINT_URL']} (also for a browser)"
    assert f"{ready}; jobs are kept in {tmp_path / 'root'}" in err
    assert "warning" not in err
    assert served.process.returncode == 0


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = refused(tmp_path, "--port", str(port))
    assert err == (
        f"local_test: Can't listen: address already in use. Received: 127.0.0.1:{port}. Name another --port\n"
    )


def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    err = refused(tmp_path, "--host", "192.0.2.1", "--port", "0")
    assert "Can't listen: cannot assign requested address. Received: 192.0.2.1:0" in err
    assert "Received: no.such.host.invalid:0" in refused(tmp_path, "--host", "no.such.host.invalid", "--port", "0")


def test_other_machines_are_warned_of(tmp_path: Path) -> None:
    with Served(tmp_path, "--host", "0.0.0.0") as served:
        assert served.exports["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
        assert "warning: 0.0.0.0 may be reached from other machines" in served.end()


def test_an_image_map_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text("[]")
    assert "--images must be" in refused(tmp_path, "--images", "images.json")
    assert "--images can't be read: No such file" in refused(tmp_path, "--images", "none.json")


def test_other_services_and_operations_are_motos(served: Served) -> None:
    s3 = served.client("s3")
    s3.put_object(Bucket=BUCKET, Key="big", Body=bytes(3_000_000))
    assert s3.get_object(Bucket=BUCKET, Key="big", Range="bytes=2999990-")["Body"].read() == bytes(10)
    assert served.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert served.client("ecr").create_repository(repositoryName="own")["repository"]["repositoryName"] == "own"
    assert "Models" in served.client("sagemaker").list_models()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_stops_jobs_as_the_service_would(tmp_path: Path, number: signal.Signals) -> None:
    """Their artifacts arrive: S3 is served until the last job is over."""
    code = "signal.signal(signal.SIGTERM, lambda *_: ((BASE / 'model/saved').write_text('x'), sys.exit(0)))\n" + WAIT
    with Served(tmp_path, "--parallel", "2") as served:
        served.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = served.client("sagemaker")
        for name in ("a", "b", "waiting"):
            sagemaker.create_training_job(**request(name, code))
        for name in ("a", "b"):
            printed(served, name, "ready")
        err = served.end(number)
    assert "stopping 3 jobs: SIGTERM now, SIGKILL in 120 s" in err
    assert "Traceback" not in err
    for name in ("a", "b", "waiting"):
        assert '"TrainingJobStatus": "Stopped"' in (served.root / f"training/{name}/describe.json").read_text()
    assert (served.root / "training/a/model.tar.gz").exists()
    assert '"S3ModelArtifacts": "s3://' in (served.root / "training/a/describe.json").read_text()
