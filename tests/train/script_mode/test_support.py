"""The tables of docs/scripts.md name all that the toolkit knows, and say of it what happens."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.support.opt_ml import job_folder
from tests.support.train_jobs import TrainJob
from train.errors import TrainingError
from train.script_mode.distribution import check_options
from train.script_mode.support import GIVEN, HYPERPARAMETERS, VARIABLES

NAME = r"_?[A-Za-z0-9_]+"


def toolkit() -> str:
    """Its whole source."""
    spec = importlib.util.find_spec("sagemaker_training")
    assert spec
    assert spec.origin
    return "\n".join(path.read_text() for path in Path(spec.origin).parent.rglob("*.py"))


def test_every_hyperparameter_of_the_toolkit_is_listed():
    source = toolkit()
    known = set(re.findall(r'"(sagemaker_[a-z0-9_]+)"', source)) - {"sagemaker_local"}  # a folder
    known |= set(re.findall(r'^[A-Z_]+ = "([a-z_]+)"  # type: str', source, flags=re.MULTILINE)) - {"sagemaker_"}
    assert len(known) > 20
    assert known - set(HYPERPARAMETERS) == set()


def test_every_variable_of_the_toolkit_is_listed():
    source = toolkit()
    constants = dict(re.findall(rf'^([A-Z0-9_]+) = "({NAME})"', source, flags=re.MULTILINE))
    constants |= {
        name: constants[base].upper()
        for name, base in re.findall(r"^([A-Z0-9_]+) = (\w+)\.upper\(\)", source, re.MULTILINE)
    }
    read = re.findall(
        rf'(?:os\.environ(?:\.get\(|\[)|os\.getenv\()\s*(?:params\.)?("{NAME}"|[A-Z0-9_]+)(?!.*\] =)', source
    )
    known = {name.strip('"') if name.startswith('"') else constants[name] for name in read}
    known |= {value for name, value in constants.items() if name.endswith("_ENV")}
    assert {"SM_STUDIO_LOCAL_MODE", "SAGEMAKER_PROGRAM", "S3_ENDPOINT_URL", "CA_REPOSITORY_ARN"} <= known
    others = {name for name in known if name.startswith(("AWS_", "XRT_"))} - {"AWS_REGION"}
    assert {name.upper() for name in known} - others - set(VARIABLES) == set()


@pytest.mark.parametrize("name", [name for name, effect in HYPERPARAMETERS.items() if effect.startswith("refused")])
def test_what_is_called_refused_is(name):
    with pytest.raises(TrainingError, match="is not supported"):
        check_options({name: "true"})


def test_what_is_not_called_refused_is_not():
    check_options({name: "true" for name, effect in HYPERPARAMETERS.items() if not effect.startswith("refused")})


def test_a_script_has_the_variables_that_are_listed(tmp_path, start):
    job_folder(tmp_path, "File", {})
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text(
        "import os\nprint('has', *sorted(os.environ))\nprint('level', os.environ['SM_LOG_LEVEL'])"
    )
    hyperparameters = {
        "sagemaker_program": '"mine.py"',
        "sagemaker_job_name": '"named"',
        "sagemaker_region": '"eu-west-1"',
        "sagemaker_container_log_level": "30",
        "epochs": "3",
    }
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    job: TrainJob = start(tmp_path)
    assert job.wait() == 0, job.lines
    has = next(line for line in job.lines if line.startswith("has ")).split()[1:]
    generic = {re.sub(r"^SM_(CHANNEL|HP)_.*", r"SM_\1_<NAME>", name) for name in has if name.startswith("SM_")}
    assert generic - {"SM_STUDIO_LOCAL_MODE"} == set(GIVEN)
    assert {"SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION", "CURRENT_HOST", "PYTHONPATH"} <= set(has)
    assert "level 30" in job.lines
    assert not any("Invoking user script" in line for line in job.lines), "the log level is acted on"
