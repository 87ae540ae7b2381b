"""The SDK's `distribution` options."""

import json

import pytest

from tests.support.opt_ml import job_folder
from tests.support.train_jobs import TrainJob
from train.errors import TrainingError
from train.script_mode.distribution import MIRRORED, PARAMETER_SERVER, check_options, make_tf_config

HOSTS = ["algo-1", "algo-2", "algo-3"]


def test_multi_worker_mirrored_strategy():
    """As tests of sagemaker-tensorflow-training 20.5.0 have it."""
    assert make_tf_config({MIRRORED: True}, HOSTS[:2], "algo-2") == {
        "cluster": {"worker": ["algo-1:8890", "algo-2:8890"]},
        "environment": "cloud",
        "task": {"index": 1, "type": "worker"},
    }


@pytest.mark.parametrize(
    ("host", "task"),
    [
        ("algo-1", {"index": 0, "type": "master"}),
        ("algo-2", {"index": 0, "type": "worker"}),
        ("algo-3", {"index": 1, "type": "worker"}),
    ],
)
def test_parameter_servers(host, task):
    assert make_tf_config({PARAMETER_SERVER: True}, HOSTS, host) == {
        "cluster": {
            "master": ["algo-1:2222"],
            "ps": ["algo-1:2223", "algo-2:2223", "algo-3:2223"],
            "worker": ["algo-2:2222", "algo-3:2222"],
        },
        "environment": "cloud",
        "task": task,
    }


def test_no_distribution():
    assert make_tf_config({}, HOSTS, "algo-1") is None
    assert make_tf_config({PARAMETER_SERVER: True}, ["algo-1"], "algo-1") is None
    assert make_tf_config({MIRRORED: True}, HOSTS[:1], "algo-2") is None


@pytest.mark.parametrize(
    "name",
    [
        "sagemaker_distributed_dataparallel_enabled",
        "sagemaker_torch_distributed_enabled",
        "sagemaker_pytorch_ddp_enabled",
        "sagemaker_pytorch_xla_multi_worker_enabled",
        "sagemaker_training_compiler_enabled",
        "sagemaker_of_next_year_enabled",
    ],
)
def test_other_options_are_refused(name):
    with pytest.raises(TrainingError, match=f"{name} is not supported. Received: true. Expected: {MIRRORED} or "):
        check_options({name: "true"})
    check_options({name: "false"})
    with pytest.raises(TrainingError, match="none: the built-in program"):
        check_options({MIRRORED: "true"}, supported=())


def test_model_parallelism_is_refused():
    with pytest.raises(TrainingError, match="mp_parameters is not supported"):
        check_options({"mp_parameters": '{"partitions": 2}'})
    check_options({"mp_parameters": "{}"})


SCRIPT = "import os; print('TF_CONFIG is', os.environ.get('TF_CONFIG'))"


@pytest.mark.parametrize("name", [MIRRORED, "sagemaker_mpi_enabled"])
def test_a_script_has_its_configuration_or_fails(tmp_path, start, name):
    job_folder(tmp_path, "File", {})
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text(SCRIPT)
    hyperparameters = {name: "true", "sagemaker_program": '"mine.py"'}
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    job: TrainJob = start(tmp_path)
    if name == MIRRORED:
        assert job.wait() == 0, job.lines
        found = next(line for line in job.lines if line.startswith("TF_CONFIG is "))
        assert json.loads(found.removeprefix("TF_CONFIG is "))["cluster"] == {"worker": ["localhost:8890"]}, (
            "a process has no name"
        )
    else:
        assert job.wait() == 1
        assert job.failure == (
            "The distribution option sagemaker_mpi_enabled needs MPI in the image. Received: an image without. "
            "Build one with container/build.sh --mpi."
        )
