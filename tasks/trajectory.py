"""The trajectory row: one finished collaboration as JSON, for training and reports. Nothing hidden stands in it.

Also reads the public offline format of ColBench: task, dialogue_history, answer, reward.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tasks.colbench import TaskKind, first_error
from tasks.dialogue import Turn, said_by
from text import read_rows


class BadTrajectory(ValueError):
    """A row that is no trajectory; the message names the file, the line and the field."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One collaboration from the wish to the score."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    task: str
    """The task's id (tasks.lookup); empty for a wish without a reference."""
    kind: TaskKind
    description: str
    turns: tuple[Turn, ...]
    """Begins with the agent's first; the description is the person's turn before it."""
    answer: str
    score: Annotated[float, Field(ge=0, le=1)] | None
    """From 0 to 1; None for a task without a reference."""
    success: bool | None
    stop: Literal["answered", "turn_limit"]
    failure: str = ""
    """The kind of the first failed test."""
    told: tuple[str, ...] = ()
    """Keys of the hidden facts that the dialogue uncovered."""
    examples: str = ""
    """Assertions that the agent saw beside the description."""
    max_turns: int = 10
    """Of the agent; in its last it was asked for the answer."""
    agent: str = ""
    """The agent's model."""
    person: str = ""
    """human, rules, or the person's model."""
    seed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def replies(self) -> list[str]:
        """What the agent said, in its order."""
        return said_by("agent", self.turns)

    @property
    def leaks(self) -> int:
        """In how many replies a simulated person gave code of the reference away."""
        return sum(bool(turn["leak"]) for turn in self.turns)

    def to_row(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


_ROW = TypeAdapter(Trajectory)


def trajectory_of(row: Any) -> Trajectory:
    """The trajectory of a row. Raises BadTrajectory, naming the field."""
    if not isinstance(row, dict):
        raise BadTrajectory(f"a trajectory is a JSON object, not {type(row).__name__}.")
    if "dialogue_history" in row:
        row = _from_public(row)
    if isinstance(row.get("turns"), list | tuple):
        turns = [{"thought": "", "leak": "", **t} if isinstance(t, dict) else t for t in row["turns"]]
        row = {**row, "turns": turns}
    try:
        trajectory = _ROW.validate_json(json.dumps(row))
    except ValidationError as error:
        raise BadTrajectory(first_error(error)) from error
    _check_order(trajectory.turns)
    return trajectory


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """The rows of a file. Raises BadTrajectory, naming file, line and field."""
    return read_rows(path, trajectory_of, BadTrajectory)


def _check_order(turns: Sequence[Turn]) -> None:
    """Raise BadTrajectory unless agent and person speak in turn, and the agent first and last."""
    for number, turn in enumerate(turns):
        expected = "person" if number % 2 else "agent"
        if turn["role"] != expected or (number == len(turns) - 1 and turn["role"] != "agent"):
            raise BadTrajectory(
                f"the field turns[{number}] is the {turn['role']}'s: agent and person speak in turn, and the agent first and last."
            )


def _from_public(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the public offline file in our own fields."""
    task, history = row.get("task"), row.get("dialogue_history")
    if not isinstance(task, dict) or not isinstance(task.get("problem_description"), str):
        raise BadTrajectory("the field task must be a row of ColBench with its problem_description.")
    if not isinstance(history, list) or not all(
        isinstance(t, dict) and isinstance(t.get("content"), str) for t in history
    ):
        raise BadTrajectory("the field dialogue_history must be a list of objects with role and content.")
    said = history[1:] if history and history[0].get("role") == "user" else history
    if said and said[-1].get("role") == "user":
        said = said[:-1]  # nobody answered it
    reward = row.get("reward")
    return {
        "task": str(task.get("task_id", "")),
        "kind": "backend" if "test_cases" in task else "frontend",
        "description": task["problem_description"],
        "turns": [
            {"role": "agent" if t.get("role") == "assistant" else "person", "content": t["content"]} for t in said
        ],
        "answer": str(row.get("answer", "")),
        "score": reward,
        "success": None if reward is None else reward == 1,
        "stop": "answered",
    }
