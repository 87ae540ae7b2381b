"""Which steps of an execution can begin, and which never will."""

from collections.abc import Iterator
from graphlib import TopologicalSorter

from local_test.executions.record import ExecutionRecord
from local_test.pipelines.definition import Definition, Step


class Order:
    """That of a definition's steps."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        before = {name: definition.predecessors(name) for name in definition.by_name}
        self._order = tuple(TopologicalSorter(before).static_order())  # each after those that it waits for

    def ready(self, record: ExecutionRecord) -> Iterator[Step]:
        """Those that can begin now, in the definition's order."""
        left_out = self._find_left_out(record)
        done = left_out | {name for name, step in record.steps.items() if step.status == "Succeeded"}
        for name, step in self._definition.by_name.items():
            if name not in record.steps and name not in left_out and self._definition.predecessors(name) <= done:
                yield step

    def _find_left_out(self, record: ExecutionRecord) -> set[str]:
        """Steps that are not selected, in a branch that was not taken, or that depend on such a step."""
        selected = set(self._definition.by_name if record.selected is None else record.selected)
        left_out: set[str] = set()
        for name in self._order:
            needed = self._definition.by_name[name].dependencies & selected
            if name not in selected or needed & left_out or self._is_in_other_branch(name, record, selected, left_out):
                left_out.add(name)
        return left_out

    def _is_in_other_branch(self, name: str, record: ExecutionRecord, selected: set[str], left_out: set[str]) -> bool:
        """A branch's step that is selected without its condition is in the branch that was taken."""
        parent = self._definition.parents.get(name)
        if parent is None or parent not in selected:
            return False
        condition, step = record.steps.get(parent), self._definition.by_name[parent]
        if condition is None or condition.outputs is None:
            return parent in left_out
        branch = step.if_steps if condition.outputs["Outcome"] == "true" else step.else_steps
        return name not in {inner.name for inner in branch}
