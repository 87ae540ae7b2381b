"""push.sh against a real registry on loopback; AWS's own answers come from the local API."""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.buildkit import buildkit_docker
from tests.support.clients import BUCKET, CLIENTS, PREFIX, Client, LaunchServer, require_client
from tests.support.missing import missing
from tests.support.programs import write_executable
from tests.support.registry import Registry
from tests.support.served import ROOT, until
from tests.support.small_disk import mount_small_disk
from tests.support.small_image import small_image

pytestmark = pytest.mark.docker
TRAIN = """#!/bin/sh
bytes=$(cat /opt/ml/input/data/train_0 | wc -c)
echo "epoch=1 step=$bytes train:loss=1.5 train:accuracy=0.25 validation:loss=1.25 validation:accuracy=0.5 images/s=10.0"
echo "$bytes" > /opt/ml/model/bytes
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not shutil.which("docker-registry"):
        missing("no docker-registry on PATH: Debian's package of that name has it")
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, docker_engine: Any) -> Iterator[LaunchServer]:
    """The local API, running containers."""
    with LaunchServer(tmp_path_factory.mktemp("aws"), "--runner", "docker", "--parallel", "4", own=False) as server:
        yield server
        assert "Traceback" not in server.end()


@pytest.fixture(scope="session")
def base_image(docker_engine: Any) -> Iterator[str]:
    with small_image(docker_engine) as name:
        yield name


@pytest.fixture(scope="module")
def image(docker_engine: Any, base_image: str) -> Iterator[str]:
    """A few MB whose `train` reads a FIFO, prints metrics and leaves a model."""
    name = f"push-tests:{os.getpid()}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, content in (("Dockerfile", f"FROM {base_image}\nCOPY train /bin/train\n"), ("train", TRAIN)):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content.encode()))
    context.seek(0)
    docker_engine.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    yield name
    docker_engine.images.remove(name, force=True)


Push = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def push(aws: LaunchServer, registry: Registry, docker_engine: Any) -> Iterator[Push]:
    """push.sh, as a person runs it; what it tags is removed again."""

    def run(
        *arguments: str, script: Path = ROOT / "push.sh", **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        environment = aws.environment(**{"PUSH_REGISTRY": registry.address, "PYTHON": sys.executable, **changes})
        return subprocess.run(
            ["bash", str(script), *arguments], env=environment, capture_output=True, text=True, timeout=850
        )

    yield run
    for found in docker_engine.api.images():
        for tag in found["RepoTags"] or ():
            if tag.startswith("127.0.0.1:"):
                docker_engine.images.remove(tag, force=True)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of a failure, which is the only thing that it says on standard output's behalf."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    return done.stderr.strip().splitlines()[-1]


def remember(aws: LaunchServer, registry: Registry, name: str, tag: str) -> None:
    """ECR sees what is pushed to it; here its API is told."""
    manifest = registry.manifest(name, tag)
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    aws.client("ecr").put_image(repositoryName=name, imageManifest=manifest, imageDigest=digest, imageTag=tag)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_all_clients_train_and_tune_what_was_pushed(
    push: Push, aws: LaunchServer, registry: Registry, image: str, docker_engine: Any
) -> None:
    done = push("--image", image, "--tag", "first", "--repository", "pushed/whole")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{registry.address}/pushed/whole@sha256:[0-9a-f]{{64}}\n", done.stdout)
    (repository,) = aws.client("ecr").describe_repositories(repositoryNames=["pushed/whole"])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["encryptionConfiguration"] == {"encryptionType": "AES256"}
    pushed = done.stdout.strip()
    docker_engine.images.remove(f"{registry.address}/pushed/whole:first", force=True)
    docker_engine.images.pull(pushed)
    try:
        for client in CLIENTS:
            trained_and_tuned(aws, require_client(client), pushed)
    finally:
        docker_engine.images.remove(pushed, force=True)


def trained_and_tuned(aws: LaunchServer, client: Client, pushed: str) -> None:
    s3 = aws.client("s3")
    for command in ("train", "tune"):
        name = f"p-{command}-{client.name.replace('_', '-')}"
        done = aws.run(client.arguments(command, image=pushed, wait=True, name=name))
        assert done.returncode == 0, (done.stdout, done.stderr)
        model = done.stdout.strip().splitlines()[-1].split()[-1]
        assert model.startswith(f"s3://{BUCKET}/{PREFIX}/jobs/{name}")
        body = s3.get_object(Bucket=BUCKET, Key=model.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            assert tar.extractfile("bytes").read() == b"10\n"  # two objects of five bytes each, from the FIFO


def test_what_is_there_already_is_not_pushed_again(
    push: Push, aws: LaunchServer, registry: Registry, image: str
) -> None:
    options = ("--image", image, "--tag", "v1", "--repository", "pushed/again")
    first = push(*options)
    assert first.returncode == 0, first.stderr
    assert "made the repository" in first.stderr
    remember(aws, registry, "pushed/again", "v1")
    second = push(*options)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "pushed/again:v1 is there already" in second.stderr
    assert "pushing" not in second.stderr
    other = push("--image", small_image_of(image), "--tag", "v1", "--repository", "pushed/again")
    assert re.search(
        "the tag v1 is taken by another image, and tags are immutable.*Give another --tag", last_line(other)
    )


def small_image_of(image: str) -> str:
    """Another image of this run."""
    return f"local-test-tests:sh-{image.rpartition(':')[2]}"


def test_a_dry_run_changes_nothing(push: Push, aws: LaunchServer, image: str) -> None:
    done = push("--image", image, "--tag", "dry", "--repository", "pushed/dry", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "would make the repository pushed/dry" in done.stderr
    assert "would push" in done.stderr
    ecr = aws.client("ecr")
    assert "pushed/dry" not in [one["repositoryName"] for one in ecr.describe_repositories()["repositories"]]


def test_help_is_the_header(push: Push) -> None:
    done = push("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./push.sh ")
    assert "PUSH_REGISTRY" in done.stdout


# ---- a checkout of its own


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The last commit."""
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True, timeout=200)
    return folder


