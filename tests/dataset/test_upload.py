"""Uploads over real sockets: to moto's S3, and to servers that refuse."""

import base64
import json
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dataset import upload
from dataset.errors import DatasetError
from dataset.prepare import Request, prepare
from dataset.sources.cifar10 import ARCHIVE

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(write_tree: Any, tree: dict[str, bytes], tmp_path: Path) -> Path:
    """Prepared: 4 + 1 shards."""
    source = write_tree(tmp_path / "in", tree)
    prepare(Request(str(source), tmp_path / "data", tmp_path / "cache", ARCHIVE, shards=4))
    return tmp_path / "data"


def keys(s3: Any) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket="pets").get("Contents", ())}


def test_all_arrives_where_the_job_looks(command: Command, s3: Any, data: Path) -> None:
    code, said, _ = command("upload", "--bucket", "pets", "--data", data)
    assert (code, said) == (0, "s3://pets/cv_keras_cifar10/data/: 6 objects sent, 0 there already\n")
    files = [path for path in data.rglob("*") if path.is_file()]
    assert keys(s3) == {f"cv_keras_cifar10/data/{path.relative_to(data).as_posix()}" for path in files}
    for path in files:
        key = f"cv_keras_cifar10/data/{path.relative_to(data).as_posix()}"
        assert s3.get_object(Bucket="pets", Key=key)["Body"].read() == path.read_bytes()


def test_checksums_are_those_of_dataset_json(command: Command, s3: Any, data: Path) -> None:
    command("upload", "--bucket", "pets", "--prefix", "/a/b/", "--data", data)
    shard = json.loads((data / "dataset.json").read_text())["splits"]["train"]["shards"][0]
    head = s3.head_object(Bucket="pets", Key=f"a/b/data/train/{shard['name']}", ChecksumMode="ENABLED")
    assert base64.b64decode(head["ChecksumSHA256"]).hex() == shard["sha256"]


def test_what_is_there_is_skipped_and_said_so(command: Command, s3: Any, data: Path) -> None:
    command("upload", "--bucket", "pets", "--data", data)
    code, said, errors = command("upload", "--bucket", "pets", "--data", data)
    assert (code, said) == (0, "s3://pets/cv_keras_cifar10/data/: 0 objects sent, 6 there already\n")
    assert "6 of 6 objects are there already, same size and checksum: skipped" in errors


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: bytes(len(content))])
def test_what_differs_is_sent_again(command: Command, s3: Any, data: Path, change: Callable[[bytes], bytes]) -> None:
    command("upload", "--bucket", "pets", "--data", data)
    path = data / "train/train-00002-of-00004.tfrecord"
    key = f"cv_keras_cifar10/data/train/{path.name}"
    s3.put_object(Bucket="pets", Key=key, Body=change(path.read_bytes()))
    code, said, _ = command("upload", "--bucket", "pets", "--data", data)
    assert (code, said) == (0, "s3://pets/cv_keras_cifar10/data/: 1 objects sent, 5 there already\n")
    assert s3.get_object(Bucket="pets", Key=key)["Body"].read() == path.read_bytes()


