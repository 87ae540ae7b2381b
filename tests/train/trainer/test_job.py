"""Whole jobs: the toolkit's own `train` command in a process, fed through real FIFOs."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.opt_ml import job_folder
from tests.support.shards import channel_bytes, write_shard
from tests.support.train_jobs import ROOT, TrainJob, read_weights, without_speed
from train.distributed.rendezvous import SingleHost
from train.outputs.metric_lines import EpochMetrics
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters
from train.trainer.job import _describe_few_steps, _describe_progress, _describe_settings, _warn_of_slow_input
from train.trainer.progress import Progress

GRACE = 120  # seconds from SIGTERM to SIGKILL, on the service and locally


def test_a_job_over_fifos_leaves_everything_and_file_mode_the_same(tmp_path, shards, feed, start):
    hyperparameters = {"epochs": "2", "learning-rate": "0.01", "shuffle-buffer": "100", "augment": '"true"'}
    pipe = job_folder(tmp_path / "pipe", "Pipe", hyperparameters)
    for channel in ("train", "validation"):
        feed(pipe / "input/data", channel, channel_bytes(shards, channel))
    piped = start(pipe)
    assert piped.wait() == 0, piped.lines

    lines = [line for line in piped.lines if line.startswith("epoch=")]
    assert [line.split(" train:")[0] for line in lines] == ["epoch=1 step=10", "epoch=2 step=20"]
    assert any(line.startswith("step=1 loss=") for line in piped.lines)
    facts = next(line for line in piped.lines if " host=algo-1/1 cores=" in line)
    assert " inputs=train:Pipe,validation:Pipe python=3." in facts
    assert (pipe / "output/success").exists()
    assert piped.failure is None
    left = ["1", "classes.json", "input.json", "model-card.md", "model.keras"]
    assert sorted(path.name for path in (pipe / "model").iterdir()) == left
    evaluation = json.loads((pipe / "output/data/evaluation.json").read_text())
    assert evaluation["examples"] == 60
    assert evaluation["accuracy"] == pytest.approx(float(piped.history[-1]["validation_accuracy"]))
    assert evaluation["accuracy"] > 0.8
    assert not (pipe / "output/tensorboard").exists()  # nobody asked

    files = job_folder(tmp_path / "file", "File", hyperparameters)
    for channel in ("train", "validation"):
        (files / "input/data" / channel).symlink_to(shards / channel)
    filed = start(files, PROGRESS_SECONDS="0.5")  # which changes nothing but the log
    assert filed.wait() == 0, filed.lines
    progress = [line for line in filed.lines if line.startswith("progress ")]
    assert re.match(r"progress training epoch=1/2 step=1 rate=[\d.]+ loss=\d\.\d{6} accuracy=0\.\d{6}$", progress[0])
    assert "progress export epoch=2/2" in progress
    assert not [line for line in piped.lines if line.startswith("progress ")]
    assert without_speed(filed.history) == without_speed(piped.history)
    for name, array in read_weights(files).items():
        np.testing.assert_array_equal(array, read_weights(pipe)[name], err_msg=name)


@pytest.mark.parametrize(
    "model", ["tutorial", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lab", "airbench"))]
)
def test_stopped_in_its_second_epoch_and_run_again_it_ends_as_if_never_stopped(tmp_path, shards, feed, start, model):
    hyperparameters = {"epochs": "3", "shuffle-buffer": "50", "model": model, "augment": "true"}
    hyperparameters |= {"checkpoint-every": "2", "batch-size": "32"}
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}
    quiet = job_folder(tmp_path / "quiet", "Pipe", hyperparameters)
    stopped = job_folder(tmp_path / "stopped", "Pipe", {**hyperparameters, "steps-per-execution": "8"})
    for channel in data:
        feed(quiet / "input/data", channel, data[channel])
    whole = start(quiet)
    assert whole.wait() == 0, whole.lines

    # the second turn gives two thirds and then nothing: the reader waits in the middle of epoch 2
    os.mkfifo(stopped / "input/data/train_0")
    os.mkfifo(stopped / "input/data/train_1")
    feed(stopped / "input/data", "validation", data["validation"])
    job = start(stopped)
    (stopped / "input/data/train_0").write_bytes(data["train"])
    with (stopped / "input/data/train_1").open("wb", buffering=0) as fifo:
        fifo.write(data["train"][: len(data["train"]) * 2 // 3])
        job.until_there("checkpoints/checkpoint-00001-0000002.npz")  # in the middle of epoch 2
        job.process.send_signal(signal.SIGTERM)
        assert job.wait(GRACE) == 0, job.lines
    assert any("Stopped in epoch 2 after step" in line for line in job.lines)
    assert not (stopped / "output/success").exists()
    assert job.failure is None
    assert (stopped / "model/model.keras").exists()

    resumed = job_folder(
        tmp_path / "resumed", "Pipe", {**hyperparameters, "checkpoint-every": "0", "steps-per-execution": "3"}
    )
    shutil.copytree(stopped / "checkpoints", resumed / "checkpoints")  # as the service restores them
    for channel in data:
        feed(resumed / "input/data", channel, data[channel])
    again = start(resumed)
    assert again.wait() == 0, again.lines
    assert [line.split()[0] for line in again.lines if line.startswith("epoch=")] == ["epoch=2", "epoch=3"]
    assert without_speed(again.history) == without_speed(whole.history)
    for name, array in read_weights(quiet).items():
        np.testing.assert_array_equal(array, read_weights(resumed)[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("number_of_signal", [signal.SIGKILL, signal.SIGTERM])
def test_ended_at_random_moments_it_ends_as_if_never_ended(tmp_path, shards, feed, start, number_of_signal):
    """SIGKILL announces nothing: what is lost is what came after the last checkpoint, and nothing of the result.

    SIGTERM, whatever it meets — compiling, reading, a step, an evaluation, a checkpoint —, is a stop and no failure.
    """
    hyperparameters = {"epochs": "3", "shuffle-buffer": "50", "checkpoint-every": "2", "model": "fast"}
    hyperparameters["initial-scale"] = "0.65"  # 16 pixels, then 18
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}

    def begin(name: str, checkpoints: Path | None = None) -> TrainJob:
        root = job_folder(tmp_path / name, "Pipe", hyperparameters)
        if checkpoints is not None and checkpoints.exists():
            shutil.copytree(checkpoints, root / "checkpoints")
        for channel in data:
            feed(root / "input/data", channel, data[channel])
        return start(root)

    whole = begin("whole")
    moments = np.random.default_rng()
    state = None
    for number in range(4):
        killed = begin(f"killed-{number}", state)
        killed.until(" host=algo-1")
        with contextlib.suppress(subprocess.TimeoutExpired):
            killed.process.wait(moments.uniform(0, 3))
        killed.process.send_signal(number_of_signal)
        assert killed.wait(GRACE) in (0, -signal.SIGKILL), killed.lines
        assert killed.failure is None
        if (killed.root / "checkpoints").exists():
            state = killed.root / "checkpoints"
    last = begin("last", state)
    assert (last.wait(), whole.wait()) == (0, 0), last.lines
    assert without_speed(last.history) == without_speed(whole.history)
    for name, array in read_weights(whole.root).items():
        np.testing.assert_array_equal(array, read_weights(last.root)[name], err_msg=name)


def test_stopped_while_it_evaluates_it_ends_and_goes_on_from_there(tmp_path, shards, feed, start):
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}
    stopped = job_folder(tmp_path / "stopped", "Pipe", {"epochs": "1"})
    feed(stopped / "input/data", "train", data["train"])
    os.mkfifo(stopped / "input/data/validation_0")
    job = start(stopped)
    with (stopped / "input/data/validation_0").open("wb", buffering=0) as fifo:  # waits until it is evaluating
        fifo.write(data["validation"][:20_000])
        job.process.send_signal(signal.SIGTERM)
        assert job.wait(GRACE) == 0, job.lines
    assert any("Stopped in epoch 1 after step 10" in line for line in job.lines)

    resumed = job_folder(tmp_path / "resumed", "Pipe", {"epochs": "1"})
    shutil.copytree(stopped / "checkpoints", resumed / "checkpoints")
    for channel in data:
        feed(resumed / "input/data", channel, data[channel])
    again = start(resumed)
    assert again.wait() == 0, again.lines
    assert again.history[0]["step"] == "10"


def test_stopped_before_the_first_fifo_it_ends_at_once(tmp_path, start):
    job = start(job_folder(tmp_path, "Pipe", {}))
    job.until("model=tutorial")
    job.process.send_signal(signal.SIGTERM)
    assert job.wait(GRACE) == 0, job.lines
    assert any("Stopped in epoch 1 after step 0" in line for line in job.lines)
    assert job.failure is None
    assert not (tmp_path / "output/success").exists()


def test_a_resumed_job_says_where_it_is():
    progress = Progress(epoch=2, step_in_epoch=3)
    assert _describe_progress(progress, finished=False) == "epoch 3, step 3 of it"
    assert _describe_progress(progress, finished=True) == "the training was finished with epoch 2"


@pytest.mark.parametrize(("share", "waited", "warns"), [(0.3, 11.0, True), (0.9, 2.0, False), (0.1, 60.0, False)])
def test_slow_input_is_said_where_it_costs_time(caplog, share, waited, warns):
    with caplog.at_level("INFO"):
        _warn_of_slow_input(EpochMetrics(1, 10, 1.0, 0.5, 1.0, 0.5, 100.0, share), waited)
    assert caplog.messages == [
        message for message in caplog.messages if message.startswith("Input is the bottleneck: ")
    ]
    assert bool(caplog.messages) == warns


def test_a_job_that_waits_for_its_input_measures_it(tmp_path, shards, feed, start):
    root = job_folder(tmp_path, "Pipe", {"epochs": "1", "shuffle-buffer": "50"})
    train = channel_bytes(shards, "train")
    os.mkfifo(root / "input/data/train_0")
    feed(root / "input/data", "validation", channel_bytes(shards, "validation"))
    job = start(root)
    job.until(" host=algo-1")
    began = time.monotonic()
    with (root / "input/data/train_0").open("wb", buffering=0) as fifo:
        fifo.write(train[: len(train) // 2])
        job.until("step=1 ")
        time.sleep(time.monotonic() - began)  # a slow peer: as long as all before, whatever the machine
        fifo.write(train[len(train) // 2 :])
    assert job.wait() == 0, job.lines
    assert 0.2 < float(job.history[0]["input_wait"]) < 1


def broken(shards: Path) -> bytes:
    return channel_bytes(shards, "train")[:-10]


@pytest.mark.parametrize(
    ("hyperparameters", "data", "message"),
    [
        ({}, broken, "channel train, FIFO train_0, record 299 at byte 306774 is truncated. Received: 1016 bytes."),
        ({"epoch": "3"}, None, "Unknown hyperparameter. Received: epoch. Did you mean epochs?"),
        ({"fifo-timeout": "0.5"}, None, "channel train, FIFO train_0 did not appear within 0.5 s (index 0)"),
        ({"learning-rate": "1e30", "optimizer": "sgd"}, channel_bytes, "The loss is not finite since step "),
        ({"image-shape": "8,8,3"}, None, "The pictures are too small for model tutorial"),
        ({"shuffle-buffer": "2147483647"}, channel_bytes, "The memory is not enough: Unable to allocate "),
    ],
)
def test_an_expected_failure_is_one_line(tmp_path, shards, feed, start, hyperparameters, data, message):
    root = job_folder(tmp_path, "Pipe", hyperparameters)
    if data is not None:
        content = data(shards) if data is broken else data(shards, "train")
        feed(root / "input/data", "train", content)
        feed(root / "input/data", "validation", channel_bytes(shards, "validation"))
    job = start(root)
    assert job.wait() == 1, job.lines
    assert message in job.failure
    assert "\n" not in job.failure.strip()
    assert not any("Traceback" in line for line in job.lines)
    assert not (root / "output/success").exists()


def test_failures_before_tensorflow_is_needed(tmp_path, start):
    job = start(job_folder(tmp_path, "Pipe", {}, ["training"]))
    assert job.wait() == 1
    assert job.failure.startswith("The job has no channel train. Received: training. Add it to InputDataConfig")


def test_a_bug_leaves_its_traceback(tmp_path, start):
    (tmp_path / "buggy.py").write_text(
        "from train import entrypoint\ndef main():\n    entrypoint.run_job = lambda *_: 1 / 0\n    entrypoint.main()\n"
    )
    root = job_folder(tmp_path / "job", "Pipe", {})
    job = start(root, SAGEMAKER_TRAINING_MODULE="buggy:main", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert job.wait() != 0
    assert "Traceback" in job.failure
    assert "ZeroDivisionError" in job.failure


SCRIPT = """
    import argparse, os, signal, sys
    from pathlib import Path
    from train.runtime.environment import read
    from train.records.channels import open_channel
    from train.records.tfrecord import read_tfrecords

    parser = argparse.ArgumentParser()
    parser.add_argument("--greeting")
    arguments = parser.parse_args()
    channel = read(Path(os.environ["SAGEMAKER_BASE_DIR"])).channel("train")
    streams = open_channel(channel).streams()
    count = sum(len(block.rows) for stream in streams for block in read_tfrecords(stream))
    print(f"{arguments.greeting}: {count} records", flush=True)
    if arguments.greeting == "wait":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("script stopped"))
        print("waiting", flush=True)
        signal.pause()
    if arguments.greeting == "fail":
        raise ValueError("as asked")
