"""Jobs on several hosts, each a process of its own here: the same program, the same connections, one machine."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.hosts import free_addresses
from tests.support.opt_ml import job_folder
from tests.support.shards import channel_bytes
from tests.support.train_jobs import ROOT, TrainJob, read_weights
from train.distributed.rendezvous import ADDRESSES


@pytest.fixture
def start_hosts(tmp_path) -> Iterator[Callable[..., list[TrainJob]]]:
    """start_hosts(name, count, hyperparameters, …): a job's hosts, not yet fed in Pipe mode."""
    jobs: list[TrainJob] = []

    def begin(
        name: str, count: int, hyperparameters: dict[str, str], mode: str = "Pipe",
        sharded: bool = False, prepare: Callable[[Path, int], None] = lambda *_: None, present: int | None = None,
    ) -> list[TrainJob]:  # fmt: skip
        hosts = tuple(f"algo-{number}" for number in range(1, count + 1))
        given = {ADDRESSES: free_addresses(hosts)}
        begun = []
        for index, host in enumerate(hosts[: present or count]):
            root = job_folder(tmp_path / name / host, mode, hyperparameters)
            resources = {"current_host": host, "hosts": hosts}
            (root / "input/config/resourceconfig.json").write_text(json.dumps(resources))
            if sharded:
                path = root / "input/config/inputdataconfig.json"
                inputs = json.loads(path.read_text())
                path.write_text(
                    json.dumps({key: one | {"S3DistributionType": "ShardedByS3Key"} for key, one in inputs.items()})
                )
            prepare(root, index)
            begun.append(TrainJob(root, **given))
        jobs.extend(begun)
        return begun

    yield begin
    for job in jobs:
        job.process.kill()
        job.wait()


def losses(job: TrainJob) -> list[float]:
    return [float(row[name]) for row in job.history for name in ("train_loss", "validation_loss")]


def whole_channels(shards: Path) -> Callable[[Path, int], None]:
    def prepare(root: Path, _index: int) -> None:
        for channel in ("train", "validation"):
            (root / "input/data" / channel).symlink_to(shards / channel)

    return prepare


RECIPES = {
    "tutorial": {"learning-rate": "0.003", "optimizer": "sgd"},
    # nothing random in the pictures: each host draws its own
    "fast": {"model": "fast", "augment": "false", "learning-rate": "0.01", "weight-average": "0.5"},
    "airbench": {"model": "airbench", "augment": "false", "learning-rate": "0.01", "precision": "float32"},
    # by its place, as a file of the image
    "own": {"model": str(ROOT / "launch/examples/own_model.py"), "learning-rate": "0.003", "optimizer": "sgd"},
}


@pytest.mark.parametrize(
    "recipe", ["tutorial", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fast", "airbench", "own"))]
)
def test_two_hosts_train_as_one_with_twice_the_batch(shards, feed, start_hosts, recipe):
    common = {"epochs": "2", "shuffle-buffer": "100", **RECIPES[recipe]}
    (one,) = start_hosts("one", 1, common | {"batch-size": "32"}, "File", prepare=whole_channels(shards))

    def piped(root: Path, _index: int) -> None:
        for channel in ("train", "validation"):
            feed(root / "input/data", channel, channel_bytes(shards, channel))

    first, second = start_hosts("two", 2, common | {"batch-size": "16"}, prepare=piped)
    assert (one.wait(), first.wait(), second.wait()) == (0, 0, 0), first.lines + second.lines

    assert losses(first) == pytest.approx(losses(one), rel=2e-3)
    assert [row["step"] for row in first.history] == [row["step"] for row in one.history] == ["10", "20"]
    ours, theirs = read_weights(first.root), read_weights(one.root)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=0.02, atol=2e-3, err_msg=name)
    said = [[line for line in job.lines if "weights of all hosts: " in line] for job in (first, second)]
    assert len(said[0]) == 2
    assert [line.split()[-1] for line in said[0]] == [line.split()[-1] for line in said[1]]  # to the bit

    evaluation = json.loads((first.root / "output/data/evaluation.json").read_text())
    assert evaluation["examples"] == 60
    assert sum(line.startswith("epoch=") for line in second.lines) == 0  # the metrics are the job's, not a host's
    assert not list((second.root / "model").glob("*"))
    assert not list((second.root / "output/data").glob("*"))
    assert not list((second.root / "checkpoints").glob("*"))


