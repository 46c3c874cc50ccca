"""ColBench's tasks, a person's wish with a hidden reference: read from JSON lines, public files (Zhou et al. 2025) or our own.

Backend rows have problem_description, ground_truth (a Python function) and test_cases (calls by name); frontend rows have
problem_description and ground_truth (a page). Ours add task_id, facts, examples, split and difficulty.
"""

import ast
import builtins
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from text import read_json_lines

TaskKind = Literal["backend", "frontend"]
Split = Literal["", "train", "test"]


class BadTask(ValueError):
    """A row that is no task; the message names the file, the line and the field."""


@dataclass(frozen=True)
class Fact:
    """One hidden decision, as a person who knows it would tell it."""

    key: str
    """What is decided, the same for every task of its family: `threshold_side`."""
    value: str
    """What it is: `from 100 on`."""
    statement: str
    """A whole sentence, without code."""
    keywords: tuple[str, ...] = ()
    """Words of which a question about it has at least one."""


@dataclass(frozen=True)
class Task:
    """What is worked on. Only `description` and `examples` may be told to the agent."""

    task_id: str
    kind: TaskKind
    description: str
    ground_truth: str
    """Hidden: the function's source, or the page."""
    calls: tuple[str, ...] = ()
    """Hidden: what a backend task is tested with, Python expressions."""
    facts: tuple[Fact, ...] = ()
    """Hidden: what a simulated person without a language model knows."""
    examples: str = ""
    """Assertions that the person shows."""
    split: Split = ""
    difficulty: int = 0
    """How many hidden decisions the description leaves open; 0: not known."""

    @property
    def function(self) -> str:
        """Name of the function that the tests call; empty for a page."""
        return called(self.calls) if self.kind == "backend" else ""

    def to_row(self) -> dict[str, Any]:
        """The row of a file, as `read_tasks` reads it."""
        row: dict[str, Any] = {
            "task_id": self.task_id,
            "problem_description": self.description,
            "ground_truth": self.ground_truth,
        }
        if self.kind == "backend":
            row["test_cases"] = {f"test{n}": call for n, call in enumerate(self.calls, start=1)}
            row["examples"] = self.examples
        return {**row, "facts": [asdict(f) for f in self.facts], "split": self.split, "difficulty": self.difficulty}


def called(calls: Iterable[str]) -> str:
    """The function that the first call is of. Raises ValueError if it calls none by its bare name."""
    names = [
        node.func.id
        for call in calls
        for node in ast.walk(ast.parse(call, mode="eval"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    for name in (*[n for n in names if n not in dir(builtins)], *names):
        return name
    raise ValueError("no test calls a function by its name")


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file. Raises BadTask, naming file, line and field; OSError."""
    tasks = []
    try:
        rows = list(read_json_lines(path))
    except ValueError as error:
        raise BadTask(str(error)) from error
    for number, row in rows:
        try:
            tasks.append(task_of(row, f"{path.stem}-{number - 1}"))
        except ValueError as error:
            raise BadTask(f"{path}, line {number}: {error}") from error
    if not tasks:
        raise BadTask(f"{path} has no tasks: it needs JSON lines with problem_description and ground_truth.")
    return tasks


def task_of(row: Any, task_id: str) -> Task:
    """The task of one row; `task_id` if it has none of its own. Raises BadTask, naming the field."""
    if not isinstance(row, dict):
        raise BadTask(f"a task is a JSON object, not {type(row).__name__}.")
    for name in ("problem_description", "ground_truth"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadTask(f"the field {name} must be a text that is not empty, not {row.get(name)!r:.80}.")
    cases = row.get("test_cases")
    common = {
        "task_id": str(row.get("task_id") or task_id),
        "description": row["problem_description"],
        "ground_truth": row["ground_truth"],
        "facts": _facts(row.get("facts", [])),
        "split": row.get("split", ""),
        "difficulty": row.get("difficulty", 0),
    }
    if type(common["difficulty"]) is not int:
        raise BadTask(f"the field difficulty must be a whole number, not {common['difficulty']!r:.80}.")
    if common["split"] not in ("", "train", "test"):
        raise BadTask(f"the field split must be train or test, not {common['split']!r:.80}.")
    if cases is None:
        if "<" not in row["ground_truth"]:
            raise BadTask("the field test_cases is missing, and ground_truth is no page.")
        return Task(kind="frontend", **common)
    if not isinstance(cases, dict) or not cases or not all(isinstance(c, str) for c in cases.values()):
        raise BadTask(f"the field test_cases must be an object of calls by name, not {cases!r:.80}.")
    calls = tuple(str(c).strip() for c in cases.values())
    for name, call in cases.items():
        try:
            ast.parse(str(call).strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            raise BadTask(f"the field test_cases.{name} is no Python expression: {call!r:.80}.") from error
    try:
        called(calls)
    except ValueError as error:
        raise BadTask(f"the field test_cases: {error}.") from error
    return Task(kind="backend", calls=calls, examples=str(row.get("examples", "")), **common)


def _facts(rows: Any) -> tuple[Fact, ...]:
    facts = []
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or not all(isinstance(row.get(n), str) for n in ("key", "value", "statement")):
            raise BadTask(
                f"the field facts must be a list of objects with the texts key, value, statement: {row!r:.120}."
            )
        words = row.get("keywords", [])
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise BadTask(f"the field facts: keywords must be a list of words, not {words!r:.80}.")
        facts.append(Fact(row["key"], row["value"], row["statement"], tuple(words)))
    return tuple(facts)


def write_tasks(tasks: Iterable[Task], path: Path) -> int:
    """Write tasks as JSON lines, whole or not at all; how many there were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f"{path.suffix}.part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for task in tasks:
            file.write(json.dumps(task.to_row()) + "\n")
            count += 1
    part.replace(path)
    return count
