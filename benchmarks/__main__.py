"""`python -m benchmarks`: every benchmark, each in a process of its own, as tables."""

import subprocess
import sys
from pathlib import Path

HELPERS = {"__init__", "__main__", "data", "measure"}


def main() -> int:
    """0 if all of them ran."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    done = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]) for name in names]
    failed = [name for name, result in zip(names, done, strict=True) if result.returncode]
    for name in failed:
        print(f"benchmark {name} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
