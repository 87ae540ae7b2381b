"""The walls of the house: who may import whom, and that what is named in one place is what is meant in another."""

import ast
import re
from pathlib import Path

import pytest

from docs.generate import LAYERS

ROOT = Path(__file__).parent.parent
PACKAGES = ("dataset", "train", "local_test", "launch")
MOST_FILES = 12  # modules a folder
EXAMPLE = ROOT / "launch/examples/script_mode.py"


def modules(path: Path) -> set[str]:
    """Dotted names of what a file imports, wherever in it: `a.b` for `import a.b` and for `from a import b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.partition(".")[0] for name in modules(path)}


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_only_upwards(package):
    layers = ["__init__", *LAYERS[package].split()]
    files = {
        path: path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in (ROOT / package).rglob("*.py")
    }
    assert set(files.values()) == set(layers)
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, layer in files.items()
        for name in modules(path)
        if name.startswith(f"{package}.") and layers.index(name.split(".")[1]) > layers.index(layer)
    ]
    assert wrong == []


def test_a_folder_is_small_enough_to_read():
    for folder in {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}:
        assert (
            len({path for path in folder.iterdir() if path.suffix in (".py", ".c")} - {folder / "__init__.py"})
            <= MOST_FILES
        )


def test_no_test_imports_another_test():
    """What several need lies in `tests/support`, or in a folder's conftest.py."""
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in modules(path)
        if name.startswith("tests.") and re.search(r"\.test_\w+", name)
    }
    assert wrong == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_share_nothing_but_files(package):
    """`/opt/ml`, the API and shards are all that the parts have in common."""
    others = set(PACKAGES) - {package}
    for path in set((ROOT / package).rglob("*.py")) - {EXAMPLE}:
        assert not imported(path) & others, path


def test_the_example_script_uses_the_scripts_interface_alone():
    """It lies in `launch/` as what a job sends, but runs inside the image: there `train.pipe` is all it may know."""
    ours = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(EXAMPLE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and set(PACKAGES) & set(ast.unparse(node).replace(".", " ").split())
    ]
    assert ours == ["from train import pipe"]


def test_the_drop_in_needs_nothing_but_the_training_program():
    """It goes into the image with `train/`, which does not know it."""
    for path in (ROOT / "sagemaker_tensorflow").rglob("*.py"):
        assert not imported(path) & (set(PACKAGES) - {"train"}), path
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert "sagemaker_tensorflow" not in imported(path), path


def test_a_process_gets_the_images_environment():
    from local_test.runners.process import PROGRAM

    final = (ROOT / "container/Dockerfile").read_text().rpartition("FROM ")[2]
    image = dict(re.findall(r"^(?:ENV|   ) ?(\w+)=(\S+)", final, flags=re.MULTILINE))
    own = ("PATH", "PYTHONPATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES")  # of a container alone
    assert {name: value for name, value in image.items() if name not in own} == PROGRAM


def test_only_the_places_meant_for_it_print():
    """Metric lines have one source; others are `step=1`, and how far a job is where somebody watches it."""
    printing = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "train").rglob("*.py")
        if any(
            isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    expected = {"train/outputs/metric_lines.py", "train/trainer/trainer.py", "train/trainer/progress_lines.py"}
    assert printing == expected


def test_copies_across_the_packages_are_equal() -> None:
    """Packages import nothing from each other: what guards a terminal, what limits an archive's names, and what makes a
    picture the model's input, stands in several, and must not drift apart."""
    names = (
        *("printable", "begin_program", "_report", "_Unread", "fit", "format_seconds"),
        *("is_picture", "is_kept", "_orientation", "pixels", "to_rgb"),
        *("ticks", "round_out", "format_tick"),
        *("_Entry", "_ATTRIBUTES", "_MAX_ATTRIBUTES"),
    )
    copies: dict[str, set[str]] = {name: set() for name in names}
    consoles = ("dataset/console.py", "launch/core/console.py", "local_test/util/console.py")
    axes = ("local_test/tuning/axes.py", "train/outputs/axes.py")
    archives = ("dataset/sources/archives.py", "local_test/places/service.py", "train/predict/model.py")
    for path in (*consoles, *axes, *archives, "dataset/sources/decode.py", "train/predict/pictures.py"):
        for node in ast.parse((ROOT / path).read_text()).body:
            name = getattr(node, "name", None) or (ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else "")
            if name in copies:
                copies[name].add(ast.unparse(node))
    assert {name: len(found) for name, found in copies.items()} == dict.fromkeys(copies, 1)
