"""Imports of the package that lies beside this one, where a user's module has its name."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def import_beside(package: str) -> Iterator[None]:
    """Meanwhile `package` is the folder beside this one, whatever comes first on sys.path; then it is as before.

    A script's own train.py, the commonest name there is, hides `train` otherwise. Modules that are imported here keep
    what they have imported; they must import nothing from `package` later, inside a function.
    """
    folder = str(Path(__file__).parents[1] / package)
    found = importlib.util.find_spec(package)
    if found and folder in (found.submodule_search_locations or ()):
        yield
        return
    users = _take_out(package)
    spec = importlib.util.spec_from_file_location(package, f"{folder}/__init__.py", submodule_search_locations=[folder])
    assert spec and spec.loader
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[package])
        yield
    finally:
        _take_out(package)
        sys.modules.update(users)


def _take_out(package: str) -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
