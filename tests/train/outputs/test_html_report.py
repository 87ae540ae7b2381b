import base64
import csv
import json
import re
from dataclasses import asdict

import numpy as np
import pytest
import tensorflow as tf

from tests.support.pages import Page
from train.errors import TrainingError
from train.outputs.evaluation import Evaluation, Mistake
from train.outputs.html_report import write_report
from train.outputs.metric_lines import EpochMetrics
from train.runtime.dataset_info import ImageDatasetInfo

INFO = ImageDatasetInfo((4, 4, 3), ("cat", "dog & <b>co</b>"))
EVALUATION = Evaluation(np.array([[8, 2], [1, 9]]), 0.5, [Mistake(np.full((4, 4, 3), 7, np.uint8), 0, 1, 0.97)])
HISTORY = [asdict(EpochMetrics(epoch, epoch * 10, 1.0 / epoch, 0.5, 1.2 / epoch, 0.45, 100.0)) for epoch in (1, 2, 3)]


@pytest.fixture
def written(tmp_path):
    write_report(tmp_path, HISTORY, EVALUATION, INFO, {"model": "tutorial"})
    return tmp_path


def test_the_page_is_whole_and_needs_nothing_else(written):
    text = (written / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?://|//cdn|<script|<link|@import|url\(", text)
    assert "85.0% of 20 validation pictures recognised" in text
    assert "prefers-color-scheme:dark" in text
    polylines = [attrs for tag, attrs in page.seen if tag == "polyline"]
    assert [len(line["points"].split()) for line in polylines] == [3, 3, 3, 3]
    assert "<b>co</b>" not in text


def test_the_pictures_in_it_are_the_mistakes(written):
    data = re.search(r"data:image/png;base64,([^\"]+)", (written / "report.html").read_text()).group(1)
    np.testing.assert_array_equal(tf.io.decode_png(base64.b64decode(data)), EVALUATION.mistakes[0].image)


def test_history_and_evaluation_can_be_read_by_machines(written):
    rows = list(csv.DictReader((written / "history.csv").read_text().splitlines()))
    assert [float(row["validation_loss"]) for row in rows] == pytest.approx([1.2, 0.6, 0.4])
    assert rows[0].keys() == HISTORY[0].keys()
    assert json.loads((written / "evaluation.json").read_text())["confusion_matrix"] == [[8, 2], [1, 9]]


def test_one_epoch_and_no_mistake_are_a_page_too(tmp_path):
    write_report(tmp_path, HISTORY[:1], Evaluation(np.diag([3, 0]), 0.0, []), INFO, {})
    assert "100.0% of 3" in (tmp_path / "report.html").read_text()


def test_drawn_shapes_are_no_pictures(tmp_path):
    """100 % on a stand-in is nothing to be proud of: the first line of every result says so."""
    info = ImageDatasetInfo((4, 4, 3), ("cat", "dog"), source="synthetic", note="stand-in: drawn shapes, NOT CIFAR-10")
    write_report(tmp_path, HISTORY, Evaluation(np.diag([3, 1]), 0.0, []), info, {})
    assert "<h1>100.0% of 4 drawn shapes, not photographs, recognised</h1>" in (tmp_path / "report.html").read_text()
    assert "Stand-in: drawn shapes, NOT CIFAR-10." in (tmp_path / "report.html").read_text()
    lines = (tmp_path / "evaluation.json").read_text().splitlines()
    assert lines[1] == ' "note": "stand-in: drawn shapes, NOT CIFAR-10",'


def test_a_full_disk_is_one_line(small_disk):
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    with pytest.raises(TrainingError, match=r"The report can't be written to .*: No space left on device"):
        write_report(small_disk, HISTORY, EVALUATION, INFO, {})
