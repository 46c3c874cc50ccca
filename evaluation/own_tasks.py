"""Our own tasks, generated and measured: the references pass, constants and guesses do not, and asking is what pays.

    python -m evaluation own-tasks --backend 10000 --frontend 1000 --to tasks/

Writes a file for each kind and split. With --check N, N tasks of each are played by scripted agents too.
"""

import argparse
import functools
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.colbench import constant_answers
from evaluation.report import print_table
from evaluation.scripted_agents import AGENTS
from graphs import collaborate
from intervals import format_interval, interval
from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.backend_score import BackendScorer
from tasks.colbench import Task, write_tasks
from tasks.decisions import SPLITS
from tasks.own_backend import make_task
from tasks.own_frontend import make_page

MAKERS = {"backend": make_task, "frontend": make_page}


def generate(kind: str, split: str, count: int, difficulty: int) -> list[Task]:
    """`count` tasks, on all cores."""
    make = functools.partial(MAKERS[kind], split, difficulty)  # type: ignore[arg-type]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(make, range(count), chunksize=25)
        return list(tqdm(made, total=count, desc=f"{kind}, {split}", disable=None))


def play(task: Task, agent: str) -> float:
    """Whether the scripted agent solves the task with the person of rules: 0 or 1."""
    context = collaborate.Context(model=AGENTS[agent](task), person="rules", max_turns=40)
    done = collaborate.graph.invoke({"task": task.task_id}, {"recursion_limit": 200}, context=context)
    return float(done["success"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--backend", type=int, default=10_000, help="backend tasks, half of them in each split")
    parser.add_argument("--frontend", type=int, default=1_000, help="frontend tasks, half of them in each split")
    parser.add_argument("--difficulty", type=int, default=3, help="hidden decisions of a backend task")
    parser.add_argument("--page-difficulty", type=int, default=6, help="hidden decisions of a frontend task")
    parser.add_argument("--check", type=int, default=200, help="tasks of each kind and split that agents play")
    parser.add_argument("--to", type=Path, help="folder for the files")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Generate, write and measure."""
    scorer = BackendScorer(shared_sandbox(Settings()))
    result: dict[str, Any] = {}
    shared: dict[str, set[tuple[str, str]]] = {}
    for kind, total in (("backend", arguments.backend), ("frontend", arguments.frontend)):
        difficulty = arguments.difficulty if kind == "backend" else arguments.page_difficulty
        for split in SPLITS:
            tasks = generate(kind, split, total // 2, difficulty)
            if not tasks:
                continue
            shared[f"{kind} {split}"] = {(f.key, f.value) for t in tasks for f in t.facts}
            if arguments.to:
                write_tasks(tasks, arguments.to / f"own-{kind}-{split}-{difficulty}.jsonl")
            row = result[f"{kind} {split}"] = {"tasks": len(tasks), "difficulty": difficulty}
            if kind == "backend":
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    scored = pool.map(lambda task: scorer.score(task, task.ground_truth).success, tasks)
                    row["truth"] = interval(
                        [float(s) for s in tqdm(scored, total=len(tasks), desc="truths", disable=None)]
                    )
                row |= {f"constant_{name}": value for name, value in constant_answers(tasks).items()}
            played = tasks[: arguments.check]
            for agent in ("asking", "guessing"):
                with ThreadPoolExecutor(2) as pool:
                    done = pool.map(functools.partial(play, agent=agent), played)
                    row[agent] = interval(list(tqdm(done, total=len(played), desc=f"{agent} agent", disable=None)))
    columns = {
        "truth": "truth",
        "constant_tests": "constant: tests",
        "constant_success": "constant: success",
        "asking": "asks all",
        "guessing": "guesses",
    }
    print_table(
        "Own tasks: success unless said otherwise",
        ["split", "tasks", "hidden", *columns.values()],
        [
            [name, row["tasks"], row["difficulty"], *(format_interval(row[c]) if c in row else "–" for c in columns)]
            for name, row in result.items()
        ],
    )
    both = {k: sorted(shared.get(f"{k} train", set()) & shared.get(f"{k} test", set())) for k in MAKERS}
    print(f"Hidden decisions that both splits have: {sum(map(len, both.values()))}")
    return {"shared_decisions": both, "splits": result}