@pytest.mark.timeout(900)
def test_the_image_of_a_commit_is_built_tried_pushed_and_listed(
    push: Push, aws: LaunchServer, registry: Registry, checkout: Path, tmp_path: Path, docker_engine: Any
) -> None:
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout[:12]
    bill = tmp_path / "sbom.json"
    done = push("--smoke-test", "--sbom", str(bill), script=checkout / "push.sh")
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(rf"{registry.address}/cv-keras-cifar10@sha256:[0-9a-f]{{64}}\n", done.stdout)
    assert "smoke-test: Completed" in done.stderr
    assert f"pushing {registry.address}/cv-keras-cifar10:{commit}" in done.stderr
    listed = json.loads(bill.read_text())
    assert listed["metadata"]["component"]["name"] == done.stdout.strip()
    assert any(one["purl"].startswith("pkg:pypi/tensorflow-cpu@2.21.0") for one in listed["components"])
    assert any(one["purl"].startswith("pkg:deb/debian/libc6@") for one in listed["components"])
    remember(aws, registry, "cv-keras-cifar10", commit)
    again = push(script=checkout / "push.sh")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "building" not in again.stderr
    docker_engine.images.remove(f"cv-keras-cifar10:{commit}", force=True)


def test_a_dirty_tree_and_no_tree(push: Push, checkout: Path, tmp_path: Path) -> None:
    (checkout / "new.txt").write_text("x")
    done = push(script=checkout / "push.sh")
    assert re.search("files are not committed.*Commit them, or give --allow-dirty", last_line(done))
    dry = push("--allow-dirty", "--dry-run", script=checkout / "push.sh")
    assert dry.returncode == 0
    assert re.search(r"cv-keras-cifar10:[0-9a-f]{12}-dirty", dry.stderr)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(ROOT / "push.sh", bare)
    said = last_line(push(script=bare / "push.sh", GIT_CEILING_DIRECTORIES=str(tmp_path)))
    assert "there is no commit to take a tag from: fatal: not a git repository" in said


def test_a_checkout_of_another_user(push: Push, checkout: Path) -> None:
    said = last_line(push(script=checkout / "push.sh", GIT_TEST_ASSUME_DIFFERENT_OWNER="1"))  # of git's own tests
    assert f"Run `git config --global --add safe.directory '{checkout}'`" in said


def test_a_checkout_whose_state_git_cannot_tell(push: Push, checkout: Path) -> None:
    """It is no clean one."""
    (checkout / ".git/index").write_bytes(b"damaged")
    assert "there is no commit to take a tag from: " in last_line(push(script=checkout / "push.sh"))


