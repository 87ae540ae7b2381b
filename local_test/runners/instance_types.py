"""Instance types: what they have, and how much of it a container gets on this machine. Pure but for reading the table.

The table is the one that moto ships from DescribeInstanceTypes; what it lacks is added from the public pages of those
types. SageMaker's `ml.` types are EC2's of the same name.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from local_test.util.threads import cached_once

_TABLE = "ec2/resources/instance_types.json.gz"
_GIB = 1 << 30


@dataclass(frozen=True)
class Instance:
    """What one instance has: vCPUs, bytes of memory, GPUs."""

    cpus: int
    memory: int
    gpus: int = 0


@dataclass(frozen=True)
class Machine:
    """What there is here, as the engine says."""

    cpus: int
    memory: int
    gpus: int = 0


@dataclass(frozen=True)
class Limits:
    """Of a container; None leaves it without. `notes`: what of the instance this machine does not have."""

    cpus: int | None = None
    memory: int | None = None
    gpus: int = 0
    notes: tuple[str, ...] = ()


_OLDER = {
    "p2.xlarge": Instance(4, 61 * _GIB, 1),
    "p2.8xlarge": Instance(32, 488 * _GIB, 8),
    "p2.16xlarge": Instance(64, 732 * _GIB, 16),
    "p3.2xlarge": Instance(8, 61 * _GIB, 1),
    "p3.8xlarge": Instance(32, 244 * _GIB, 4),
    "p3.16xlarge": Instance(64, 488 * _GIB, 8),
    "p6e-gb200.36xlarge": Instance(144, 960 * _GIB, 4),
}


def find_instance(instance_type: str) -> Instance | None:
    """Of a name such as ml.c5.2xlarge; None if nothing is known about it."""
    return _instances().get(instance_type.removeprefix("ml."))


@cached_once
def _instances() -> Mapping[str, Instance]:
    spec = find_spec("moto")
    if not spec or not spec.origin:
        return _OLDER
    with gzip.open(Path(spec.origin).parent / _TABLE) as table:
        return {**_OLDER, **dict(_read(json.load(table)))}


def _read(table: Mapping[str, Any]) -> Iterator[tuple[str, Instance]]:
    for name, item in table.items():
        gpus = sum(gpu["Count"] for gpu in item.get("GpuInfo", {}).get("Gpus", ()))
        yield name, Instance(item["VCpuInfo"]["DefaultVCpus"], item["MemoryInfo"]["SizeInMiB"] << 20, gpus)


def find_limits(instance_type: str, machine: Machine) -> Limits:
    """The instance's, where the machine has them: a container is never promised more than there is."""
    wanted = find_instance(instance_type)
    if not wanted:
        return Limits(notes=(f"nothing is known about {instance_type}: its container has no limits",))
    notes = [
        f"{instance_type} has {there} {what}, this machine {here}{then}"
        for what, there, here, then in (
            ("vCPUs", wanted.cpus, machine.cpus, ": no limit"),
            ("GiB of memory", round(wanted.memory / _GIB, 1), round(machine.memory / _GIB, 1), ": no limit"),
            ("GPUs", wanted.gpus, machine.gpus, " that its engine can give"),
        )
        if there > here
    ]
    return Limits(
        cpus=wanted.cpus if wanted.cpus <= machine.cpus else None,
        memory=wanted.memory if wanted.memory <= machine.memory else None,
        gpus=min(wanted.gpus, machine.gpus),
        notes=tuple(notes),
    )
