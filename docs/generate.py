"""`python -m docs.generate`: writes what the code knows between its marks, `<!-- name -->` and `<!-- /name -->`.

Hyperparameters and the level of support are tables; the folders of `train/` and `local_test/` are listed in the order
in which they may import each other.
"""

import argparse
import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from botocore.model import Shape

from local_test.pipelines.step_types import REFUSED as REFUSED_STEPS
from local_test.pipelines.step_types import STEP_TYPES
from local_test.request.processing import PROCESSING_SUPPORT
from local_test.request.support import TRAINING_SUPPORT, Support
from local_test.request.validation import service_model
from local_test.server.mocked_operations import STORED
from train.runtime.hyperparameters import describe
from train.script_mode.support import GIVEN, HYPERPARAMETERS, VARIABLES

PAGES = Path(__file__).parent
ROOT = PAGES.parent
# a folder or module may import those before it, never those after it
LAYERS: Mapping[str, str] = {
    "train": (
        "errors runtime records input_pipeline modeling distributed outputs trainer script_mode predict pipe evaluate "
        "entrypoint"
    ),
    "local_test": (
        "errors util request data runners hosts training processing experiments tuning pipelines executions aws api "
        "page places server cli __main__"
    ),
}


def format_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    cells = [tuple(head), ("---",) * len(tuple(head)), *map(tuple, rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def list_hyperparameters() -> str:
    rows = ((f"`{name}`", f"`{default}`", meaning) for name, default, meaning in describe())
    return format_table(("name", "default", "meaning"), rows)


def list_effects(effects: Mapping[str, str]) -> str:
    """What script mode does with what the toolkit knows."""
    return format_table(("name", "effect"), ((f"`{name}`", effect) for name, effect in effects.items()))


def list_acted_on(support: Support) -> str:
    """Members, and the values that are supported of those which don't take all."""
    values = support.values
    rows = ((f"`{path}`", values[path][1] if path in values else "all") for path in sorted(support.acted_on))
    return format_table(("member", "values"), rows)


def list_ignored(support: Support) -> str:
    return format_table(("member", "values"), ((f"`{path}`", "all") for path in sorted(support.ignored)))


def list_refused(support: Support) -> str:
    return "\n".join(f"- `{path}`" for path in find_refused(support))


def list_step_types() -> str:
    """Step types of pipelines: what a step of each calls or does, or why it is refused and the way out."""
    own = {
        "Condition": "chooses the steps of one branch",
        "Fail": "ends the execution, with its message as FailureReason",
        "Callback": "sends a message to its SQS queue, and waits for `SendPipelineExecutionStepSuccess` or `…Failure`",
    }
    acted_on = {name: own.get(name, f"`{kind.operation}`") for name, kind in STEP_TYPES.items()}
    refused = {name: f"refused. {way_out}" for name, way_out in REFUSED_STEPS.items()}
    return format_table(("type", "does"), ((f"`{name}`", text) for name, text in {**acted_on, **refused}.items()))


def find_refused(support: Support) -> list[str]:
    """The members that are refused, each by the outermost one of which nothing is supported."""
    shape = service_model().operation_model(support.operation).input_shape
    return sorted(_walk(shape, "", support.acted_on | support.ignored))


def _walk(shape: Shape, path: str, known: frozenset[str]) -> Iterator[str]:
    if path in known:
        return
    if path and not any(member.startswith((f"{path}.", f"{path}[")) for member in known):
        yield path
    elif shape.type_name == "list":
        yield from _walk(shape.member, f"{path}[]", known)
    else:
        for name, member in shape.members.items():
            yield from _walk(member, f"{path}.{name}" if path else name, known)


def list_folders(package: str) -> str:
    """A package's folders in their order: what each is for, and its modules."""
    folders = [ROOT / package / name for name in LAYERS[package].split() if (ROOT / package / name).is_dir()]
    rows = ((f"`{package}/{folder.name}/`", *_describe_folder(folder)) for folder in folders)
    return format_table(("folder", "what it is", "modules"), rows)


def _describe_folder(folder: Path) -> tuple[str, str]:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = sorted(path.stem for path in folder.glob("[!_]*.py"))
    return docstring.partition("\n")[0], ", ".join(f"`{module}`" for module in modules)


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "hyperparameters.md": {"hyperparameters": list_hyperparameters},
    "api-support.md": {
        "acted-on": lambda: list_acted_on(TRAINING_SUPPORT),
        "ignored": lambda: list_ignored(TRAINING_SUPPORT),
        "refused": lambda: list_refused(TRAINING_SUPPORT),
        "processing-acted-on": lambda: list_acted_on(PROCESSING_SUPPORT),
        "processing-ignored": lambda: list_ignored(PROCESSING_SUPPORT),
        "processing-refused": lambda: list_refused(PROCESSING_SUPPORT),
        "stored": lambda: ", ".join(f"`{operation}`" for operation in sorted(STORED)),
    },
    "pipelines.md": {"step-types": list_step_types},
    "scripts.md": {
        "script-hyperparameters": lambda: list_effects(HYPERPARAMETERS),
        "script-variables": lambda: list_effects(VARIABLES),
        "script-given": lambda: ", ".join(f"`{name}`" for name in GIVEN),
    },
    "architecture.md": {
        "train": lambda: list_folders("train"),
        "local_test": lambda: list_folders("local_test"),
    },
}


def generate(page: str) -> str:
    """The page's text with its tables as the code has them now."""
    text = (PAGES / page).read_text()
    for name, write in TABLES[page].items():
        marks = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(marks, lambda found: f"{found[1]}\n{write()}\n\n{found[2]}", text, flags=re.DOTALL)  # noqa: B023
        assert count == 1, f"{page} must have the marks of {name} once. Received: {count}"
    return text


def main() -> None:
    argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__).parse_args()
    for page in TABLES:
        (PAGES / page).write_text(generate(page))


if __name__ == "__main__":
    main()
