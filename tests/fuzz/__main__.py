"""`python -m tests.fuzz [TARGET…] [--seconds N]`: coverage-guided fuzzing (atheris) of what reads bytes from outside.

Begins with the corpus; an input that breaks a rule is written to --findings, from where it belongs into the corpus.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_INPUT_SECONDS, _MEMORY_MB = 60, 4096  # above is a finding
_PROCESS_SECONDS = 25


def main() -> int:
    """0 if nothing was found."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", choices=[[], *TARGETS], default=[], metavar="TARGET", help=", ".join(TARGETS)
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the search, which is the same each time (default: 1)")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder (default: findings)")
    arguments = parser.parse_args()
    arguments.findings.mkdir(parents=True, exist_ok=True)
    names, options = arguments.targets or TARGETS, (arguments.seconds, arguments.seed, arguments.findings)
    failed = [name for name in names if not _fuzzed(name, *options)]
    sys.stdout.write(f"found something in: {', '.join(failed)}\n" if failed else "nothing found\n")
    return 1 if failed else 0


def _fuzzed(target: str, seconds: int, seed: int, findings: Path) -> bool:
    """In processes of its own, which libFuzzer ends; a new one now and then, since atheris grows by the second."""
    with tempfile.TemporaryDirectory() as grown:
        for start in range(0, seconds, _PROCESS_SECONDS):
            options = [
                f"-max_total_time={min(_PROCESS_SECONDS, seconds - start)}", f"-timeout={_INPUT_SECONDS}",
                f"-rss_limit_mb={_MEMORY_MB}", f"-artifact_prefix={findings}/{target}-", "-print_final_stats=1",
                "-max_len=2048", f"-seed={seed + start}",
            ]  # fmt: skip
            command = [sys.executable, "-m", "tests.fuzz.one", target, *options, grown, str(CORPUS / target)]
            # the order of sets is part of a search: with it, the same seed finds the same
            environment = {**os.environ, "PYTHONHASHSEED": "0"}
            if subprocess.run(command, env=environment, timeout=_PROCESS_SECONDS + 200).returncode:
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
