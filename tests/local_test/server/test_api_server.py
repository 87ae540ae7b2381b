"""The whole service: real containers, hosts that find each other, interruptions, the commands for a running server."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_test.runners.docker import LABEL
from local_test.training.spot import TAG
from tests.support.served import BUCKET, ROOT, WAIT, Served, ended, printed, request, until

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"


def job(name: str, shell: str, *arguments: Any, **members: Any) -> dict[str, Any]:
    wanted = request(name, shell, *arguments, **members)
    wanted["AlgorithmSpecification"]["TrainingImage"] = ECR
    return wanted


@pytest.fixture
def images(tmp_path: Path, image: str) -> list[str]:
    (tmp_path / "images.json").write_text(json.dumps({ECR: image}))
    return ["--runner", "docker", "--images", "images.json"]


@pytest.mark.docker
def test_a_container_reads_its_fifo_and_reaches_s3(tmp_path: Path, images: list[str], docker_engine: Any) -> None:
    """With the job's credentials: without, even what is public is closed, to this container and to any other one."""

    def ask(path: str) -> str:
        place = environ["AWS_ENDPOINT_URL"].removeprefix("http://")
        shell = (
            f"exec 3<>/dev/tcp/{place.replace(':', '/')}; "
            f"printf '%s\\r\\n' 'GET {path} HTTP/1.0' 'Host: {place}' '' >&3; cat <&3"
        )
        return container.exec_run(["bash", "-c", shell]).output.decode()

    with Served(tmp_path, *images, own=False) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET, ACL="public-read")
        s3.put_object(Bucket=BUCKET, Key="data/a", Body=b"content", ACL="public-read")
        shell = "cat /opt/ml/input/data/train_0; echo; trap 'exit 0' TERM; while true; do sleep 0.1; done"
        sagemaker.create_training_job(**job("first", shell, {"train": f"s3://{BUCKET}/data/"}))
        printed(served, "first", "content")
        (container,) = docker_engine.containers.list(filters={"label": f"{LABEL}=first"})
        environ = dict(entry.split("=", 1) for entry in container.attrs["Config"]["Env"])
        keys = (environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
        signer = boto3.session.Session(*keys, region_name="us-east-1").client(
            "s3", endpoint_url=environ["AWS_ENDPOINT_URL"]
        )
        url = signer.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "data/a"})
        assert ask(url.removeprefix(environ["AWS_ENDPOINT_URL"])).endswith("\r\n\r\ncontent")
        assert ask("/test-bucket/data/a").startswith("HTTP/1.1 403")
        sagemaker.stop_training_job(TrainingJobName="first")
        description = ended(sagemaker, "first")
        log = (served.root / "training/first/logs/algo-1.log").read_text()
        assert description["TrainingJobStatus"] == "Stopped", (description.get("FailureReason"), log)
        assert description["AlgorithmSpecification"]["TrainingImage"] == ECR
        assert log.split() == ["content"]
        wrong = request("second")
        with pytest.raises(sagemaker.exceptions.ClientError, match="There is no image image on this machine"):
            sagemaker.create_training_job(**wrong)
        assert "Traceback" not in served.end()


@pytest.mark.docker
def test_containers_of_a_killed_server_are_removed(tmp_path: Path, images: list[str], docker_engine: Any) -> None:
    def left() -> list[Any]:
        found = docker_engine.containers.list(all=True, filters={"label": f"{LABEL}=left"})
        return [item for item in found if str(tmp_path) in str(item.attrs["Mounts"])]

    with Served(tmp_path, *images, own=False) as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        first.client("sagemaker").create_training_job(**job("left", "echo ready; sleep 600"))
        printed(first, "left", "ready")
        first.end(signal.SIGKILL)
    assert len(left()) == 1
    with Served(tmp_path, *images, own=False) as second:
        description = second.client("sagemaker").describe_training_job(TrainingJobName="left")
        assert description["TrainingJobStatus"] == "Failed"
        assert left() == []


def test_an_interruption_by_command_and_by_tag(tmp_path: Path) -> None:
    code = (
        "import json\nrun = json.loads((BASE / 'input/config/init-config.json').read_text())['jobRunInfo']\n"
        "if run['jobRunNumber'] == 2: print('resumed', (BASE / 'checkpoints/c').exists(), flush=True); sys.exit(0)\n"
        "(BASE / 'checkpoints/c').write_text('x')\n" + WAIT
    )
    spot = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600},
    }
    with Served(tmp_path) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET)
        for name, tags in (("by-tag", [{"Key": TAG, "Value": "0.2"}]), ("by-command", [])):
            kept = {"S3Uri": f"s3://{BUCKET}/{name}/"}
            sagemaker.create_training_job(**request(name, code, CheckpointConfig=kept, Tags=tags, **spot))
        printed(served, "by-command", "ready")
        code, out, err = run(served, "interrupt", "by-command")
        assert (code, out) == (0, "")
        assert err.startswith("by-command: its spot instances are taken away: ")
        for name in ("by-tag", "by-command"):
            description = ended(sagemaker, name)
            states = [step["Status"] for step in description["SecondaryStatusTransitions"]]
            assert states[2:5] == ["Training", "Interrupted", "Starting"], name
            assert description["TrainingJobStatus"] == "Completed"
            said = (served.root / f"training/{name}/logs/algo-1.log").read_text().splitlines()[-1].split()
            assert said[0] == "resumed"
            assert said[1] == "True" or name == "by-tag"  # which is interrupted whatever it has done by then
        streams = served.client("logs").describe_log_streams(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="by-command/"
        )["logStreams"]
        assert len(streams) >= 1
        code, out, err = run(served, "interrupt", "by-command")
        rejected = "The request was rejected because the training job is in status Completed. Received: by-command"
        assert (code, err) == (2, f"local_test: {rejected}\n")
        code, out, err = run(served, "jobs")
        assert (code, err) == (0, f"local_test: 2 jobs in server {served.exports['AWS_ENDPOINT_URL']}, folder jobs\n")
        rows = [line.split() for line in out.splitlines()]
        assert [row[2:4] for row in rows] == [["by-command", "Completed"], ["by-tag", "Completed"]]
        reading, writing = os.pipe()
        os.close(reading)  # as head does, once it has its lines
        command = [sys.executable, "-m", "local_test", "jobs", "--endpoint-url", served.exports["AWS_ENDPOINT_URL"]]
        done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=200)
        os.close(writing)
        assert (done.returncode, done.stderr.count(b"\n")) == (0, 1), done.stderr
        bad = [{"Key": TAG, "Value": "soon"}]
        with pytest.raises(sagemaker.exceptions.ClientError, match=r"must be a number of seconds\. Received: soon"):
            sagemaker.create_training_job(**request("bad", Tags=bad, **spot))


