"""An exported model of 18×18 pictures, and the command that tells what it says of others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.shards import CLASSES, SHAPE
from train.modeling.builtin import build_model
from train.outputs.evaluation import Evaluation
from train.outputs.export import export_model
from train.outputs.model_card import write_model_card
from train.predict.__main__ import main
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    info = ImageDatasetInfo(SHAPE, CLASSES, 300, "folder pets")
    export_model(build_model(Hyperparameters(), info), info, folder)
    write_model_card(folder, info, [], Evaluation(np.diag([4, 5, 6]), 0.5, []), {"job": "a|b"})
    return folder


@pytest.fixture
def predict(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    """`python -m train.predict … --json` in this process: exit code, what it told of each picture, standard error."""

    def run(*words: object) -> tuple[int, list[dict[str, Any]], str]:
        code = main([*map(str, words), "--json"])
        out, errors = capfd.readouterr()
        return code, list(map(json.loads, out.splitlines())), errors

    return run
