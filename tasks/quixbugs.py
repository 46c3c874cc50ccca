"""QuixBugs (Lin et al. 2017): classic algorithms with a one-line bug, some of which then loop for ever.

Reads a user's own copy, JSON lines with name, buggy, correct, testcases ([arguments, expected]).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.outcome import Limits
from sandbox.python import Sandbox
from sandbox.values import Value, call_source, same
from tasks.humanevalpack import FixTask
from text import read_rows

TOLERANCE = {"sqrt": 1e-3}
"""sqrt takes an epsilon, and promises no more than that."""
NEEDS_MORE = {
    "knapsack": Limits(cpu_seconds=60.0, memory_mb=4096),  # a table of 100 lists of 6 million numbers
    "levenshtein": Limits(cpu_seconds=60.0),  # recursion of exponential time; one case takes minutes
}
"""Right programs that the usual limits stop."""


@dataclass(frozen=True)
class QuixTask:
    """One program in two versions."""

    name: str
    buggy: str
    right: str
    cases: list[tuple[list[Value], Value]]


def read_quixbugs(path: Path) -> list[QuixTask]:
    """The tasks of a file. Raises ValueError, naming the line."""

    def task_of(row: Any) -> QuixTask:
        cases = [(list(arguments), expected) for arguments, expected in row["testcases"]]
        return QuixTask(row["name"], row["buggy"], row["correct"], cases)

    return list(read_rows(path, task_of))


def passes(sandbox: Sandbox, task: QuixTask, code: str, limits: Limits | None = None) -> bool:
    """Whether the program answers every case right. Raises SandboxFailed."""
    calls = [f"_plain({call_source(task.name, arguments)})" for arguments, _ in task.cases]
    outcome = sandbox.run(code + PLAIN, calls, limits)
    expected = [value for _, value in task.cases]
    return all(
        not answer.error and _equal(answer.value, value, TOLERANCE.get(task.name, 0.0))
        for answer, value in zip(outcome.answers, expected, strict=True)
    )


PLAIN = '''

def _plain(value):
    """As JSON has it, in which the cases are written: iterators and tuples are lists."""
    if hasattr(type(value), "__next__") or isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
'''


def _equal(actual: Any, expected: Any, tolerance: float) -> bool:
    if tolerance and isinstance(actual, int | float) and isinstance(expected, int | float):
        return abs(actual - expected) <= tolerance
    return same(actual, expected)


def as_fix_task(task: QuixTask) -> FixTask:
    """The program as one to mend; what it should do stands in the program's own text."""
    cases = [_assertion(task, arguments, expected) for arguments, expected in task.cases]
    return FixTask(
        task_id=task.name,
        entry_point=task.name,
        buggy=task.buggy,
        right=task.right,
        tests="\n".join([PLAIN.strip(), "", *cases]),
        example_tests="\n".join([PLAIN.strip(), "", *cases[:1]]),
        docstring="What the text beneath it says.",
    )


def _assertion(task: QuixTask, arguments: list[Value], expected: Value) -> str:
    call = f"_plain({call_source(task.name, arguments)})"
    tolerance = TOLERANCE.get(task.name)
    return f"assert abs({call} - {expected!r}) <= {tolerance}" if tolerance else f"assert {call} == {expected!r}"
