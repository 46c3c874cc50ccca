"""HumanEvalPack, HumanEvalFix (Muennighoff et al. 2023): a buggy Python function, and tests that the right one passes.

Reads a user's own copy, JSON lines with prompt, declaration, canonical_solution, buggy_solution, test, entry_point.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text import read_rows


@dataclass(frozen=True)
class FixTask:
    """One buggy function."""

    task_id: str
    entry_point: str
    buggy: str
    """A whole program."""
    right: str
    tests: str
    """The hidden tests: `check`, and a call of it."""
    example_tests: str
    """The tests that the docstring shows."""
    docstring: str

    @property
    def description(self) -> str:
        """What the one who fixes it is told."""
        return (
            f"Fix the bug in the Python function `{self.entry_point}`. It should do this:\n\n{self.docstring.strip()}\n\n"
            f"The program as it stands:\n\n```python\n{self.buggy.strip()}\n```"
        )


def read_humanevalpack(path: Path) -> list[FixTask]:
    """The tasks of a file. Raises ValueError, naming the line and the field."""
    tasks = list(read_rows(path, _task))
    if not tasks:
        raise ValueError(f"{path} has no tasks.")
    return tasks


def _task(row: Any) -> FixTask:
    """`declaration` has the imports and the signature; some tests need helpers that the prompt defines."""
    helpers = _with_helpers(str(row["prompt"]), row["entry_point"])
    return FixTask(
        task_id=row["task_id"],
        entry_point=row["entry_point"],
        buggy=str(row["declaration"]) + str(row["buggy_solution"]),
        right=str(row["declaration"]) + str(row["canonical_solution"]),
        tests=helpers + str(row["test"]),
        example_tests=helpers + str(row["example_test"]),
        docstring=row["docstring"],
    )


def _with_helpers(prompt: str, entry_point: str) -> str:
    """What the prompt defines before the function itself: the tests of some tasks call it."""
    before, _, _ = prompt.partition(f"def {entry_point}")
    return before + "\n\n"