# ---- what today's Docker makes


@pytest.fixture(scope="module")
def todays_docker(docker_engine: Any) -> Iterator[dict[str, str]]:
    """BuildKit and the containerd store; BUILDX_BUILDER names another builder than the engine's own, as people have."""
    with buildkit_docker() as environment:
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        yield {**environment, "PATH": path, "BASE": "scratch", "BUILDX_BUILDER": "elsewhere"}


@pytest.fixture
def small_checkout(tmp_path: Path) -> Path:
    """The scripts with a Dockerfile that needs no base, committed."""
    folder = tmp_path / "small"
    (folder / "container").mkdir(parents=True)
    for name in ("push.sh", "container/build.sh", "container/quietly.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "container/Dockerfile").write_text("ARG BASE=scratch\nFROM ${BASE}\nCOPY pyproject.toml /\n")
    person = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (["init", "--quiet"], ["add", "."], [*person, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True, timeout=200)
    return folder


@pytest.mark.slow
def test_todays_docker_pushes_one_manifest_of_dockers(
    push: Push, aws: LaunchServer, registry: Registry, todays_docker: dict[str, str], small_checkout: Path
) -> None:
    done = push("--repository", "pushed/today", script=small_checkout / "push.sh", **todays_docker)
    assert done.returncode == 0, done.stderr
    (tag,) = re.findall(r"pushing .*:([0-9a-f]{12})\n", done.stderr)
    assert json.loads(registry.manifest("pushed/today", tag))["mediaType"] == Registry.DOCKER
    remember(aws, registry, "pushed/today", tag)
    options = ("--image", f"cv-keras-cifar10:{tag}", "--tag", tag, "--repository", "pushed/today")
    again = push(*options, **todays_docker)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr


@pytest.mark.slow
def test_an_index_is_not_pushed_and_an_oci_manifest_told(
    push: Push, todays_docker: dict[str, str], small_checkout: Path
) -> None:
    build = ["docker", "build", "--quiet", "--builder", "default", "--file", "container/Dockerfile", "."]
    for options in (
        ["--tag", "made:index"],
        ["--provenance=false", "--output", "type=docker,name=made:oci,oci-mediatypes=true"],
    ):
        subprocess.run([*build, *options], cwd=small_checkout, env=os.environ | todays_docker, check=True, timeout=200)
    said = last_line(push("--image", "made:index", "--tag", "index", **todays_docker))
    assert "SageMaker refuses an index of manifests. Received: made:index" in said
    done = push("--image", "made:oci", "--tag", "oci", "--repository", "pushed/oci", **todays_docker)
    assert done.returncode == 0, done.stderr
    assert "the manifest of made:oci is an OCI one, which SageMaker's CreateModel refuses" in done.stderr


NEWER = """#!/usr/bin/env bash
[[ $* != "image inspect "* || $* == *--format* ]] || {{
  echo '[{{"Id": "sha256:1",'
  echo ' "Descriptor": {{"digest": "sha256:1", "mediaType": "application/vnd.oci.image.index.v1+json"}}}}]'
  exit
}}
exec {docker} "$@"
"""


def test_docker_28_tells_an_index(push: Push, image: str, tmp_path: Path) -> None:
    write_executable(tmp_path / "docker", NEWER.format(docker=shutil.which("docker")))
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    said = last_line(push("--image", image, "--tag", "index", PATH=path))
    assert "SageMaker refuses an index of manifests" in said


def test_the_digest_of_a_push_that_does_not_say_it(
    push: Push, aws: LaunchServer, registry: Registry, image: str, tmp_path: Path
) -> None:
    """Podman's docker: ECR knows it."""
    script = f"""#!/usr/bin/env bash
        [[ $1 == push ]] || exec {shutil.which("docker")} "$@"
        {shutil.which("docker")} "$@" | grep -v digest:
        touch {tmp_path}/pushed
        for _ in {{1..600}}; do [[ ! -e {tmp_path}/known ]] || exit 0; sleep 0.1; done
    """
    write_executable(tmp_path / "docker", textwrap.dedent(script))
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])

    def learn() -> None:
        until(lambda: (tmp_path / "pushed").exists())
        remember(aws, registry, "pushed/podman", "v1")
        (tmp_path / "known").touch()

    with ThreadPoolExecutor(1) as threads:
        learned = threads.submit(learn)
        done = push("--image", image, "--tag", "v1", "--repository", "pushed/podman", PATH=path)
        learned.result(250)
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(registry.manifest("pushed/podman", "v1").encode()).hexdigest()
    assert done.stdout.endswith(f"/pushed/podman@sha256:{digest}\n")