@pytest.mark.slow
def test_uneven_shards_lose_nothing_and_end_together(shards, start_hosts):
    """Three hosts, two shards of the train channel, one of the validation channel: the last host has nothing."""

    def dealt(root: Path, index: int) -> None:
        for channel in ("train", "validation"):
            folder = root / "input/data" / channel
            folder.mkdir()
            for path in sorted((shards / channel).iterdir())[index : index + 1]:
                (folder / path.name).symlink_to(path)

    hosts = start_hosts(
        "dealt", 3, {"epochs": "2", "batch-size": "64", "augment": "true", "model": "lab"}, "File", True, dealt
    )
    assert [job.wait() for job in hosts] == [0, 0, 0], [job.lines for job in hosts]
    first = hosts[0]
    assert [row["step"] for row in first.history] == ["3", "6"]
    assert json.loads((first.root / "output/data/evaluation.json").read_text())["examples"] == 60
    digests = {line.split()[-1] for job in hosts for line in job.lines if "weights of all hosts: " in line}
    assert len(digests) == 2  # one an epoch


@pytest.mark.slow
def test_a_stop_of_one_host_stops_all_and_they_go_on_where_they_were(shards, feed, start_hosts):
    common = {"epochs": "3", "batch-size": "16", "shuffle-buffer": "100"}
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}

    def half(root: Path, _index: int) -> None:  # the second pass over the train channel never comes
        feed(root / "input/data", "validation", data["validation"])
        feed(root / "input/data", "train", lambda turn: data["train"] if turn == 0 else None)

    stopped = start_hosts("stopped", 2, common, prepare=half)
    stopped[0].until("epoch=1 ")
    stopped[1].process.send_signal(signal.SIGTERM)
    assert [job.wait(120) for job in stopped] == [0, 0], stopped[0].lines
    assert any("Stopped in epoch 2 after step 10," in line for line in stopped[0].lines)
    assert not any((job.root / "output/success").exists() for job in stopped)

    def again(root: Path, _index: int) -> None:
        whole_channels(shards)(root, _index)
        shutil.copytree(stopped[0].root / "checkpoints", root / "checkpoints")  # as the service restores them

    resumed = start_hosts("resumed", 2, common, "File", prepare=again)
    whole = start_hosts("whole", 2, common, "File", prepare=whole_channels(shards))
    assert [job.wait() for job in resumed + whole] == [0] * 4, resumed[0].lines
    for name, array in read_weights(whole[0].root).items():
        np.testing.assert_array_equal(array, read_weights(resumed[0].root)[name], err_msg=name)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_fails_the_job_with_its_name(shards, feed, start_hosts, killed):
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}

    def piped(root: Path, _index: int) -> None:
        for channel in data:
            feed(root / "input/data", channel, data[channel])

    hosts = start_hosts("killed", 2, {"epochs": "100000", "batch-size": "16"}, prepare=piped)
    hosts[0].until("epoch=2 ")
    hosts[killed].process.kill()
    left = hosts[1 - killed]
    assert left.wait() == 1, left.lines
    assert left.failure.startswith(f"Host algo-{killed + 1} is gone: ")
    assert "\n" not in left.failure


def test_a_host_that_does_not_come_is_named(shards, start_hosts):
    (first,) = start_hosts("alone", 2, {"hosts-timeout": "1"}, "File", prepare=whole_channels(shards), present=1)
    assert first.wait() == 1, first.lines
    assert first.failure.startswith("Hosts are missing: algo-2 did not come within 1 s. Expected: algo-1, algo-2.")


def test_different_checkpoints_are_refused(shards, start_hosts):
    def prepare(root: Path, index: int) -> None:
        whole_channels(shards)(root, index)
        if index:
            (root / "checkpoints").mkdir()
            np.savez(root / "checkpoints/checkpoint-00001-0000000.npz", progress=np.array("{}"))

    hosts = start_hosts("unequal", 2, {}, "File", prepare=prepare)
    assert [job.wait() for job in hosts] == [1, 1]
    assert "Received: None, checkpoint-00001-0000000.npz." in hosts[0].failure
