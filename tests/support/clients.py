"""A local API with data in a bucket, and the four clients as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.missing import missing
from tests.support.programs import write_executable
from tests.support.served import ROOT, Served

BUCKET = "launch-bucket"
PREFIX = "cv_keras_cifar10"
# plays the training program: the metric lines, what it has read from its FIFO, a model
PROGRAM = f"""#!{sys.executable} -I
import json, os, signal, sys
from pathlib import Path
BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
given = json.loads((BASE / "input/config/hyperparameters.json").read_text())
if given.get("model") == "waits":
    print("waiting", flush=True)
    signal.pause()
if given.get("model") == "fails":
    (BASE / "output/failure").write_text("it was to fail")
    sys.exit(3)
read = len((BASE / "input/data/train_0").read_bytes())
rate = float(given.get("learning-rate", 0.0005))
print(f"epoch=1 step={{read}} train:loss=1.5 train:accuracy=0.25 validation:loss=1.25 "
      f"validation:accuracy={{0.5 + rate:.6f}} images/s=1000.0", flush=True)
(BASE / "model/read").write_text(str(read))
"""


@dataclass(frozen=True)
class Client:
    """One way to launch: the command's beginning."""

    name: str
    command: tuple[str, ...]
    prints_log: bool = True

    def arguments(self, command: str, **options: str | bool) -> list[str]:
        """The command line; True is a flag, an empty value leaves an option out."""
        given = {"image": "an-image", "role": "local", "bucket": BUCKET, **options}
        parts = [
            [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
            for name, value in given.items()
            if value
        ]
        return [*self.command, command, *(word for part in parts for word in part)]


def sdk_python(version: str) -> str:
    """The interpreter of that SDK's own environment."""
    return str(ROOT / f".venv-sdk-{version}/bin/python")


CLIENTS = [
    Client("boto3_client", (sys.executable, "-m", "launch.boto3_client")),
    Client("aws_cli", ("bash", str(ROOT / "launch/aws_cli.sh")), prints_log=False),
    Client("sdk_v2", (sdk_python("v2"), "-m", "launch.sdk_v2")),
    Client("sdk_v3", (sdk_python("v3"), "-m", "launch.sdk_v3")),
]


# the SDKs' environments take minutes to make, and seconds to import
QUICK = CLIENTS[:2]


def require_client(client: Client) -> Client:
    """The client, if this machine has it."""
    interpreter = Path(client.command[0])
    if interpreter.is_absolute() and not interpreter.exists():
        missing(f"no {client.name}: `make {client.name.replace('_', '-')}` makes its environment")
    return client


class LaunchServer(Served):
    """A server whose training program is PROGRAM."""

    def __init__(self, folder: Path, *arguments: str, own: bool = True) -> None:
        super().__init__(folder, *arguments, own=own)
        write_executable(folder / "train.py", PROGRAM)
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for key in ("train/a", "train/b", "validation/a", "dataset.json"):
            s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/data/{key}", Body=b"x" * 5)

    def environment(self, **changes: str | None) -> dict[str, str]:
        """What a person's shell has after the exports were pasted; None takes a variable out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        found: Mapping[str, str | None] = {
            **kept, **self.exports, "PATH": path, "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1", **changes,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def run(
        self, arguments: list[str], seconds: float = 280, **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        """To its end."""
        return subprocess.run(
            arguments, cwd=ROOT, env=self.environment(**changes), capture_output=True, text=True, timeout=seconds
        )
