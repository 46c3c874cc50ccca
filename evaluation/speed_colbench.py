"""What a collaboration costs beside the model: scoring of programs and pages, and a turn of the graph."""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from tqdm import tqdm

from evaluation.report import print_table
from graphs import collaborate
from intervals import format_interval, interval
from models.scripted import PolicyModel
from sandbox.choose import open_sandbox
from sandbox.html import open_renderer
from settings import Settings
from tasks.answers import MARKER
from tasks.backend_score import BackendScorer
from tasks.own_backend import make_task
from tasks.own_frontend import make_page
from tasks.similarity import similarity

ROUNDS = 3
TURNS = 10


def per_second(work: Callable[[int], Any], count: int) -> float:
    """How often a second, on as many threads as there are cores."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(tqdm(pool.map(work, range(count)), total=count, leave=False, disable=None))
    return count / (time.perf_counter() - begun)


def measure_backend(answers: int) -> list[float]:
    """Answers scored a minute, of 10 tests each; truths are known after the first round, as in a run with many samples."""
    tasks = [make_task("train", 3, n) for n in range(48)]
    with open_sandbox(Settings(), "", os.cpu_count() or 1) as sandbox:
        scorer = BackendScorer(sandbox)

        def score(n: int) -> None:
            task = tasks[n % len(tasks)]
            if not scorer.score(task, task.ground_truth).success:
                raise AssertionError(f"the reference of {task.task_id} does not pass")

        per_second(score, len(tasks))
        return [60 * per_second(score, answers) for _ in range(ROUNDS)]


def measure_frontend(pages: int) -> tuple[list[float], list[float]]:
    """Pages drawn a second, each in a fresh context; and drawn and compared a second."""
    tasks = [make_page("train", 4, n) for n in range(24)]
    with open_renderer(os.cpu_count() or 1) as renderer:
        references = [renderer.render(t.ground_truth) for t in tasks]
        drawn = [
            per_second(lambda n: renderer.render(tasks[n % len(tasks)].ground_truth), pages) for _ in range(ROUNDS)
        ]

        def compare(n: int) -> None:
            similarity(renderer.render(tasks[n % len(tasks)].ground_truth), references[(n + 1) % len(tasks)])

        return drawn, [per_second(compare, pages) for _ in range(ROUNDS)]


def measure_graph(dialogues: int) -> list[float]:
    """Milliseconds of each dialogue's turns beyond the model's own time, `durability="exit"`, with an in-memory saver."""
    task = make_task("train", 3, 1)
    spent = [0.0]

    def policy(prompt: list[BaseMessage]) -> str:
        begun = time.perf_counter()
        said = "What else?" if len(prompt) < 2 * TURNS else f"{MARKER} {task.ground_truth}"
        spent[0] += time.perf_counter() - begun
        return said

    graph = collaborate.builder.compile(checkpointer=InMemorySaver())
    context = collaborate.Context(model=PolicyModel(policy=policy), person="rules", max_turns=TURNS)
    times = []
    for n in tqdm(range(dialogues), leave=False, disable=None):
        spent[0] = 0.0
        begun = time.perf_counter()
        graph.invoke(
            {"task": task.task_id}, {"configurable": {"thread_id": str(n)}}, context=context, durability="exit"
        )
        times.append(1000 * (time.perf_counter() - begun - spent[0]) / TURNS)
    return times[1:]  # the first one starts the sandbox


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--answers", type=int, default=1_500, help="programs in each round")
    parser.add_argument("--pages", type=int, default=60, help="pages in each round")
    parser.add_argument("--dialogues", type=int, default=60)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all three in one run."""
    answers = measure_backend(arguments.answers)
    drawn, compared = measure_frontend(arguments.pages)
    turns = measure_graph(arguments.dialogues)
    result = {
        "answers_a_minute": sorted(answers)[ROUNDS // 2],
        "pages_a_second": sorted(drawn)[ROUNDS // 2],
        "compared_a_second": sorted(compared)[ROUNDS // 2],
        "turn_ms": interval(turns),
        "rounds": {"answers": answers, "drawn": drawn, "compared": compared},
    }
    print_table(
        f"A collaboration beside its model, median of {ROUNDS} rounds, {os.cpu_count()} cores",
        ["what", "measured"],
        [
            ["programs scored a minute, 10 tests each", f"{result['answers_a_minute']:,.0f}"],
            ["pages drawn a second, a fresh context each", f"{result['pages_a_second']:.1f}"],
            ["pages drawn and compared a second", f"{result['compared_a_second']:.1f}"],
            ["ms of a turn beyond the model, scoring included", format_interval(interval(turns))],
        ],
    )
    return result
