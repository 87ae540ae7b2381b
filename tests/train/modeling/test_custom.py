"""A model that comes with the job as a file: what it may be, and what is said of one that can't be trained."""

import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.support.custom_models import MODEL, custom_model_folder, write_model
from tests.support.opt_ml import job_folder
from tests.support.shards import CLASSES, SHAPE, channel_bytes
from tests.support.train_jobs import read_weights, without_speed
from train.errors import TrainingError
from train.modeling.custom import build_custom_model, find_model_file
from train.runtime import environment
from train.runtime.dataset_info import ImageDatasetInfo

PICTURES = ImageDatasetInfo(SHAPE, CLASSES)


def sequential(first: str, *layers: str) -> str:
    return f"""
        import keras
        from keras import layers
        def build(shape, classes):
            return keras.Sequential([keras.Input({first}), layers.Flatten(), {", ".join(layers)}])
    """


def test_a_model_from_pictures_to_logits(tmp_path: Path) -> None:
    model = build_custom_model(write_model(tmp_path, MODEL), PICTURES)
    assert model(np.zeros((2, *SHAPE), np.uint8)).shape == (2, len(CLASSES))


def test_files_beside_it_can_be_imported(tmp_path: Path) -> None:
    write_model(tmp_path, "WIDTH = 5", "widths_of_this_test.py")
    text = MODEL.replace("import keras\n", "import keras\nfrom widths_of_this_test import WIDTH\n", 1)
    model = build_custom_model(write_model(tmp_path, text.replace("Conv2D(8", "Conv2D(WIDTH")), PICTURES)
    assert model.layers[2].filters == 5


def test_what_is_compiled_is_said_to_be_of_no_effect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        MODEL.replace("return keras.Model(", "model = keras.Model(")
        + "    model.compile('sgd', 'mse')\n    return model\n"
    )
    path = write_model(tmp_path, text)
    with caplog.at_level("INFO"):
        build_custom_model(path, PICTURES)
    said = (
        f"NOTE: {path} compiles its model: the job's hyperparameters choose the optimizer, its loss is cross-entropy."
    )
    assert said in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(shape, classes)\n", r"model\.py can't be read, line 1: expected ':'\."),
        ("x = 1\n", r"Received: no function build\. Expected: build\(shape, classes\) → a Keras model"),
        ("build = 3\n", "Received: no function build"),
        ("\nimport no_such_module\n", r"model\.py, line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def build(shape):\n    return 1\n", r"model\.py: TypeError: build\(\) takes 1 positional argument"),
        ("def build(shape, classes):\n    return 1 / 0\n", r"model\.py, line 2: ZeroDivisionError: division by zero"),
        ("def build(shape, classes):\n    return 7\n", "Received: a int"),
        ("import sys\nsys.exit()\n", r"model\.py, line 2: SystemExit: "),
        (
            sequential("shape, dtype='uint8'", "layers.Dense(3, dtype='float16')"),
            "Received: an output of float16: give the last layer dtype='float32'",
        ),
        (
            """
            import keras
            class By(keras.layers.Layer):
                def __init__(self, function):
                    super().__init__()
                    self.function = function
                def call(self, x):
                    return self.function(x)
            class Same:
                def __call__(self, x):
                    return x
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                return keras.Model(pictures, keras.layers.Dense(3)(keras.layers.Flatten()(By(Same())(pictures))))
            """,
            r"NotImplementedError: Object By was created .* must override `get_config\(\)`",
        ),
        (
            "import keras\ndef build(shape, classes):\n    return keras.Sequential([keras.layers.Dense(3)])\n",
            "Received: a model without an input",
        ),
        (sequential("shape", "layers.Dense(3)"), "Received: an input of float32"),
        (sequential("(4, 4, 3), dtype='uint8'", "layers.Dense(3)"), r"Received: an input of shape \(None, 4, 4, 3\)"),
        (
            sequential("shape, dtype='uint8'", "layers.Dense(4)"),
            r"Received: an output of shape \(None, 4\) for 3 classes",
        ),
        (
            sequential("shape, dtype='uint8'", "layers.Dense(3, activation='softmax')"),
            "Received: probabilities: leave the softmax out",
        ),
        (sequential("shape, dtype='uint8'", "layers.Dense(3)", "layers.Softmax()"), "Received: probabilities"),
        (
            sequential("shape, dtype='uint8'", "layers.Dense(3, activation='sigmoid')"),
            "Received: probabilities: leave the sigmoid out, the export adds the softmax",
        ),
        (
            sequential("shape, dtype='uint8'", "keras.Sequential([keras.Input((SIZE,)), layers.Dense(3), INNER])")
            .replace("SIZE", str(np.prod(SHAPE)))
            .replace("INNER", "layers.Activation('softmax')"),
            "Received: probabilities: leave the softmax out",
        ),
        (
            """
            import keras
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                body = keras.applications.MobileNetV2(
                    (32, 32, 3), alpha=0.35, weights=None, classes=len(classes), classifier_activation="softmax"
                )
                return keras.Model(pictures, body(keras.layers.Resizing(32, 32)(pictures)))
            """,
            "Received: probabilities: leave the softmax out",
        ),
        (
            """
            import keras
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                logits = keras.layers.Dense(3)(keras.layers.Flatten()(pictures))
                return keras.Model(pictures, keras.ops.softmax(logits / 1000))
            """,
            "Received: probabilities: leave the softmax out",
        ),
        (
            """
            import keras
            class Head(keras.layers.Dense):
                def call(self, x):
                    return keras.ops.softmax(super().call(x) / 1000)
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                return keras.Model(pictures, Head(3)(keras.layers.Flatten()(pictures)))
            """,
            "Received: probabilities, rows that sum to one: leave the softmax out",
        ),
        (
            """
            import keras
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                flat = keras.layers.Flatten()(pictures)
                return keras.Model(pictures, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])
            """,
            "Received: 1 inputs and 2 outputs",
        ),
        *(
            (
                f"""
            import keras
            class Mine(keras.Model):
                {method}
            def build(shape, classes):
                pictures = keras.Input(shape, dtype="uint8")
                model = Mine(pictures, {output.format("keras.layers.Dense(3)(keras.layers.Flatten()(pictures))")})
                model.trainable = {trainable}
                return model
            """,
                message,
            )
            for method, output, trainable, message in (
                ("def train_step(self, data): pass", "{}", True, "Received: a model with a train_step of its own"),
                ("def compute_loss(self, **all): pass", "{}", True, "Received: a model with a compute_loss of its own"),
                (
                    "pass",
                    "[{}]",
                    True,
                    r"Received: an output in a list: give the logits alone, keras\.Model\(inputs, log",
                ),
                ("pass", "{{'a': {}}}", True, "Received: an output in a dict: give the logits alone"),
                ("pass", "{}", False, "Received: a model without a weight to train: trainable is False"),
            )
        ),
        (
            """
            import keras
            def build(shape, classes):
                class Twice(keras.layers.Layer):
                    def build(self, shape):
                        self.a, self.b = (self.add_weight(shape=(3,), name="same") for _ in range(2))
                    def call(self, x):
                        return x + self.a + self.b
                pictures = keras.Input(shape, dtype="uint8")
                x = keras.layers.Dense(3)(keras.layers.Flatten()(pictures))
                return keras.Model(pictures, Twice(name="twice")(x))
            """,
            "Received: two variables of the name twice/same: name the layers apart",
        ),
    ],
)
def test_what_can_not_be_trained_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write_model(tmp_path, text)
    with pytest.raises(TrainingError) as raised:
        build_custom_model(path, PICTURES)
    said = str(raised.value)
    assert re.search(message, said), said
    assert "\n" not in said
    assert str(path) in said


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    root = job_folder(tmp_path / "job", "File", {}, ["train", "code"])
    here = environment.read(root)
    with pytest.raises(TrainingError, match=r"there is no .*/input/data/code/model\.py\. Received: nothing\."):
        find_model_file("model.py", here)
    folder = root / "input/data/code"
    write_model(folder, "", "other.py")
    with pytest.raises(TrainingError, match=r"Received: other\.py\."):
        find_model_file("model.py", here)
    write_model(folder, MODEL)
    assert find_model_file("model.py", here) == folder / "model.py"
    assert find_model_file(str(folder / "other.py"), here) == folder / "other.py"