def run(served: Served, *arguments: str) -> tuple[int, str, str]:
    """(exit code, output, error) of a command that speaks to the server."""
    done = subprocess.run(
        [sys.executable, "-m", "local_test", *arguments],
        cwd=served.root,
        env={**os.environ, **served.exports, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout, done.stderr


def hosts_job(name: str, shell: str, channels: dict[str, str], count: int, **members: Any) -> dict[str, Any]:
    wanted = job(name, shell, channels, **members)
    wanted["ResourceConfig"]["InstanceCount"] = count
    for channel in wanted.get("InputDataConfig", []):
        channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    return wanted


@pytest.mark.docker
def test_two_hosts_get_disjoint_halves_and_find_each_other(
    tmp_path: Path, images: list[str], docker_engine: Any
) -> None:
    with Served(tmp_path, *images, own=False) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET)
        for n in range(5):
            s3.put_object(Bucket=BUCKET, Key=f"data/{n}", Body=f"{n}\n".encode())
        shell = (
            "cat /opt/ml/input/data/train_0; me=${HOSTNAME:-$(cat /etc/hostname)}; "
            "for h in algo-1 algo-2; do n=0; until getent ahostsv4 $h >/dev/null; do "
            "n=$((n+1)); [ $n -lt 1000 ] || exit 9; sleep 0.1; done; echo found $h; done; "
            "echo $me > /opt/ml/model/$me; echo $me > /opt/ml/model/same; "
            # both must be there at once: a host that has ended resolves no more
            "until [ -e /opt/ml/output/data/go ]; do sleep 0.05; done"
        )
        for isolated in (False, True):
            name = f"pair-{isolated}"
            wanted = hosts_job(name, shell, {"train": f"s3://{BUCKET}/data/"}, 2, EnableNetworkIsolation=isolated)
            sagemaker.create_training_job(**wanted)
            for n in (1, 2):
                log = served.root / f"training/{name}/logs/algo-{n}.log"
                until(lambda log=log: log.exists() and "found algo-2" in log.read_text())
            for n in (1, 2):
                (served.root / f"training/{name}/algo-{n}/opt/ml/output/data/go").touch()
            description = ended(sagemaker, name)
            logs = [(served.root / f"training/{name}/logs/algo-{n}.log").read_text().split() for n in (1, 2)]
            assert description["TrainingJobStatus"] == "Completed", (description, logs)
            assert logs[0] == ["0", "2", "4", "found", "algo-1", "found", "algo-2"]
            assert logs[1] == ["1", "3", "found", "algo-1", "found", "algo-2"]
            with tarfile.open(served.root / f"training/{name}/model.tar.gz") as tar:
                assert sorted(tar.getnames()) == ["algo-1", "algo-2", "same"]
                assert tar.extractfile("same").read() == b"algo-1\n"  # the first host leads
            streams = served.client("logs").describe_log_streams(
                logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/"
            )["logStreams"]
            assert sorted(item["logStreamName"].split("/")[1][:6] for item in streams) == ["algo-1", "algo-2"]
    assert docker_engine.networks.list(filters={"label": f"{LABEL}=pair-False"}) == []


@pytest.mark.docker
def test_one_failing_host_fails_the_job(tmp_path: Path, images: list[str]) -> None:
    with Served(tmp_path, *images, own=False) as served:
        sagemaker = served.client("sagemaker")
        served.client("s3").create_bucket(Bucket=BUCKET)
        shell = (
            "if [ $(cat /etc/hostname) = algo-2 ]; then printf broken > /opt/ml/output/failure; exit 3; fi; "
            "trap 'echo asked; exit 0' TERM; while :; do sleep 0.1; done"
        )
        sagemaker.create_training_job(**hosts_job("half", shell, {}, 2))
        description = ended(sagemaker, "half")
        assert description["TrainingJobStatus"] == "Failed"
        assert description["FailureReason"] == "AlgorithmError: broken, exit code: 3"
        assert (served.root / "training/half/logs/algo-1.log").read_text() == "asked\n"
