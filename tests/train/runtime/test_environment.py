import json
from pathlib import Path

import pytest

from train.errors import TrainingError
from train.runtime import environment


def configure(root: Path, **files: object) -> environment.Environment:
    (root / "input/config").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / f"input/config/{name}.json").write_text(json.dumps(content))
    return environment.read(root)


def test_an_empty_root_is_one_host_without_channels(tmp_path):
    here = environment.read(tmp_path)
    assert (here.host, here.hosts, here.channels, here.hyperparameters) == ("algo-1", ("algo-1",), {}, {})
    assert here.checkpoints == tmp_path / "checkpoints"
    assert here.model == tmp_path / "model"


def test_channels_keep_their_own_modes(tmp_path):
    inputs = {"train": {"TrainingInputMode": "Pipe"}, "validation": {"TrainingInputMode": "File"}}
    here = configure(tmp_path, inputdataconfig=inputs)
    assert here.channel("train").mode == "Pipe"
    assert here.channel("validation").folder == tmp_path / "input/data/validation"


def test_channels_say_whether_their_objects_are_dealt_to_the_hosts(tmp_path):
    inputs = {
        "train": {"S3DistributionType": "ShardedByS3Key"},
        "validation": {"S3DistributionType": "FullyReplicated"},
    }
    here = configure(tmp_path, inputdataconfig=inputs)
    assert (here.channel("train").sharded, here.channel("validation").sharded) == (True, False)


def test_hosts_are_sorted_whatever_the_platform_does(tmp_path):
    here = configure(tmp_path, resourceconfig={"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]})
    assert (here.host, here.hosts) == ("algo-2", ("algo-1", "algo-2"))


@pytest.mark.parametrize(("local", "where"), [("/opt/ml/checkpoints", "checkpoints"), ("/opt/ml/other/x", "other/x")])
def test_checkpoint_paths_below_opt_ml_move_with_the_root(tmp_path, local, where):
    assert configure(tmp_path, checkpointconfig={"LocalPath": local}).checkpoints == tmp_path / where


def test_a_checkpoint_path_elsewhere_stays(tmp_path):
    assert configure(tmp_path, checkpointconfig={"LocalPath": "/state"}).checkpoints == Path("/state")


def test_a_missing_channel_is_named_with_those_there_are(tmp_path):
    here = configure(tmp_path, inputdataconfig={"training": {"TrainingInputMode": "Pipe"}})
    with pytest.raises(TrainingError, match=r"no channel train\. Received: training\. Add it to InputDataConfig"):
        here.channel("train")


def test_a_config_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/resourceconfig.json").write_text("{")
    with pytest.raises(TrainingError, match=r"resourceconfig\.json is not JSON"):
        environment.read(tmp_path)
