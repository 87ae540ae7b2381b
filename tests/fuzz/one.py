"""One target until libFuzzer's limit: `python -m tests.fuzz.one TARGET [libFuzzer's options] FOLDER…`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atheris

with atheris.instrument_imports(include=["train"]):
    from tests.fuzz import targets

if __name__ == "__main__":
    target = sys.argv[1]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: targets.check(target, data))
    atheris.Fuzz()
