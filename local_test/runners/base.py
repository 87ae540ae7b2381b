"""What runs a container: start, signal, wait, lines of output — nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from local_test.request.job_kind import TRAINING, JobKind

OPT_ML = PurePosixPath("/opt/ml")  # where a container sees the folders of ContainerSpec.base
STOP_EXIT_CODE = 128  # plus the signal: how a shell, and a container engine, report a process that a signal ended


@dataclass(frozen=True)
class ContainerSpec:
    """One host's container. `folders` below `base` are seen below /opt/ml there, where all else is the image's own;
    `mounts`: further folders, host path → container path; `inputs`: files and folders that it may read alone."""

    job: str
    host: str
    image: str
    base: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    arguments: Sequence[str] = ("train",)  # `docker run IMAGE train` is how the service starts a container
    folders: Sequence[str] = ("input", "model", "output")
    mounts: Mapping[Path, str] = field(default_factory=dict)
    inputs: Mapping[Path, str] = field(default_factory=dict)
    network: bool = True
    hosts: Sequence[str] = ("algo-1",)  # all of the job, whose names resolve in each of its containers
    instance_type: str = ""  # whose CPUs and memory are the limits; empty: none
    network_name: str = ""  # the network of a job with several hosts, from Runner.job_network
    kind: JobKind = TRAINING


@dataclass(frozen=True)
class Exit:
    """How a container ended; a signal is 128 + its number. `out_of_memory`: the kernel killed it for that."""

    code: int
    out_of_memory: bool = False


class Container(Protocol):
    """A started container."""

    def output(self) -> Iterator[tuple[str, bytes]]:
        """(stream name, bytes) as they come, until the container's output ends. For one thread."""

    def signal(self, number: int) -> None:
        """Send it to the container's first process; nothing happens if that has ended."""

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Its end, None if that doesn't come within `timeout` seconds. For any thread."""

    def close(self) -> None:
        """Kill what still runs and remove every trace. Safe to call twice."""


class Runner(Protocol):
    """Starts containers on this machine. RunnerError, one line, where it can't."""

    def check(self, spec: ContainerSpec) -> None:
        """RunnerError if that container could not be started: no image, no toolkit, a member it can't follow."""

    def unmet_limits(self, spec: ContainerSpec) -> Sequence[str]:
        """What of the spec's instance type this machine does not have, a line each; for check's specs only."""

    def job_network(self, spec: ContainerSpec) -> AbstractContextManager[str]:
        """While inside, a network for the hosts of the spec's job, of which this is the name."""

    def start(self, spec: ContainerSpec) -> Container: ...

    def remove_orphans(self) -> None:
        """End and remove the containers whose program was killed and left them; never those of one that lives."""

    def advise(self, failure: str) -> str | None:  # noqa: ARG002 - for those that differ from a container
        """What to do about a FailureReason that comes of this runner and would be none in the service."""
        return None

    def gateway(self) -> str | None:
        """The address of this machine as containers see it; None where they see it as 127.0.0.1, or it is not known."""
        return None

    def close(self) -> None:
        """Release what the runner holds. Containers that run are not its to end."""
        return
