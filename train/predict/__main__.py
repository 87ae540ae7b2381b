"""What a trained model says of pictures: class and probability, the likeliest first.

A picture of any size and mode is turned upright, scaled to cover the model's input and cropped, as in training. Exit
codes: 0; 1 if the model or a picture can't be read (the others are told all the same); 2 wrong usage.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.runtime.signals import heed_ctrl_c

if TYPE_CHECKING:
    import numpy as np

    from train.predict.model import Model

_GROUP = 64  # pictures that the model gets together


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        return _predict(args)
    except ModuleNotFoundError as missing:
        _complain(f"{missing.name} is not installed for this Python ({sys.executable}). Run make env, or use the image")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # a reader that has had enough, such as head; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.predict", description=__doc__)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="model.tar.gz, the folder that it unpacks to, or a job's folder")
    add("pictures", nargs="+", metavar="PICTURE", help="a file, or a folder of them")
    add("--top", type=int, default=3, metavar="N", help="classes told of each picture (3)")
    add("--json", action="store_true", help="a JSON object a line: picture, class, probability, top; or picture, error")
    # where the caller sees the pictures elsewhere: a JSON list of their names
    add("--shown", type=json.loads, help=argparse.SUPPRESS)
    return parser


def _predict(args: argparse.Namespace) -> int:
    with _hush():
        from train.errors import TrainingError  # here: what is not installed is told in a line
        from train.predict.model import open_model

    failed = 0
    try:
        with ExitStack() as stack:
            with _hush():
                model = stack.enter_context(open_model(args.model))
            pictures = _read(args, model)
            while group := list(itertools.islice(pictures, _GROUP)):
                for name, result in _classify(group, model, args.top):
                    failed += "error" in result
                    _tell(name, result, args.json)
    except TrainingError as error:
        _complain(str(error))
        return 1
    return int(failed > 0)


@contextmanager
def _hush() -> Iterator[None]:
    """Drops what TensorFlow's libraries write to standard error meanwhile: notes that no variable turns off."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, by its name
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _read(args: argparse.Namespace, model: "Model") -> Iterator[tuple[str, "np.ndarray | str"]]:
    """Every picture's name, and its pixels or why there are none."""
    from train.errors import DataError
    from train.predict.pictures import find_pictures, read_picture

    for path, shown in zip(args.pictures, args.shown or args.pictures, strict=True):
        name = shown
        try:
            for found in find_pictures(path):
                name = shown + found[len(path) :]
                try:
                    yield name, read_picture(found, model.shape, model.encoding)
                except DataError as error:
                    yield name, str(error)
        except DataError as error:
            yield shown, str(error)


def _classify(
    group: list[tuple[str, "np.ndarray | str"]], model: "Model", top: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    import numpy as np

    images = [image for _, image in group if not isinstance(image, str)]
    rows = iter(model.predict(np.stack(images)) if images else ())
    for name, image in group:
        if isinstance(image, str):
            yield name, {"error": image}
            continue
        row = next(rows)
        best = [
            {"class": model.classes[label], "probability": float(row[label])}
            for label in np.argsort(-row, kind="stable")[: max(1, top)].tolist()
        ]
        yield name, {**best[0], "top": best}


def _tell(name: str, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps({'picture': name, **result})}\n")
    elif "error" in result:
        _complain(f"{name}: {result['error']}")
    else:
        parts = (f"{one['class']} {one['probability']:.1%}" for one in result["top"])
        sys.stdout.write(f"{_printable(name)}: {_printable(', '.join(parts))}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"predict: {_printable(line)}\n")


def _printable(text: str) -> str:
    """Names of files and classes, for a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


if __name__ == "__main__":
    heed_ctrl_c()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a path may hold what it can't show
    sys.exit(main())