def test_an_index_that_was_pushed_once_is_not_taken_for_an_image(push: Push, aws: LaunchServer, image: str) -> None:
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName="pushed/index")
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": [{"digest": f"sha256:{'1' * 64}", "size": 1}]}
    digest = f"sha256:{'2' * 64}"
    ecr.put_image(repositoryName="pushed/index", imageManifest=json.dumps(index), imageDigest=digest, imageTag="v1")
    said = last_line(push("--image", image, "--tag", "v1", "--repository", "pushed/index"))
    assert re.search(f"the tag v1 names an index of manifests.*Received: {digest}.*Give another --tag", said)


# ---- who signs in

HELPER = """#!/bin/sh
case $1 in
  get) echo '{{"ServerURL": "x", "Username": "AWS", "Secret": "{secret}"}}' ;;
  *) echo "not implemented"; exit 1 ;;
esac
"""


@pytest.fixture
def closed_registry(tmp_path: Path) -> Iterator[Registry]:
    """It takes the password that the local ECR gives."""
    (tmp_path / "closed").mkdir()
    made = Registry(tmp_path / "closed", password_hash="$2b$04$abcdefghijklmnopqrstuu/cMn6kFoLFEf9ShbIPSVtJoiKQtizZG")
    yield made
    made.close()


def helper(folder: Path, secret: str) -> dict[str, str | None]:
    """An environment with a credential helper like ECR's: it gives a login, and keeps none."""
    write_executable(folder / "docker-credential-tests", HELPER.format(secret=secret))
    (folder / "config.json").write_text('{"credsStore": "tests"}')
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"DOCKER_CONFIG": str(folder), "PATH": path}


@pytest.mark.slow
def test_without_a_login_push_signs_in(push: Push, image: str, closed_registry: Registry, tmp_path: Path) -> None:
    config = {"DOCKER_CONFIG": str(tmp_path), "PUSH_REGISTRY": closed_registry.address}
    done = push("--image", image, "--tag", "signed", "--repository", "pushed/signed", **config)
    assert done.returncode == 0, done.stderr


def test_a_credential_helper_signs_in_by_itself(
    push: Push, image: str, closed_registry: Registry, tmp_path: Path
) -> None:
    environment = {**helper(tmp_path, "123456789012-auth-token"), "PUSH_REGISTRY": closed_registry.address}
    done = push("--image", image, "--tag", "helped", "--repository", "pushed/helped", **environment)
    assert done.returncode == 0, done.stderr


def test_a_credential_helper_that_gives_what_is_refused(
    push: Push, image: str, closed_registry: Registry, tmp_path: Path
) -> None:
    environment = {**helper(tmp_path, "wrong"), "PUSH_REGISTRY": closed_registry.address}
    said = last_line(push("--image", image, "--tag", "refused", "--repository", "pushed/refused", **environment))
    assert "the registry refuses what docker's credential helper gives, and the helper keeps no login" in said
    assert f"See credHelpers and credsStore in {tmp_path}/config.json" in said


# ---- failures


