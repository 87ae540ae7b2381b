"""What goes with the model for those who use it: model-card.md, and input.json for `python -m train.predict`."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from train.errors import TrainingError
from train.outputs.evaluation import Evaluation
from train.runtime.atomic_files import write_text
from train.runtime.dataset_info import ImageDatasetInfo

CLASSES, INPUT, CARD = "classes.json", "input.json", "model-card.md"
# what can begin something in the middle of a line, in CommonMark or GitHub's; a backslash makes it stand for itself
_MARKS = re.compile(r"[\\`*_{}\[\]()<>#!|~&@$]|:(?=//|[\w+-]+:)|(?<=www)\.", re.IGNORECASE)
_RECORDS = {"raw": "raw pixels", "jpeg": "JPEG files, or PNG files where these are smaller", "png": "PNG files"}


def write_model_card(
    folder: Path,
    info: ImageDatasetInfo,
    history: Sequence[Mapping[str, float]],
    evaluation: Evaluation | None,
    facts: Mapping[str, str],
) -> None:
    """Write both files beside the exported model, each whole or not at all. `evaluation` is None for a stopped job."""
    described = {"shape": info.shape, "dtype": "uint8", "encoding": info.encoding}
    sections = (
        f"# {_title(info, history, evaluation)}",
        _describe_data(info),
        _describe_accuracy(info, history, evaluation),
        _describe_input(info),
        _USE.format(load=_load(info)),
        "## Training\n\n" + _rows(("setting", "value"), (map(escape, fact) for fact in facts.items())),
    )
    try:
        write_text(folder / INPUT, json.dumps(described))
        write_text(folder / CARD, "\n\n".join(sections) + "\n")
    except OSError as error:
        raise TrainingError(f"The model card can't be written to {folder}: {error.strerror}") from error


def escape(text: object) -> str:
    """Text as Markdown shows it literally, on one line: names of classes may hold anything."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return _MARKS.sub(r"\\\g<0>", printable)


def _title(info: ImageDatasetInfo, history: Sequence[Mapping[str, float]], evaluation: Evaluation | None) -> str:
    drawn = " of drawn shapes (a synthetic stand-in, NOT photographs)" if info.is_drawn else ""
    if evaluation:
        share, extent = evaluation.accuracy, f"{evaluation.examples:,} validation pictures recognised"
    else:
        share, extent = history[-1]["validation_accuracy"], f"validation pictures recognised after epoch {len(history)}"
    return f"Picture classifier{drawn}: {len(info.classes)} classes, {share:.1%} of {extent}"


def _describe_data(info: ImageDatasetInfo) -> str:
    source = escape(info.source) if info.source else "not known: the job had no `dataset` channel"
    lines = [f"## Data\n\nSource: {source}."]
    if info.is_drawn:
        lines.append("**The pictures are drawn shapes: the accuracy says nothing of photographs.**")
    if info.note:
        lines.append(f"Note: {escape(info.note)}.")
    if info.train_examples:
        lines.append(f"Pictures to train on: {info.train_examples:,}.")
    return "\n\n".join(lines)


def _describe_accuracy(
    info: ImageDatasetInfo, history: Sequence[Mapping[str, float]], evaluation: Evaluation | None
) -> str:
    if not evaluation:
        names = ((index, escape(name)) for index, name in enumerate(info.classes))
        stopped = f"The job was stopped: the figures are those of epoch {len(history)}, its last whole one."
        return f"## Accuracy and classes\n\n{stopped}\n\n" + _rows(("label", "class"), names)
    head = (
        f"## Accuracy and classes\n\n{evaluation.accuracy:.2%} of {evaluation.examples:,} validation pictures, which "
        f"training did not see; loss {evaluation.loss:.4f}. Recall: the share of a class's pictures that is "
        "recognised; precision: the share of its predictions that is right.\n\n"
    )
    counts = evaluation.confusion.sum(axis=1).tolist()
    shares = (map(_percent, values.tolist()) for values in (evaluation.recall(), evaluation.precision()))
    rows = zip(range(len(counts)), map(escape, info.classes), map("{:,}".format, counts), *shares, strict=True)
    return head + _rows(("label", "class", "pictures", "recall", "precision"), rows)


def _describe_input(info: ImageDatasetInfo) -> str:
    height, width, channels = info.shape
    colours = "grey" if channels == 1 else "red, green, blue"
    return f"""## Input and output

`serving_default` takes `image`: uint8, (n, {height}, {width}, {channels}), {colours}, 0 to 255 as a picture has them: \
the model scales them itself. It returns `probabilities` (n, {len(info.classes)}) float32, `label` (n,) int64 and \
`class` (n,) string.

A picture of another size is turned upright by its EXIF orientation, put on white where it is transparent, scaled \
(Lanczos) to cover {height}×{width} pixels, and what juts out is cut off evenly: as `python -m dataset prepare` did. \
The records held {_RECORDS[info.encoding]}."""


def _load(info: ImageDatasetInfo) -> str:
    height, width, channels = info.shape
    array = 'np.asarray(picture.convert("L"))[..., None]' if channels == 1 else "np.asarray(picture)"
    return f"""import numpy as np
from PIL import Image, ImageOps

picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
picture = ImageOps.fit(picture, ({width}, {height}), Image.Resampling.LANCZOS)
images = np.stack([{array}])"""


_USE = """## Use

With this project, from `model.tar.gz`, its folder, or the job's:

```sh
python -m local_test predict model.tar.gz picture.jpg
```

Without it, a picture becomes the model's input so:

```python
{load}
```

In Python, with TensorFlow alone, beside the unpacked `1/`:

```python
import tensorflow as tf

model = tf.saved_model.load("1").signatures["serving_default"]
answer = model(image=tf.constant(images))
print(answer["class"][0].numpy().decode(), float(answer["probabilities"][0].numpy().max()))
```

TensorFlow Serving, where the unpacked `1/` is in this folder:

```sh
docker run -p 8501:8501 -v "$PWD:/models/model" tensorflow/serving
```

```python
import json
import urllib.request

body = json.dumps({{"instances": images.tolist()}}).encode()
with urllib.request.urlopen("http://localhost:8501/v1/models/model:predict", body) as answer:
    print(json.load(answer)["predictions"][0]["class"])
```

SageMaker hosting takes `model.tar.gz` as it is, in AWS's `tensorflow-inference` images:

```python
import boto3

sagemaker = boto3.client("sagemaker")
container = {{"Image": "<tensorflow-inference image>", "ModelDataUrl": "<s3://… of model.tar.gz>"}}
sagemaker.create_model(ModelName="pictures", ExecutionRoleArn="<role>", PrimaryContainer=container)
variant = {{"VariantName": "all", "ModelName": "pictures", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}}
sagemaker.create_endpoint_config(EndpointConfigName="pictures", ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName="pictures", EndpointConfigName="pictures")
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="pictures")
```

```python
import json

import boto3

answer = boto3.client("sagemaker-runtime").invoke_endpoint(
    EndpointName="pictures", ContentType="application/json", Body=json.dumps({{"instances": images.tolist()}})
)
print(json.load(answer["Body"])["predictions"][0]["class"])
```"""


def _rows(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; cells are Markdown already."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.1%}"
