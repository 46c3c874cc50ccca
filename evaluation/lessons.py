"""Lessons found again: one Reflexion run over a list of tasks, a second over the same tasks in other words and another order.

Counts how often the lesson of a task is among the first three that its paraphrase recalls, among many tasks that differ from
it in one word; and that no agent recalls another's.

    python -m evaluation lessons
"""

import argparse
import random
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from tqdm import tqdm

from evaluation.report import print_table
from graphs import reflexion
from intervals import format_interval, interval
from memory.lessons import Lessons
from models.scripted import PolicyModel
from runtime import Runtime, open_runtime
from settings import Settings

BEST = 3


def task_pairs() -> list[tuple[str, str]]:
    """Every task with its paraphrase."""
    tables = tomllib.loads(Path(__file__).with_name("lessons.toml").read_text(encoding="utf-8"))
    return [(a.format(**filler), b.format(**filler)) for a, b in tables["wordings"] for filler in tables["fillers"]]


def learn(runtime: Runtime, agent: str, tasks: list[str]) -> None:
    """The first run: each task fails once, and leaves a lesson."""

    def policy(prompt: list[BaseMessage]) -> str:
        return "Read it twice." if "attempt at the task below failed" in prompt[0].text else "wrong"

    context = reflexion.Context(
        agent=agent, model=PolicyModel(policy=policy), evaluator="exact", expected="right", max_trials=2
    )
    for number, task in enumerate(tqdm(tasks, desc=f"{agent}: first run", disable=None)):
        runtime.run("reflexion", f"{agent}-first-{number}", task, context)


def recall(runtime: Runtime, agent: str, pairs: list[tuple[str, str]]) -> tuple[list[float], int]:
    """The second run: whether each paraphrase recalls its sibling's lesson, and how many lessons were not the agent's."""
    own = {lesson.key for lesson in Lessons(runtime.store, agent).all(most=10_000)}
    context = reflexion.Context(
        agent=agent, model=PolicyModel(policy=lambda _: "right"), evaluator="exact", expected="right", max_lessons=BEST
    )
    found, foreign = [], 0
    for number, (task, paraphrase) in enumerate(tqdm(pairs, desc=f"{agent}: second run", disable=None)):
        state = runtime.run("reflexion", f"{agent}-second-{number}", paraphrase, context)
        found.append(float(any(lesson["task"] == task for lesson in state["recalled"])))
        foreign += sum(lesson["key"] not in own for lesson in state["recalled"])
    return found, foreign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Two agents, each with its own lessons on the same tasks."""
    pairs = task_pairs()
    rng = random.Random(arguments.seed)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        for agent in ("ada", "grace"):
            learn(runtime, agent, rng.sample([task for task, _ in pairs], len(pairs)))
        for agent in ("ada", "grace"):
            found, foreign = recall(runtime, agent, rng.sample(pairs, len(pairs)))
            rows[agent] = {"found": interval(found), "foreign": foreign}
    print_table(
        f"Lessons of {len(pairs)} tasks, recalled by their paraphrases",
        ["agent", f"in the first {BEST}", "of another agent"],
        [[agent, format_interval(row["found"]), row["foreign"]] for agent, row in rows.items()],
    )
    return {"tasks": len(pairs), "best": BEST, "agents": rows}
