"""HumanEvalPack, HumanEvalFix (Muennighoff et al. 2023): a buggy Python function, and tests that the right one passes.

Reads a user's own copy, JSON lines with prompt, declaration, canonical_solution, buggy_solution, test, entry_point.
"""

from dataclasses import dataclass
from pathlib import Path

from text import read_json_lines


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
    tasks = []
    for number, row in read_json_lines(path):
        try:
            # `declaration` has the imports and the signature; some tests need helpers that the prompt defines.
            head = str(row["prompt"])
            tasks.append(
                FixTask(
                    task_id=row["task_id"],
                    entry_point=row["entry_point"],
                    buggy=str(row["declaration"]) + str(row["buggy_solution"]),
                    right=str(row["declaration"]) + str(row["canonical_solution"]),
                    tests=_with_helpers(head, row["entry_point"]) + str(row["test"]),
                    example_tests=_with_helpers(head, row["entry_point"]) + str(row["example_test"]),
                    docstring=row["docstring"],
                )
            )
        except KeyError as error:
            raise ValueError(f"{path}, line {number}: the field {error} is missing.") from error
        except TypeError as error:
            raise ValueError(f"{path}, line {number}: not a row of HumanEvalPack ({error}).") from error
    if not tasks:
        raise ValueError(f"{path} has no tasks.")
    return tasks


def _with_helpers(prompt: str, entry_point: str) -> str:
    """What the prompt defines before the function itself: the tests of some tasks call it."""
    before, _, _ = prompt.partition(f"def {entry_point}")
    return before + "\n\n"
