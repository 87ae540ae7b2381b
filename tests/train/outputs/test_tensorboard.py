"""The events, as TensorBoard itself reads them."""

from importlib.util import find_spec

import pytest
import tensorflow as tf

from tests.support.metrics import HYPERPARAMETERS, make_metrics
from tests.support.missing import missing
from train.outputs.tensorboard import EventWriter


@pytest.fixture(autouse=True)
def tensorboard() -> None:
    """Its reader of events."""
    if not find_spec("tensorboard"):
        missing("no tensorboard")


def accumulated(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_every_metric_has_a_value_an_epoch(tmp_path):
    events = EventWriter(tmp_path, HYPERPARAMETERS)
    for epoch in (1, 2):
        events.on_epoch_end(make_metrics(epoch))
        found = accumulated(tmp_path)  # on disk although the run goes on
        assert [event.step for event in found.Tensors("validation/accuracy")] == list(range(1, epoch + 1))
    events.on_end()
    found = accumulated(tmp_path)
    values = [float(tf.make_ndarray(event.tensor_proto)) for event in found.Tensors("validation/accuracy")]
    assert values == [0.25, 0.5]
    assert {"train/loss", "train/accuracy", "validation/loss", "images per second"} <= set(found.Tags()["tensors"])
    assert found.SummaryMetadata("train/loss").plugin_data.plugin_name == "scalars"


@pytest.mark.parametrize("outcome", ["SUCCESS", "FAILURE", None])
def test_the_hparams_page_has_the_hyperparameters_and_how_it_ended(tmp_path, outcome):
    from tensorboard.plugins.hparams import api_pb2, metadata

    events = EventWriter(tmp_path, HYPERPARAMETERS)
    events.on_epoch_end(make_metrics(1))
    if outcome:
        (events.on_end if outcome == "SUCCESS" else events.on_failure)()
    found = accumulated(tmp_path)
    content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert values == HYPERPARAMETERS
    assert start.start_time_secs > 1e9
    assert (metadata.SESSION_END_INFO_TAG in found.Tags()["tensors"]) == bool(outcome)
    if outcome:
        content = found.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
        end = metadata.parse_session_end_info_plugin_data(content)
        assert end.status == api_pb2.Status.Value(f"STATUS_{outcome}")
        assert end.end_time_secs >= start.start_time_secs


def test_a_job_that_goes_on_adds_to_the_events(tmp_path):
    EventWriter(tmp_path, HYPERPARAMETERS).on_epoch_end(make_metrics(1))
    events = EventWriter(tmp_path, HYPERPARAMETERS)
    events.on_epoch_end(make_metrics(2))
    events.on_end()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