def test_dataset_json_goes_last(s3: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    put = upload._put
    monkeypatch.setattr(upload, "_put", lambda *args: sent.append(args[2].key) or put(*args))
    upload.upload(data, "pets", "p")
    assert sent[-1] == "p/data/dataset.json"
    assert len(sent) == 6


def test_shards_of_another_data_set_are_refused(command: Command, s3: Any, data: Path) -> None:
    s3.put_object(Bucket="pets", Key="cv_keras_cifar10/data/train/train-00000-of-00099.tfrecord", Body=b"old")
    code, _, errors = command("upload", "--bucket", "pets", "--data", data)
    assert code == 1
    line = errors.splitlines()[-1]
    assert "holds 1 objects of another data set, which a channel would read too" in line
    assert "Received: cv_keras_cifar10/data/train/train-00000-of-00099.tfrecord" in line
    assert len(keys(s3)) == 1


def test_a_changed_shard_is_not_sent(command: Command, s3: Any, data: Path) -> None:
    path = data / "train/train-00002-of-00004.tfrecord"
    path.write_bytes(bytes(path.stat().st_size))
    code, _, errors = command("upload", "--bucket", "pets", "--data", data)
    assert code == 1
    assert "train-00002-of-00004.tfrecord is not what dataset.json says. Received: sha256 " in errors.splitlines()[-1]
    assert keys(s3) == set()


def test_a_missing_shard_is_told(command: Command, s3: Any, data: Path) -> None:
    (data / "train/train-00002-of-00004.tfrecord").unlink()
    code, _, errors = command("upload", "--bucket", "pets", "--data", data)
    assert code == 1
    assert "No such file or directory: run `python -m dataset prepare --out" in errors.splitlines()[-1]
    assert keys(s3) == set()


def test_nothing_prepared(command: Command, tmp_path: Path) -> None:
    code, _, errors = command("upload", "--bucket", "pets", "--data", tmp_path / "nowhere")
    assert code == 1
    assert "no data prepared in" in errors
    assert len(errors.splitlines()) == 1


def test_no_such_bucket(command: Command, s3: Any, data: Path) -> None:
    code, _, errors = command("upload", "--bucket", "dogs", "--data", data)
    assert code == 1
    assert errors.splitlines()[-1] == "dataset: no such bucket: dogs. `aws s3 mb s3://dogs` makes it"


def test_a_bucket_must_be_a_name(command: Command, s3: Any, data: Path) -> None:
    code, _, errors = command("upload", "--bucket", "s3://pets", "--data", data)
    assert code == 1
    line = "dataset: --bucket must be a bucket's name alone. Received: s3://pets. Expected: my-bucket"
    assert errors.splitlines()[-1] == line


def test_no_credentials(command: Command, s3: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, _, errors = command("upload", "--bucket", "pets", "--data", data)
    assert code == 1
    assert errors.splitlines()[-1].startswith("dataset: no AWS credentials: `aws configure`, or set AWS_ACCESS_KEY_ID")


class Refusal(BaseHTTPRequestHandler):
    """Answers the listing, or everything, with an error of S3."""

    server: "RefusingServer"

    def log_message(self, *_: object) -> None:
        pass

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = f"<Error><Code>{self.server.code}</Code><Message>No.</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.server.put.set()
        self.server.answer.wait(250)
        self._refuse()

    def do_GET(self) -> None:
        if self.server.listing:
            body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self._refuse()


class RefusingServer(ThreadingHTTPServer):
    code = "AccessDenied"
    listing = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.put, self.answer = threading.Event(), threading.Event()  # one has come; they may be answered
        self.answer.set()

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


@pytest.fixture
def refusing(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingServer]:
    server = RefusingServer(("127.0.0.1", 0), Refusal)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.answer.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_ctrl_c_does_not_wait_for_s3(process: Any, refusing: Any, data: Path) -> None:
    refusing.listing = True
    refusing.answer.clear()
    child = process("upload", "--bucket", "pets", "--data", data)
    assert refusing.put.wait(100)
    child.send_signal(signal.SIGINT)
    said, errors = child.communicate(timeout=50)  # below the limit of a PUT
    assert (child.returncode, said) == (130, "")
    assert errors.splitlines()[-1] == "dataset: interrupted (SIGINT); what was not sent yet is sent by the next upload"
    assert "Traceback" not in errors


@pytest.mark.parametrize("listing", [False, True])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "AccessDenied",
            "access denied to s3://pets/cv_keras_cifar10/data: s3:ListBucket, s3:GetObject and s3:PutObject",
        ),
        ("InvalidAccessKeyId", "the AWS access key is not known"),
        ("SignatureDoesNotMatch", "the AWS secret key does not fit its access key"),
        ("ExpiredToken", "the AWS credentials have expired: sign in again"),
        ("AllAccessDisabled", "S3 refuses: An error occurred (AllAccessDisabled)"),
    ],
)
def test_refusals(command: Command, refusing: Any, data: Path, code: str, message: str, listing: bool) -> None:
    refusing.code, refusing.listing = code, listing
    exit_code, said, errors = command("upload", "--bucket", "pets", "--data", data)
    assert (exit_code, said) == (1, "")
    assert errors.splitlines()[-1].startswith(f"dataset: {message}")
    assert "Traceback" not in errors


def test_nobody_answers(command: Command, refusing: Any, data: Path) -> None:
    refusing.shutdown()
    refusing.server_close()
    code, _, errors = command("upload", "--bucket", "pets", "--data", data)
    assert code == 1
    assert "S3 cannot be used: Could not connect to the endpoint URL" in errors.splitlines()[-1]


def test_boto3_is_needed_for_uploads_only(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(DatasetError, match=r"boto3 is not installed: `pip install boto3`"):
        upload.upload(data, "pets", "p")


def test_too_large_for_one_object(s3: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_PUT_LIMIT", 100)
    with pytest.raises(DatasetError, match=r"is too large for one object: .* bytes. Prepare with more --shards"):
        upload.upload(data, "pets", "p")
