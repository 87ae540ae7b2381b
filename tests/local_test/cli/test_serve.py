"""What `serve` says while it runs: a line a transition of a job; with -v also a line a request."""

import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from tests.support.executions import condition_step, create_pipeline, equals, fail_step, start
from tests.support.hosts import free_port
from tests.support.served import BUCKET, MAIN, ROLE, Served, ended, request, until
from tests.support.tuning import tuning_request

TIME = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture(scope="module")
def verbose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), "-v") as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server


def lines_of(served: Served, text: str, count: int) -> list[str]:
    """The lines with that text, without their times, once there are so many."""

    def find() -> list[str] | None:
        found = [line for line in served.errors().splitlines() if text in line]
        return found if len(found) >= count else None

    found = until(find)
    assert all(re.match(TIME, line) for line in found), found
    return [re.sub(TIME, "", line) for line in found]


def test_a_line_for_each_state_of_a_job(verbose: Served) -> None:
    """What a program has written as its failure is shortened and can't move the cursor."""
    sagemaker = verbose.client("sagemaker")
    code = "(BASE / 'output/failure').write_text('no \\x1b[2J\\n data ' + 'x' * 500)\nsys.exit(3)"
    sagemaker.create_training_job(**request("fails", code))
    ended(sagemaker, "fails")
    lines = lines_of(verbose, " fails: ", 5)
    assert [line.partition(": ")[2] for line in lines[:4]] == ["Starting", "Downloading", "Training", "Uploading"]
    assert re.fullmatch(r"training job fails: Failed: AlgorithmError: no \\x1b\[2J data x{100,130}…", lines[4])
    assert "\x1b" not in verbose.errors()


def test_a_line_for_each_status_of_a_tuning_job(verbose: Served) -> None:
    sagemaker = verbose.client("sagemaker")
    wanted = tuning_request(2, 2)
    wanted["TrainingJobDefinition"].update(
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"}, Environment={"PROGRAM": "print('acc=0.5')"}
    )
    sagemaker.create_hyper_parameter_tuning_job(**wanted)
    assert lines_of(verbose, "tuning job tune: ", 2) == ["tuning job tune: InProgress", "tuning job tune: Completed"]
    assert len(lines_of(verbose, ": Completed", 3)) == 3


def test_a_line_for_each_end_of_a_step_and_each_status_of_an_execution(verbose: Served) -> None:
    sagemaker = verbose.client("sagemaker")
    check = condition_step("Check", [equals(1, 1)], [fail_step("Reject", "no \x1b[2J")])
    create_pipeline(sagemaker, "Lines", [check])
    name = f"execution {start(sagemaker, 'Lines').rpartition('/')[2]} of Lines"
    assert lines_of(verbose, name, 4) == [
        f"{name}: Executing",
        f"{name}, step Check: Succeeded",
        f"{name}, step Reject: Failed: no \\x1b[2J",
        f"{name}: Failed: no \\x1b[2J",
    ]


def test_a_line_for_each_request_and_health(verbose: Served) -> None:
    """Without the query of an address, which may be somebody's signature; and none of the server's own requests."""
    url = verbose.exports["AWS_ENDPOINT_URL"]
    with urllib.request.urlopen(f"{url}/health?a=secret", timeout=60) as answer:
        assert answer.read() == b'{"status": "ok"}\n'
    verbose.client("sagemaker").list_training_jobs()
    assert lines_of(verbose, " /health", 1) == ["127.0.0.1 GET /health 200"]
    assert "127.0.0.1 POST / SageMaker.ListTrainingJobs 200" in lines_of(verbose, "ListTrainingJobs", 1)
    assert "secret" not in verbose.errors()
    assert "PutMetricData" not in verbose.errors()
    assert "PutLogEvents" not in verbose.errors()


def test_it_is_healthy_once_it_has_what_an_earlier_server_kept(tmp_path: Path) -> None:
    """Whoever asks the API early waits until then."""
    with Served(tmp_path) as served:
        index = served.root / "s3/index.json"
    index.parent.mkdir(exist_ok=True)
    index.unlink(missing_ok=True)
    os.mkfifo(index)  # it waits for what it reads
    port = free_port()

    def health() -> tuple[int, bytes] | None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        with suppress(OSError), closing(connection):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            return answer.status, answer.read()
        return None

    def find_role() -> str:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
        with closing(boto3.session.Session().client("iam", endpoint_url=f"http://127.0.0.1:{port}", **keys)) as iam:
            return iam.get_role(RoleName="local")["Role"]["Arn"]

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(Served, tmp_path, "--port", str(port))
        try:
            assert until(health) == (503, b'{"status": "starting"}\n')
            role = pool.submit(find_role)
        finally:
            until(lambda: starting.done() or write_to_reader(index, b"[]"))
        with starting.result(100):
            assert role.result(100) == ROLE
            assert health() == (200, b'{"status": "ok"}\n')


def write_to_reader(fifo: Path, content: bytes) -> bool:
    """Whether somebody reads the FIFO by now, and has it."""
    try:
        file = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(file, content)
    os.close(file)
    return True


def test_a_server_that_is_not_verbose_says_states_alone(served: Served) -> None:
    sagemaker = served.client("sagemaker")
    sagemaker.create_training_job(**request("said", ""))
    ended(sagemaker, "said")
    lines_of(served, "training job said: Completed", 1)
    assert "SageMaker.CreateTrainingJob" not in served.errors()


LIST = "Host: localhost\r\nX-Amz-Target: SageMaker.ListTrainingJobs\r\n"


def limited(soft: int, hard: int) -> str:
    """The server, with so many open files allowed; S3 keeps each object in one, as it does large ones."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
    return f"import os, resource\n{limit}\nos.environ['MOTO_S3_DEFAULT_KEY_BUFFER_SIZE'] = '1'\n{MAIN}"


def test_few_open_files_are_allowed_to_begin_with(tmp_path: Path) -> None:
    """As a shell does: S3 has room all the same."""
    with Served(tmp_path, main=limited(64, 1024)) as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for number in range(100):
            s3.put_object(Bucket=BUCKET, Key=str(number), Body=b"content")
        assert "can't" not in server.end()


def test_connections_leave_open_files_for_jobs(tmp_path: Path) -> None:
    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return answer.status == 200
        return False

    with Served(tmp_path, main=limited(64, 64)) as server, ExitStack() as stack:
        url = server.exports["AWS_ENDPOINT_URL"]
        server.client("s3").create_bucket(Bucket=BUCKET)
        for _ in range(80):
            address = urlsplit(url)
            peer = stack.enter_context(socket.create_connection((address.hostname, address.port), 100))
            with suppress(ConnectionError):  # those that are too many are told so
                peer.sendall(f"POST / HTTP/1.1\r\n{LIST}Content-Length: 4\r\n\r\n".encode())
        until(answers, 50)  # the server waits for a body for 60 s
        sagemaker = server.client("sagemaker")
        for name in ("one", "two"):
            sagemaker.create_training_job(**request(name, "(BASE / 'model/w').write_text('x')"))
        for name in ("one", "two"):
            assert ended(sagemaker, name)["TrainingJobStatus"] == "Completed"
        assert "Traceback" not in server.end()
