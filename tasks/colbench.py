"""ColBench's tasks, a person's wish with a hidden reference: read from JSON lines, public files (Zhou et al. 2025) or our own.

Backend rows have problem_description, ground_truth (a Python function) and test_cases (calls by name); frontend rows have
problem_description and ground_truth (a page). Ours add task_id, facts, examples, split and difficulty.
"""

import ast
import builtins
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from text import read_rows

TaskKind = Literal["backend", "frontend"]
Split = Literal["", "train", "test", "rephrased"]


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
    """Words that a question about it has; one that is given twice weighs twice."""


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
    stated: tuple[Fact, ...] = ()
    """What the description tells: a question about it draws out nothing."""
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
        facts = {"facts": [asdict(f) for f in self.facts], "stated": [asdict(f) for f in self.stated]}
        return {**row, **facts, "split": self.split, "difficulty": self.difficulty}


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
    tasks = [
        task if task.task_id else replace(task, task_id=f"{path.stem}-{number}")
        for number, task in enumerate(read_rows(path, lambda row: task_of(row, ""), BadTask))
    ]
    if not tasks:
        raise BadTask(f"{path} has no tasks: it needs JSON lines with problem_description and ground_truth.")
    return tasks


NotBlank = Annotated[str, Field(pattern=r"\S")]


class _Row(BaseModel):
    """A row of a file; what else stands in it is left out."""

    model_config = ConfigDict(strict=True)

    problem_description: NotBlank
    ground_truth: NotBlank
    test_cases: Annotated[dict[str, str], Field(min_length=1)] | None = None
    facts: tuple[Fact, ...] = ()
    stated: tuple[Fact, ...] = ()
    examples: str = ""
    split: Split = ""
    difficulty: int = 0


def task_of(row: Any, task_id: str) -> Task:
    """The task of one row; `task_id` if it has none of its own. Raises BadTask, naming the field."""
    if not isinstance(row, dict):
        raise BadTask(f"a task is a JSON object, not {type(row).__name__}.")
    try:
        read = _Row.model_validate_json(json.dumps(row))
    except ValidationError as error:
        raise BadTask(first_error(error)) from error
    task = Task(
        str(row.get("task_id") or task_id), "frontend", read.problem_description, read.ground_truth, facts=read.facts,
        stated=read.stated, split=read.split, difficulty=read.difficulty,
    )  # fmt: skip
    if read.test_cases is None:
        if "<" not in read.ground_truth:
            raise BadTask("the field test_cases is missing, and ground_truth is no page.")
        return task
    calls = {name: call.strip() for name, call in read.test_cases.items()}
    for name, call in calls.items():
        try:
            ast.parse(call, mode="eval")
        except (SyntaxError, ValueError) as error:
            raise BadTask(f"the field test_cases.{name} is no Python expression: {call!r:.80}.") from error
    try:
        called(calls.values())
    except ValueError as error:
        raise BadTask(f"the field test_cases: {error}.") from error
    return replace(task, kind="backend", calls=tuple(calls.values()), examples=read.examples)


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong, with the name of its field."""
    first = error.errors()[0]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])[1:]
    if first["type"] == "missing":
        return f"the field {name} is missing."
    if first["type"] == "unexpected_keyword_argument":
        return f"there is no field {name:.80}."
    return f"the field {name} cannot be {first['input']!r:.80}: {first['msg']}."


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
