"""Processing jobs in real containers, of a small image of the tests' own."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.data.object_store import ObjectStore
from local_test.errors import RunnerError
from local_test.processing.job import ProcessingJob
from local_test.runners.docker import DockerRunner
from tests.support.local_jobs import Recorder
from tests.support.missing import missing
from tests.support.processing import processing_request, s3_input, s3_output

pytestmark = pytest.mark.docker
WAY_OUT = "while read _ to _; do [ $to = 00000000 ] && echo a way out; done < /proc/net/route"


@pytest.fixture
def own_image(docker_engine: Any, image: str) -> Iterator[str]:
    """Its ENTRYPOINT and CMD are its own, and so is a folder below /opt/ml/processing."""
    name = image.replace("local-test-tests", "local-test-processing")
    dockerfile = f"""
FROM {image}
RUN ["/bin/mkdir", "-p", "/opt/ml/processing/of-image"]
ENTRYPOINT ["/bin/sh", "-c", "$0 $1; ls /opt/ml /opt/ml/processing"]
CMD ["echo", "by-itself"]
"""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        tar.addfile(member, io.BytesIO(dockerfile.encode()))
    buffer.seek(0)
    docker_engine.images.build(fileobj=buffer, custom_context=True, tag=name, rm=True)
    yield name
    docker_engine.images.remove(name, force=True)


def run(runner: DockerRunner, folder: Path, request: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The description, and the lines of all hosts."""
    seen, storage = Recorder(), ObjectStore()
    return ProcessingJob(request, folder / "jobs", runner, storage, {}, [seen]).run(), seen.lines


def job(image: str, shell: str, folder: Path, count: int = 1, **members: Any) -> dict[str, Any]:
    """Its program is an input."""
    (folder / "code").mkdir()
    (folder / "code/run").write_text(shell)
    cluster = {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    return {
        **processing_request("job", ""),
        "AppSpecification": {"ImageUri": image, "ContainerEntrypoint": ["/bin/sh", "/opt/ml/processing/in/code/run"]},
        "ProcessingInputs": [
            s3_input("in/code", (folder / "code").as_uri()),
            s3_input("in/data", (folder / "data").as_uri(), S3DataDistributionType="ShardedByS3Key"),
        ],
        "ProcessingOutputConfig": {"Outputs": [s3_output("out/deep", (folder / "kept").as_uri())]},
        "ProcessingResources": {"ClusterConfig": cluster},
        **members,
    }


def test_hosts_share_their_inputs_and_reach_each_other(
    runner: DockerRunner, image: str, data: Path, tmp_path: Path
) -> None:
    shell = """
        for n in 1 2; do until getent ahostsv4 algo-$n > /dev/null; do sleep 0.1; done; done
        cd /opt/ml/processing; ls in/data; cat ../config/resourceconfig.json > out/deep/$(cat /proc/sys/kernel/hostname)
        echo "$(cat /proc/sys/kernel/hostname)" >> ../output/message
    """
    description, lines = run(runner, tmp_path, job(image, shell, tmp_path, 2))
    assert description["ProcessingJobStatus"] == "Completed", (description, lines)
    assert sorted(lines) == ["a", "algo-2: b", "c"]
    assert description["ExitMessage"] == "algo-1\nalgo-2\n"
    for name in ("algo-1", "algo-2"):
        text = (tmp_path / "kept" / name).read_text()
        assert text == f'{{"current_host":"{name}","hosts":["algo-1","algo-2"]}}'


def test_one_failing_host_fails_the_job(runner: DockerRunner, image: str, data: Path, tmp_path: Path) -> None:
    shell = """
        trap "exit 0" TERM
        [ $(cat /proc/sys/kernel/hostname) = algo-1 ] && { sleep 60 & wait; }
        echo x > /opt/ml/processing/out/deep/x; exit 3
    """
    description, _ = run(runner, tmp_path, job(image, shell, tmp_path, 2))
    assert description["ProcessingJobStatus"] == "Failed"
    assert description["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert not (tmp_path / "kept").exists()


def test_out_of_memory(image: str, data: Path, tmp_path: Path) -> None:
    runner = DockerRunner(memory="16m")
    # tail keeps a line until it ends, and this one never does
    description, _ = run(runner, tmp_path, job(image, "exec tail /dev/zero", tmp_path))
    runner.close()
    assert description["FailureReason"] == (
        "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
        "instance."
    )


def test_an_image_with_a_program_of_its_own(
    runner: DockerRunner, image: str, own_image: str, data: Path, tmp_path: Path
) -> None:
    request = job(own_image, "", tmp_path)
    listed = ["/opt/ml:", "code", "config", "output", "processing", "", "/opt/ml/processing:", "in", "of-image", "out"]
    del request["AppSpecification"]["ContainerEntrypoint"]
    assert run(runner, tmp_path, {**request, "ProcessingJobName": "cmd"})[1] == ["by-itself", *listed]
    request["AppSpecification"]["ContainerArguments"] = ["echo", "by-request"]
    assert run(runner, tmp_path, {**request, "ProcessingJobName": "arguments"})[1] == ["by-request", *listed]

    def failed(name: str, **program: Any) -> str:
        wrong = {**request, "ProcessingJobName": name, "AppSpecification": {"ImageUri": image, **program}}
        return run(runner, tmp_path, wrong)[0]["FailureReason"]

    assert "AppSpecification.ContainerEntrypoint" in failed("none")
    assert "no program called python3 on its PATH" in failed("missing", ContainerEntrypoint=["python3"])
    with pytest.raises(RunnerError, match="There is no image no-such-image on this machine"):
        run(runner, tmp_path, {**request, "AppSpecification": {"ImageUri": "no-such-image"}})


def test_as_an_ordinary_user_and_without_a_network(
    runner: DockerRunner, image: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write beside the outputs, too, as root may on the service."""
    if os.getuid() != 0:
        missing("only root can make files of another user")
    monkeypatch.setattr(os, "getgid", lambda: 1234)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    shell = f"cd /opt/ml/processing && mkdir new out/new && touch out/x && echo can write; id -u; {WAY_OUT}"
    request = job(image, shell, tmp_path)
    assert run(runner, tmp_path, request)[1] == ["can write", "1234", "a way out"]
    isolated = {"ProcessingJobName": "isolated", "NetworkConfig": {"EnableNetworkIsolation": True}}
    assert run(runner, tmp_path, request | isolated)[1] == ["can write", "1234"]
