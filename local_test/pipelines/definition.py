"""A pipeline's definition (schema 2020-12-01), as values. `parser` reads it, `checks` refuses what can't run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

ParameterType = Literal["String", "Integer", "Float", "Boolean"]
Value = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """`default` None: each execution must give a value. `enum_values` empty: any value of the type is one."""

    name: str
    type: ParameterType
    default: Value | None = None
    enum_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheConfig:
    """`expire_after` None: a step that succeeded counts however old it is."""

    enabled: bool
    expire_after: timedelta | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Attempt n + 1 follows attempt n after interval_seconds · backoff_rate ** (n - 1) seconds, at most `max_attempts`
    times and for `expire_after`; None: no such limit. `exceptions`: Step.SERVICE_FAULT, SageMaker.CAPACITY_ERROR, …
    """

    exceptions: tuple[str, ...]
    interval_seconds: float = 1
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after: timedelta | None = None


@dataclass(frozen=True)
class PropertyFile:
    """JSON that a processing step leaves in its output `output_name`; `file_path` may be an expression."""

    name: str
    output_name: str
    file_path: Any


@dataclass(frozen=True)
class Step:
    """`arguments`: as in the JSON, expressions included; for a condition its list of conditions alone.

    `depends_on`: steps that DependsOn names; `implied`: those that its expressions refer to. `members`: what only
    a step of its type has beside Arguments, such as SqsQueueUrl and OutputParameters.
    """

    name: str
    type: str
    arguments: Any
    display_name: str = ""
    description: str = ""
    depends_on: tuple[str, ...] = ()
    implied: frozenset[str] = frozenset()
    cache: CacheConfig | None = None
    retry_policies: tuple[RetryPolicy, ...] = ()
    property_files: tuple[PropertyFile, ...] = ()
    if_steps: tuple["Step", ...] = ()
    else_steps: tuple["Step", ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dependencies(self) -> frozenset[str]:
        """The steps that end before it starts; a branch's steps wait for their condition on top."""
        return self.implied | frozenset(self.depends_on)

    @property
    def branches(self) -> tuple["Step", ...]:
        """The steps of both branches, without those of conditions among them."""
        return self.if_steps + self.else_steps

    def walk(self) -> Iterator["Step"]:
        """Itself, then the steps of its branches, and theirs."""
        yield self
        for step in self.branches:
            yield from step.walk()


@dataclass(frozen=True)
class Experiment:
    """PipelineExperimentConfig; both may be expressions."""

    experiment_name: Any
    trial_name: Any


@dataclass(frozen=True)
class Definition:
    """`steps`: the top level alone. `experiment` None: executions make no experiment. `parallelism`: at most so many
    steps at a time; None: no limit of the definition's own."""

    version: str
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]
    experiment: Experiment | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parallelism: int | None = None

    @cached_property
    def by_name(self) -> Mapping[str, Step]:
        """Every step, those of branches included, in the definition's order."""
        return {step.name: step for top in self.steps for step in top.walk()}

    @cached_property
    def parents(self) -> Mapping[str, str]:
        """A branch's step → the condition step whose branch it is of."""
        return {inner.name: step.name for step in self.by_name.values() for inner in step.branches}

    def predecessors(self, name: str) -> frozenset[str]:
        """All that have ended before the step starts: its dependencies, its condition, and, for a dependency that is a
        condition, every step of its branches."""
        step = self.by_name[name]
        direct = step.dependencies | ({self.parents[name]} if name in self.parents else frozenset())
        within = {
            inner.name
            for one in step.dependencies
            for inner in self.by_name[one].walk()
            if not self.is_inside(name, one)
        }
        return direct | within

    def is_inside(self, name: str, condition: str) -> bool:
        """Whether the step is in a branch of the condition, or in one of a condition there."""
        while name in self.parents:
            name = self.parents[name]
            if name == condition:
                return True
        return False