@pytest.mark.parametrize(
    ("mode", "channels", "received"),
    [
        ("File", ["train"], r"none\. Add the channel in File mode, with the file in it"),
        ("Pipe", ["code"], r"code in Pipe mode\. Give that channel of the job InputMode File"),
    ],
)
def test_the_channel_that_brings_it(tmp_path: Path, mode: str, channels: list[str], received: str) -> None:
    here = environment.read(job_folder(tmp_path / "job", mode, {}, channels))
    with pytest.raises(TrainingError, match=rf"channel code\. Received: {received}"):
        find_model_file("model.py", here)


@pytest.mark.slow
def test_a_job_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, shards, feed, start) -> None:
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}
    quiet, stopped = (custom_model_folder(tmp_path / name, MODEL) for name in ("quiet", "stopped"))
    for channel, content in data.items():
        feed(quiet / "input/data", channel, content)
    feed(stopped / "input/data", "validation", data["validation"])
    os.mkfifo(stopped / "input/data/train_0")
    job = start(stopped)
    with (stopped / "input/data/train_0").open("wb", buffering=0) as fifo:  # two thirds of it, and then nothing
        fifo.write(data["train"][: len(data["train"]) * 2 // 3])
        job.until("step=1 ")
        job.process.send_signal(signal.SIGTERM)
        assert job.wait(120) == 0, job.lines

    resumed = custom_model_folder(tmp_path / "resumed", MODEL)
    shutil.copytree(stopped / "checkpoints", resumed / "checkpoints")
    for channel, content in data.items():
        feed(resumed / "input/data", channel, content)
    again, whole = start(resumed), start(quiet)
    assert (again.wait(), whole.wait()) == (0, 0), again.lines + whole.lines
    assert any("Resumed from" in line for line in again.lines)
    assert without_speed(again.history) == without_speed(whole.history)
    for name, array in read_weights(quiet).items():
        np.testing.assert_array_equal(array, read_weights(resumed)[name], err_msg=name)

    other = custom_model_folder(tmp_path / "other", MODEL.replace("Conv2D(8", "Conv2D(9"))
    shutil.copytree(stopped / "checkpoints", other / "checkpoints")
    refused = start(other)
    assert refused.wait() == 1, refused.lines
    assert re.search(r"is of another model or optimizer\. Received: model/\S+ \(.*8", refused.failure), refused.failure


def test_a_model_with_a_mistake_fails_the_job_in_one_line(tmp_path: Path, start) -> None:
    root = custom_model_folder(tmp_path, MODEL.replace("layers.Rescaling(1 / 255)", "layers.Rescale()"))
    job = start(root)
    assert job.wait() == 1, job.lines
    assert job.failure == (
        f"{root}/input/data/code/model.py, line 7: AttributeError: module 'keras.layers' has no attribute 'Rescale'"
    )
