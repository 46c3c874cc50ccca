"""The trajectory row: one finished collaboration as JSON, for training and reports. Nothing hidden stands in it.

Also reads the public offline format of ColBench: task, dialogue_history, answer, reward.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from settings import Settings


class BadTrajectory(ValueError):
    """A row that is no trajectory; the message names the file, the line and the field."""


@dataclass(frozen=True)
class Turn:
    """One thing that was said."""

    role: Literal["agent", "person"]
    content: str
    thought: str = ""
    """Of the agent: what the person did not see."""
    leak: str = ""
    """Of a simulated person: which kind of code it gave away."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One collaboration from the wish to the score."""

    task: str
    """The task's id (tasks.book)."""
    kind: Literal["backend", "frontend"]
    description: str
    turns: tuple[Turn, ...]
    """Begins with the agent's first; the description is the person's turn before it."""
    answer: str
    score: float | None
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

    def to_row(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


FIELDS: dict[str, tuple[type, ...]] = {
    "task": (str,), "kind": (str,), "description": (str,), "turns": (list, tuple), "answer": (str,),
    "score": (int, float, type(None)), "success": (bool, type(None)), "stop": (str,),
}  # fmt: skip
OPTIONAL: dict[str, tuple[type, ...]] = {
    "failure": (str,), "told": (list, tuple), "examples": (str,),
    "max_turns": (int,), "agent": (str,), "person": (str,), "seed": (int,), "input_tokens": (int,),
    "output_tokens": (int,), "extra": (dict,),
}  # fmt: skip


def trajectory_of(row: Any) -> Trajectory:
    """The trajectory of a row. Raises BadTrajectory, naming the field."""
    if not isinstance(row, dict):
        raise BadTrajectory(f"a trajectory is a JSON object, not {type(row).__name__}.")
    if "dialogue_history" in row:
        row = _from_public(row)
    for name, kinds in {**FIELDS, **{k: v for k, v in OPTIONAL.items() if k in row}}.items():
        if name not in row:
            raise BadTrajectory(f"the field {name} is missing.")
        if not isinstance(row[name], kinds) or (isinstance(row[name], bool) and bool not in kinds):
            raise BadTrajectory(
                f"the field {name} must be {' or '.join(k.__name__ for k in kinds)}, not {row[name]!r:.80}."
            )
    for name, allowed in (("kind", ("backend", "frontend")), ("stop", ("answered", "turn_limit"))):
        if row[name] not in allowed:
            raise BadTrajectory(f"the field {name} must be {' or '.join(allowed)}, not {row[name]!r:.80}.")
    if row["score"] is not None and not 0 <= row["score"] <= 1:
        raise BadTrajectory(f"the field score must be from 0 to 1, not {row['score']!r}.")
    unknown = set(row) - set(FIELDS) - set(OPTIONAL)
    if unknown:
        raise BadTrajectory(f"there is no field {sorted(unknown)[0]!r:.80}.")
    return Trajectory(**{**row, "turns": _in_turn(tuple(_turns(row["turns"]))), "told": tuple(row.get("told", ()))})


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """The rows of a file. Raises BadTrajectory, naming file, line and field."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield trajectory_of(json.loads(line))
                except ValueError as error:
                    raise BadTrajectory(f"{path}, line {number}: {error}") from error


def kept_folder() -> Path:
    """Where a person's own collaborations are kept: `collaborations.jsonl`, `preferences.jsonl`, and whether they may be."""
    return Settings().folder / "trajectories"


def may_keep() -> bool | None:
    """Whether the person has agreed that collaborations are kept as training data; None before they were asked."""
    try:
        return bool(json.loads((kept_folder() / "consent.json").read_text(encoding="utf-8"))["agreed"])
    except FileNotFoundError:
        return None


def agree(agreed: bool) -> None:
    """Keep the person's answer, which is asked for once."""
    kept_folder().mkdir(parents=True, exist_ok=True)
    (kept_folder() / "consent.json").write_text(json.dumps({"agreed": agreed}), encoding="utf-8")


def keep(trajectory: Trajectory, run: str) -> None:
    """Keep a person's collaboration under the id of its run: once, however often it is called.

    Raises PermissionError without their consent.
    """
    path = kept_folder() / "collaborations.jsonl"
    known = read_trajectories(path) if path.exists() else ()
    if all(row.extra.get("run") != run for row in known):
        _append(path.name, {**trajectory.to_row(), "extra": {**trajectory.extra, "run": run}})


def keep_preference(chosen: Trajectory, rejected: Trajectory) -> None:
    """Append a training pair: two trajectories of one task, the one that the person prefers first. Raises PermissionError."""
    if chosen.task != rejected.task or chosen.description != rejected.description:
        raise ValueError(f"A pair needs two trajectories of one task, not of {chosen.task!r} and {rejected.task!r}.")
    _append("preferences.jsonl", {"task": chosen.task, "chosen": chosen.to_row(), "rejected": rejected.to_row()})


def _append(name: str, row: dict[str, Any]) -> None:
    if not may_keep():
        raise PermissionError("The person has not agreed that collaborations are kept.")
    with (kept_folder() / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _turns(rows: Any) -> Iterator[Turn]:
    for number, row in enumerate(rows):
        if isinstance(row, Turn):
            yield row
            continue
        if (
            not isinstance(row, dict)
            or row.get("role") not in ("agent", "person")
            or not isinstance(row.get("content"), str)
        ):
            raise BadTrajectory(f"the field turns[{number}] needs a role, agent or person, and a content: {row!r:.80}.")
        yield Turn(row["role"], row["content"], str(row.get("thought", "")), str(row.get("leak", "")))


def _in_turn(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns, which begin and end with the agent's. Raises BadTrajectory."""
    for number, turn in enumerate(turns):
        expected = "person" if number % 2 else "agent"
        if turn.role != expected or (number == len(turns) - 1 and turn.role != "agent"):
            raise BadTrajectory(
                f"the field turns[{number}] is the {turn.role}'s: agent and person speak in turn, and the agent first and last."
            )
    return turns


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