def tools_without(folder: Path, *missing: str) -> str:
    """A PATH with all that the script uses but these."""
    folder.mkdir()
    names = [
        "awk",
        "bash",
        "cat",
        "dirname",
        "env",
        "git",
        "grep",
        "head",
        "mkdir",
        "mktemp",
        "python3",
        "rm",
        "sed",
        "sort",
        "tail",
        "timeout",
        "tr",
        "docker",
        "aws",
    ]
    for name in names:
        found = shutil.which("aws", path=Path(sys.executable).parent) if name == "aws" else shutil.which(name)
        if found and name not in missing:
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("tool", ["docker", "aws", "python3"])
def test_a_tool_that_is_not_there(push: Push, image: str, tmp_path: Path, tool: str) -> None:
    done = push("--image", image, "--tag", "x", PATH=tools_without(tmp_path / "bin", tool))
    assert f"there is no {tool} on PATH. Install it first." in last_line(done)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--tag", "latest"], {}, "the tag latest says nothing"),
        (["--tag", "a b"], {}, "that is no tag. Received: a b"),
        (["--repository", "Big"], {}, "Received: Big"),
        (["--account", "123"], {}, "an account has 12 digits. Received: 123"),
        (["--tag"], {}, "--tag needs a value"),
        (["--what"], {}, "unknown argument. Received: --what"),
        (["--image", "no-such-image:here"], {}, "there is no such image on this machine. Received: no-such-image:here"),
        (["--tag", "x"], {"DOCKER_HOST": "unix:///nonexistent.sock"}, "no Docker engine answers"),
        (
            ["--tag", "x"],
            {"AWS_DEFAULT_REGION": None, "AWS_CONFIG_FILE": os.devnull},
            "no region is set. Give --region",
        ),
        (
            ["--tag", "x"],
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
            "no AWS credentials were found",
        ),
        (["--tag", "x"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS does not answer.*Is there a network"),
        (["--tag", "x"], {"TMPDIR": "/nonexistent"}, "no temporary folder can be made in /nonexistent"),
    ],
)
def test_a_mistake_is_told_before_anything_is_built(
    push: Push, image: str, arguments: list[str], environment: dict[str, str | None], message: str
) -> None:
    given = arguments if "--image" in arguments else ["--image", image, *arguments]
    assert re.search(message, last_line(push(*given, HOME=os.devnull, **environment)))


class Denying(http.server.BaseHTTPRequestHandler):
    """AWS, where nobody may do anything but say who they are."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target", "")
        body = json.dumps(
            {"__type": "AccessDeniedException", "message": f"User: arn:aws:iam::1:user/u may not perform {target}"}
        )
        status = 400
        if not target:
            status = 200
            body = (
                '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
                "<Arn>arn:aws:iam::123456789012:user/u</Arn><UserId>U</UserId><Account>123456789012</Account>"
                "</GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


def test_what_may_not_be_done_is_told(push: Push, image: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Denying) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            said = last_line(push("--image", image, "--tag", "x", AWS_ENDPOINT_URL=url))
        finally:
            server.shutdown()
    assert re.search(r"access denied: .*DescribeRepositories.*launch/iam/pusher_policy\.json", said)


def test_a_registry_that_is_not_there(push: Push, image: str) -> None:
    done = push("--image", image, "--tag", "x", "--repository", "pushed/nowhere", PUSH_REGISTRY="127.0.0.1:9")
    assert re.search(r"the push failed: .*127\.0\.0\.1:9/v2/.*run the same command again", last_line(done))


class CutOff:
    """A way to a port that ends for good once so many bytes have gone through."""

    def __init__(self, port: int, after: int) -> None:
        self._port, self._left, self._over = port, after, threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(100)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self._over.is_set():
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(*ends, ends[0] is near), daemon=True).start()

    def _carry(self, source: socket.socket, to: socket.socket, counts: bool) -> None:
        with source, to:
            with suppress(OSError):
                while not self._over.is_set() and (data := source.recv(65536)):
                    self._left -= len(data) if counts else 0
                    if self._left < 0:
                        self._over.set()
                    else:
                        to.sendall(data)
            # closing alone ends no connection that the thread of the other direction reads from
            for end in (source, to):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_a_network_that_goes_in_the_middle_of_a_push(push: Push, registry: Registry, image: str) -> None:
    with CutOff(registry.port, 300_000) as way:
        done = push("--image", image, "--tag", "cut", "--repository", "pushed/cut", PUSH_REGISTRY=way.address)
    assert re.search("the push failed: .*What has arrived is kept: run the same command again", last_line(done))
    again = push("--image", image, "--tag", "cut", "--repository", "pushed/cut")
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_registry_whose_disk_is_full(push: Push, image: str, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", "1m") as disk:
        full = Registry(disk)
        try:
            done = push("--image", image, "--tag", "full", "--repository", "pushed/full", PUSH_REGISTRY=full.address)
        finally:
            full.close()
    assert re.search("the push failed: .*run the same command again", last_line(done))


def test_a_disk_of_ours_that_is_full(push: Push, image: str, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "fill").write_bytes(b"x" * 65536)
        done = push("--image", image, "--tag", "bill", "--repository", "pushed/bill", "--sbom", str(disk / "sbom.json"))
    said = last_line(done)
    assert "the bill of materials can't be written. Received: " in said
    assert "The image is pushed: 127.0.0.1:" in said
