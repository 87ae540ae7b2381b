"""The card says what is true of the model, and what it tells to type works without this project."""

import contextlib
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from tests.support.shards import CLASSES, SHAPE, examples
from train.modeling.builtin import build_model
from train.outputs.evaluation import Evaluation
from train.outputs.export import export_model
from train.outputs.model_card import escape, write_model_card
from train.predict.__main__ import main
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters

INFO = ImageDatasetInfo(SHAPE, CLASSES, 300, "folder pets", "some were cropped", "jpeg")
HISTORY = [{"validation_accuracy": 0.75, "validation_loss": 0.5}]
RESULT = Evaluation(np.array([[4, 1, 0], [0, 5, 0], [0, 0, 0]]), 0.25, [])
MARKDOWN = MarkdownIt("commonmark").enable("table")


def card(folder: Path, info: ImageDatasetInfo, result: Evaluation | None = RESULT, **facts: str) -> str:
    write_model_card(folder, info, HISTORY, result, facts)
    return (folder / "model-card.md").read_text()


def read_blocks(text: str) -> list[str]:
    """Python that the card tells to type."""
    return [token.content for token in MARKDOWN.parse(text) if token.type == "fence" and token.info == "python"]


# what it says


def test_it_says_what_the_model_is(tmp_path: Path) -> None:
    text = card(tmp_path, INFO, job="a|b")
    assert text.startswith("# Picture classifier: 3 classes, 90.0% of 10 validation pictures recognised\n")
    assert "Source: folder pets." in text
    assert "Note: some were cropped." in text
    assert "uint8, (n, 18, 18, 3), red, green, blue" in text
    assert "cover 18×18 pixels" in text
    rows = re.findall(r"<tr>\n(.*?)</tr>", MARKDOWN.render(text), flags=re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert ["0", "dark", "5", "80.0%", "100.0%"] in cells
    assert ["2", "striped", "0", "–", "–"] in cells
    assert ["job", "a|b"] in cells
    assert json.loads((tmp_path / "input.json").read_text()) == {
        "shape": [18, 18, 3],
        "dtype": "uint8",
        "encoding": "jpeg",
    }


def test_drawn_shapes_are_called_so_on_the_first_line(tmp_path: Path) -> None:
    text = card(tmp_path, ImageDatasetInfo(SHAPE, CLASSES, source="synthetic"))
    assert "drawn shapes (a synthetic stand-in, NOT photographs)" in text.splitlines()[0]


def test_a_stopped_jobs_card_claims_no_evaluation(tmp_path: Path) -> None:
    text = card(tmp_path, INFO, None)
    assert "75.0% of validation pictures recognised after epoch 1" in text.splitlines()[0]
    assert "The job was stopped" in text
    assert "recall" not in text


@given(st.text(min_size=1))
@example("# [x](y) <b>&amp;</b> `a` *b* | _c_ ![d](e) \\")
@example("www.example.com http://example.com a@example.com ~~x~~ $y$")
@example("line\nline\r\u2028\x1b[2J\u202e")
def test_any_name_stands_for_itself(name: str) -> None:
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    tokens = MARKDOWN.parse(f"| a | b |\n| --- | --- |\n| x | {escape(name)} |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert all(child.type in ("text", "text_special") for child in cells[3].children or ())
    shown = "".join(child.content for child in cells[3].children or ())
    assert shown == printable.strip()


def test_what_means_nothing_is_not_escaped() -> None:
    """People read the card as it is, too."""
    plain = "train:Pipe 2026-11-27 10:30 cv-keras-cifar10:local"
    assert escape(plain) == plain
    assert escape("https://a.b :tada:") == "https\\://a.b \\:tada:"


# what it tells to type


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what model.tar.gz holds, and a picture of another size that lies on its side."""
    folder = tmp_path_factory.mktemp("model")
    info = ImageDatasetInfo(SHAPE, CLASSES)
    export_model(build_model(Hyperparameters(), info), info, folder)
    card(folder, info)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(examples(1)[0][0]).resize((50, 30)).save(folder / "picture.jpg", exif=exif)
    return folder


@pytest.fixture(scope="module")
def told(model: Path) -> dict[str, Any]:
    """What this project says of the picture."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([str(model), str(model / "picture.jpg"), "--json"]) == 0
    return json.loads(out.getvalue())


WITHOUT_THIS_PROJECT = """
import sys

class NotThere:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "train":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotThere())
"""


def type_in(folder: Path, *blocks: str) -> str:
    """Python without this project, in the model's folder."""
    command = [sys.executable, "-I", "-c", "\n".join((WITHOUT_THIS_PROJECT, *blocks))]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_in_python(model: Path, told: dict[str, Any]) -> None:
    load, use, *_ = read_blocks((model / "model-card.md").read_text())
    name, probability = type_in(model, load, use).split()
    assert name == told["class"]
    assert float(probability) == pytest.approx(told["probability"], abs=1e-6)


class Serving:
    """The REST interface of TensorFlow Serving, as its page documents it, on the SavedModel's own protocol buffer:
    `instances` by rows for the one input, or by names; tensors fed and fetched by the names in the signature."""

    def __init__(self, folder: Path) -> None:
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._session = tf.compat.v1.Session()
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signature = loaded.signature_def["serving_default"]

    def predict(self, body: bytes) -> dict[str, Any]:
        instances = json.loads(body)["instances"]
        inputs, outputs = self.signature.inputs, self.signature.outputs
        if isinstance(instances[0], dict):
            columns = {name: [instance[name] for instance in instances] for name in inputs}
        else:
            columns = dict.fromkeys(inputs, instances)
        feed = {
            inputs[name].name: np.array(column, tf.dtypes.as_dtype(inputs[name].dtype).as_numpy_dtype)
            for name, column in columns.items()
        }
        found = self._session.run({name: output.name for name, output in outputs.items()}, feed)
        rows = ({name: _to_json(value) for name, value in zip(found, row, strict=True)} for row in zip(*found.values()))  # noqa: B905
        return {"predictions": list(rows)}


def _to_json(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.tolist()


@pytest.fixture(scope="module")
def serving(model: Path) -> Serving:
    return Serving(model / "1")


@pytest.fixture
def address(serving: Serving) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/models/model:predict"
            answer = json.dumps(serving.predict(self.rfile.read(int(self.headers["Content-Length"])))).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join(100)


def test_with_tensorflow_serving(model: Path, told: dict[str, Any], address: str) -> None:
    load, _, send, *_ = read_blocks((model / "model-card.md").read_text())
    assert "localhost:8501" in send
    assert type_in(model, load, send.replace("localhost:8501", address)) == told["class"]


def test_the_signature_is_what_a_server_reads(model: Path, serving: Serving) -> None:
    """From the SavedModel's protocol buffer; a server batches requests, so that the first size must be free."""
    signature = serving.signature
    assert signature.method_name == "tensorflow/serving/predict"
    shapes = {
        name: ([size.size for size in info.tensor_shape.dim], tf.dtypes.as_dtype(info.dtype).name)
        for name, info in [*signature.inputs.items(), *signature.outputs.items()]
    }
    assert shapes == {
        "image": ([-1, 18, 18, 3], "uint8"),
        "probabilities": ([-1, 3], "float32"),
        "label": ([-1], "int64"),
        "class": ([-1], "string"),
    }
    images, _ = examples(16)
    rows = images.tolist()
    by_name = serving.predict(json.dumps({"instances": [{"image": row} for row in rows]}).encode())
    assert by_name == serving.predict(json.dumps({"instances": rows}).encode())
    expected = tf.keras.models.load_model(model / "model.keras")(images).numpy()
    told = by_name["predictions"]
    np.testing.assert_allclose([one["probabilities"] for one in told], expected, atol=1e-5)
    assert [one["label"] for one in told] == expected.argmax(axis=1).tolist()
    assert [one["class"] for one in told] == [CLASSES[one["label"]] for one in told]


def test_on_sagemaker(model: Path, told: dict[str, Any], serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto, which keeps what it is told; the answer of the endpoint is TensorFlow Serving's."""
    import boto3
    import requests
    from moto import mock_aws

    monkeypatch.chdir(model)
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }.items():
        monkeypatch.setenv(name, value)
    load, _, _, create, invoke = read_blocks((model / "model-card.md").read_text())
    with mock_aws():
        exec(create.replace("<role>", "arn:aws:iam::123456789012:role/r"), {})
        assert boto3.client("sagemaker").describe_endpoint(EndpointName="pictures")["EndpointStatus"] == "InService"
        names: dict[str, Any] = {}
        exec(load, names)
        answer = serving.predict(json.dumps({"instances": names["images"].tolist()}).encode())
        queued = {"Body": json.dumps(answer), "ContentType": "application/json"}
        requests.post(
            "http://motoapi.amazonaws.com/moto-api/static/sagemaker/endpoint-results",
            json={"account_id": "123456789012", "region": "eu-west-1", "results": [queued]},
            timeout=10,
        )
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(invoke, names)
    assert out.getvalue().strip() == told["class"]