"""


def script_folder(root: Path, greeting: str) -> Path:
    code = root / "code"
    code.mkdir(parents=True)
    (code / "mine.py").write_text(textwrap.dedent(SCRIPT))
    hyperparameters = {
        "greeting": f'"{greeting}"',
        "sagemaker_program": '"mine.py"',
        "sagemaker_submit_directory": json.dumps(str(code)),
    }
    job_folder(root, "Pipe", {})
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    return root


def test_a_users_script_runs_instead_and_reads_the_fifos(tmp_path, shards, feed, start):
    root = script_folder(tmp_path, "hello")
    feed(root / "input/data", "train", channel_bytes(shards, "train"))
    job = start(root)
    assert job.wait() == 0, job.lines
    assert "hello: 300 records" in job.lines
    assert (root / "output/success").exists()


def test_a_failing_script_fails_the_job(tmp_path, shards, feed, start):
    root = script_folder(tmp_path, "fail")
    feed(root / "input/data", "train", channel_bytes(shards, "train"))
    job = start(root)
    assert job.wait() == 1
    assert "ExecuteUserScriptError" in job.failure
    assert any("ValueError: as asked" in line for line in job.lines)


def test_a_stop_reaches_the_script(tmp_path, shards, feed, start):
    root = script_folder(tmp_path, "wait")
    feed(root / "input/data", "train", channel_bytes(shards, "train"))
    job = start(root)
    job.until("waiting")
    job.process.send_signal(signal.SIGTERM)
    job.wait(GRACE)
    assert "script stopped" in job.lines
    assert not (root / "output/success").exists()


def test_a_script_in_s3_is_fetched(tmp_path, shards, feed, start):
    import boto3
    from moto.server import ThreadedMotoServer

    root = script_folder(tmp_path, "from S3")
    with tarfile.open(tmp_path / "sourcedir.tar.gz", "w:gz") as archive:
        archive.add(root / "code/mine.py", "mine.py")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        aws = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1",
        }  # fmt: skip
        s3 = boto3.client(
            "s3", endpoint_url=aws["AWS_ENDPOINT_URL"], aws_access_key_id="x", aws_secret_access_key="x",
            region_name="us-east-1",
        )  # fmt: skip
        s3.create_bucket(Bucket="code")
        s3.upload_file(str(tmp_path / "sourcedir.tar.gz"), "code", "sourcedir.tar.gz")
        s3.close()
        path = root / "input/config/hyperparameters.json"
        given = json.loads(path.read_text()) | {"sagemaker_submit_directory": '"s3://code/sourcedir.tar.gz"'}
        path.write_text(json.dumps(given))
        (root / "code/mine.py").unlink()
        feed(root / "input/data", "train", channel_bytes(shards, "train"))
        job = start(root, **aws)
        assert job.wait() == 0, job.lines
        assert "from S3: 300 records" in job.lines
    finally:
        server.stop()


def test_write_shard_is_what_tensorflow_reads(tmp_path):
    import tensorflow as tf

    path = write_shard(tmp_path / "a", [b"1", b"22"])
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == [b"1", b"22"]


@pytest.mark.parametrize("asked", ["configured", "folder"])
def test_tensorboards_events_where_they_are_wanted(tmp_path, shards, start, asked):
    root = job_folder(tmp_path, "File", {"epochs": "2", "learning-rate": "0.02"})
    for channel in ("train", "validation"):
        (root / "input/data" / channel).symlink_to(shards / channel)
    folder = root / ("events" if asked == "configured" else "output/tensorboard")
    if asked == "configured":
        config = {"TensorBoardOutputConfig": {"S3OutputPath": "s3://b/x", "LocalPath": "/opt/ml/events"}}
        (root / "input/config/trainingjobconfig.json").write_text(json.dumps(config))
    else:
        folder.mkdir(parents=True)
    job = start(root)
    assert job.wait() == 0, job.lines
    (events,) = folder.glob("events.out.tfevents.*")
    data = events.read_bytes()
    assert data.count(b"validation/accuracy") == 2
    assert b"_hparams_/session_end_info" in data
    assert b"learning-rate" in data


@pytest.mark.parametrize(
    ("pictures", "epochs", "expected"), [(106, 3, "are 3 steps"), (None, 1, None), (129, 50, None)]
)
def test_a_job_of_few_steps_says_so(pictures, epochs, expected):
    info = ImageDatasetInfo((32, 32, 3), ("cup", "jug"), pictures)
    text = _describe_few_steps(Hyperparameters(epochs=epochs), info, SingleHost(threading.Event()))
    assert text is None if expected is None else expected in text


def test_settings_are_told_as_they_are_used():
    """The defaults are CIFAR-10's; a data set of its own says what it has."""
    settings = _describe_settings(Hyperparameters(epochs=2), ImageDatasetInfo((64, 48, 1), ("cup", "jug"), 70))
    told = [settings[name] for name in ("classes", "image-shape", "train-examples", "epochs")]
    assert told == ["cup,jug", "64,48,1", 70, 2]
