"""The image against a naive one: size, and time from the start of a container to its first training step.

Both are built on the same base; both train the tutorial's CNN on the same 512 records, in File mode, at batch 128. The
naive image (benchmarks/naive) runs a user's script in the toolkit's script mode. Runs are interleaved, so that whatever
else the machine does falls on both; the first pair, which reads the images from disk, is not counted.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from benchmarks.measure import (
    ROOT,
    describe_rounds,
    format_spread,
    make_parser,
    print_table,
    ratios,
    run_rounds,
    write_job,
)
from dataset import tfrecord

IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
BASE_LABEL = "org.opencontainers.image.base.name"
RECORDS = 512
BUILD_LIMIT_S = 3600
RUN_LIMIT_S = 180


@dataclass(frozen=True)
class Image:
    """`mark` begins the line that a container prints after its first training step."""

    name: str
    mark: str


OURS = Image(IMAGE, "step=1 ")
NAIVE = Image("cv-keras-cifar10:naive", "first step")


def build() -> None:
    """Both images; unchanged ones come from the engine's cache."""
    run(ROOT / "container/build.sh")
    base = output("docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{BASE_LABEL}"}}}}', OURS.name)
    run("docker", "build", "--quiet", "--build-arg", f"BASE={base}", "--tag", NAIVE.name, ROOT / "benchmarks/naive")


def size(image: Image) -> int:
    """Bytes, all layers."""
    return int(output("docker", "image", "inspect", "--format", "{{.Size}}", image.name))


def seconds_to_first_step(image: Image, optml: Path) -> float:
    """From the start of `docker run` to the marked line. Script mode waits until the host of the job has an address."""
    name = f"benchmark-image-{uuid.uuid4().hex[:12]}"
    command = ["docker", "run", "--rm", "--name", name, "--hostname", "algo-1"]
    command += [f"--volume={folder}:/opt/ml/{folder.name}" for folder in sorted(optml.iterdir())]
    began = time.monotonic()
    with subprocess.Popen([*command, image.name, "train"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        limit = Timer(RUN_LIMIT_S, remove, [name])
        limit.start()
        assert process.stdout
        try:
            return time_to_mark(image, process.stdout, began)
        finally:
            limit.cancel()
            remove(name)


def time_to_mark(image: Image, lines: Iterable[bytes], began: float) -> float:
    """Seconds from `began` to the marked line; exits with what was printed if it never comes."""
    printed = []
    for line in lines:
        if line.decode(errors="replace").startswith(image.mark):
            return time.monotonic() - began
        printed.append(line.decode(errors="replace"))
    sys.exit(f"{image.name} ended, or ran {RUN_LIMIT_S} s, without a line '{image.mark}…':\n{''.join(printed[-20:])}")


def remove(container: str) -> None:
    """Kill and remove, if it is still there."""
    subprocess.run(["docker", "rm", "--force", container], capture_output=True, timeout=60, check=False)


@contextmanager
def optml_tree() -> Iterator[Path]:
    """/opt/ml of a job in File mode: `input`, writable `model` and `output`. Pictures are noise: only time counts."""
    root = Path(tempfile.mkdtemp(prefix="benchmark-image-"))
    try:
        channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
        settings = {"epochs": "1", "batch-size": "128", "model": "tutorial"}
        write_job(root, {"train": channel, "validation": channel}, settings)
        for name in ("train", "validation"):
            folder = root / "input/data" / name
            folder.mkdir()
            (folder / f"{name}-00000-of-00001.tfrecord").write_bytes(b"".join(records()))
        (root / "model").mkdir()
        (root / "output/data").mkdir(parents=True)
        yield root
    finally:
        shutil.rmtree(root)


def records() -> Iterator[bytes]:
    """Framed examples of 32×32×3 pictures."""
    noise = random.Random(0)
    for number in range(RECORDS):
        yield tfrecord.frame(tfrecord.example(noise.randbytes(32 * 32 * 3), number % 10))


def run(*command: str | Path) -> None:
    """A command whose output is for whoever watches."""
    subprocess.run(command, stdout=sys.stderr, timeout=BUILD_LIMIT_S, check=True)


def output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout.strip()


def main() -> None:
    """Print the table."""
    rounds = make_parser(__doc__, 7).parse_args().rounds
    build()
    with optml_tree() as optml:
        starts = {image.name: (lambda image=image: seconds_to_first_step(image, optml)) for image in (OURS, NAIVE)}
        seconds = run_rounds(starts, rounds, warm=True)  # the first reads the images from disk
    ours, naive = seconds[OURS.name], seconds[NAIVE.name]
    sizes = size(OURS) / 1e6, size(NAIVE) / 1e6
    rows = [
        ["size, MB", f"{sizes[0]:,.0f}", f"{sizes[1]:,.0f}", f"{sizes[0] / sizes[1]:.2f}"],
        ["start to first step, s", *(format_spread(taken, ".2f") for taken in (ours, naive, ratios(ours, naive)))],
    ]
    print_table(f"Image, starts; {describe_rounds(seconds)}", ["", "this image", "naive image", "ratio"], rows)


if __name__ == "__main__":
    main()
