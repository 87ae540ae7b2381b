"""A host's /opt/ml as the platform makes it, for the tests of the training program."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.support.shards import CLASSES, SHAPE


def job_folder(root: Path, mode: str, hyperparameters: dict[str, str], channels: Sequence[str] = ()) -> Path:
    """An /opt/ml tree as the platform lays it out, without data."""
    config = root / "input/config"
    config.mkdir(parents=True)
    (root / "input/data").mkdir()
    names = channels or ("train", "validation")
    inputs = {name: {"TrainingInputMode": mode, "RecordWrapperType": "None"} for name in names}
    known = {"classes": ",".join(CLASSES), "image-shape": ",".join(map(str, SHAPE)), "batch-size": "32"}
    known["model"] = "tutorial"  # learns from a few pictures
    (config / "inputdataconfig.json").write_text(json.dumps(inputs))
    (config / "hyperparameters.json").write_text(json.dumps(known | hyperparameters))
    (config / "resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1"]}')
    return root
