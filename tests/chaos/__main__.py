"""`python -m tests.chaos [--minutes N]`: a server and its jobs, while everything breaks.

Random: kill -9 of the server and of containers, orderly restarts, the engine's connection cut, the disk full, slow
peers, jobs of every kind. At the end it says whether a job, an object of S3, a container, a network, a process or a
traceback is there that should not be, or is not there. Exits with 0 if all is well.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.platform import Platform
from tests.chaos.run import Chaos
from tests.support.engine_relay import engine_answers


def main() -> int:
    """0 if nothing is lost and nothing is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server, too
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10, help="for faults; the end takes a minute more (default: 10)"
    )
    parser.add_argument("--seed", type=int, help="of what happens when (default: another each time)")
    parser.add_argument("--runner", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="copy the server's own words there")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}\n")
    containers = arguments.runner == "docker" or (arguments.runner == "auto" and engine_answers())
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder), containers) as platform:
        chaos = Chaos(platform, random.Random(seed))
        try:
            problems = chaos.run(time.monotonic() + 60 * arguments.minutes)
        finally:
            if arguments.keep:
                arguments.keep.write_bytes(platform.log.read_bytes())
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{chaos.summary()}\n")
    if not problems:
        sys.stdout.write("no lost job, no lost object, no container, no network, no process, no traceback\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
