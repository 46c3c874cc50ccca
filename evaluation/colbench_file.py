"""A file of ColBench tasks, measured itself: do references pass, do mutants fail, what do tricks and constants earn?

    python -m evaluation colbench-file --file backend.jsonl
    python -m evaluation colbench-file --file frontend.jsonl

Lists each row whose reference cannot be scored, with the reason, and each mutant that its tests do not notice.
"""

import argparse
import base64
import codecs
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from tqdm import tqdm

from evaluation.colbench import constant_answers
from evaluation.mutations import KINDS, mutants
from evaluation.report import print_table
from intervals import format_interval, interval
from sandbox.choose import shared_sandbox
from sandbox.html import RenderedPage, Renderer, shared_renderer
from settings import Settings
from tasks.backend_score import BackendScorer, TruthFailed
from tasks.colbench import Task, read_tasks
from tasks.similarity import similarity

DEGREES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="tasks, JSON lines")
    parser.add_argument("--limit", type=int, help="first tasks only")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the file's backend and frontend tasks."""
    tasks = read_tasks(arguments.file)[: arguments.limit]
    result: dict[str, Any] = {"file": arguments.file.name, "tasks": len(tasks)}
    backend = [t for t in tasks if t.kind == "backend"]
    frontend = [t for t in tasks if t.kind == "frontend"]
    if backend:
        result["backend"] = measure_backend(backend)
    if frontend:
        result["frontend"] = measure_frontend(frontend)
    return result


def measure_backend(tasks: list[Task]) -> dict[str, Any]:
    """References, mutants and constants."""
    scorer = BackendScorer(shared_sandbox(Settings()))
    unusable: dict[str, str] = {}
    unnoticed: dict[str, list[str]] = {kind: [] for kind in KINDS}
    made: Counter[str] = Counter()
    for task in tqdm(tasks, desc="references and mutants", disable=None):
        try:
            own = scorer.score(task, task.ground_truth)
        except TruthFailed as error:
            unusable[task.task_id] = error.detail
            continue
        if not own.success:
            unusable[task.task_id] = f"the reference does not repeat itself: {own.message}"
            continue
        for kind, mutant in mutants(task.ground_truth):
            made[kind] += 1
            if scorer.score(task, mutant).success:
                unnoticed[kind].append(task.task_id)
    constant = constant_answers(tasks)
    print(f"\nReferences that score 1.0: {len(tasks) - len(unusable)} of {len(tasks)}")
    for name, why in unusable.items():
        print(f"  not {name}: {why}")
    print_table(
        "Mutants of the references",
        ["kind", "made", "noticed", "not noticed: rows"],
        [
            [k, made[k], made[k] - len(unnoticed[k]), " ".join(n.rpartition("-")[2] for n in unnoticed[k]) or "–"]
            for k in KINDS
        ],
    )
    print(
        f"Best constant answer: tests {format_interval(constant['tests'])}, success {format_interval(constant['success'])}"
    )
    return {"unusable": unusable, "mutants": dict(made), "unnoticed": unnoticed, "constant": constant}


def measure_frontend(tasks: list[Task]) -> dict[str, Any]:
    """The reference against itself, tricks, two real differences, and eight degrees of decay."""
    renderer = shared_renderer()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda n: _probe(renderer, tasks, n), range(len(tasks)))
        rows = list(tqdm(work, total=len(tasks), desc="pages", disable=None))
    names = [*TRICKS, "itself", "two_differences"]
    table = {name: interval([row[name] for row in rows]) for name in names}
    worst = [max(row[name] for name in TRICKS) for row in rows]
    ordered = [all(a >= b for a, b in zip(row["decay"], row["decay"][1:], strict=False)) for row in rows]
    print_table(
        f"Similarity to the reference, {len(tasks)} pages",
        ["page", "mean", "lowest", "highest"],
        [
            [n, format_interval(table[n]), f"{min(r[n] for r in rows):.3f}", f"{max(r[n] for r in rows):.3f}"]
            for n in names
        ],
    )
    gaps = [row["two_differences"] - bad for row, bad in zip(rows, worst, strict=True)]
    print(
        f"Two differences above the best trick: by {min(gaps):.3f} at least; on {sum(g > 0 for g in gaps)} of {len(rows)} pages"
    )
    print(f"The order of {DEGREES} degrees of decay is kept on {sum(ordered)} of {len(rows)} pages")
    return {"scores": table, "smallest_gap": min(gaps), "ordered": sum(ordered) / len(rows), "rows": rows}


def _probe(renderer: Renderer, tasks: list[Task], number: int) -> dict[str, Any]:
    html = tasks[number].ground_truth
    reference = renderer.render(html)
    rng = random.Random(number)

    def score(page: str) -> float:
        return similarity(renderer.render(page), reference).score

    others = {"unrelated": tasks[(number + len(tasks) // 2) % len(tasks)].ground_truth}
    row: dict[str, Any] = {name: score(others.get(name) or make(html, reference)) for name, make in TRICKS.items()}
    row["itself"] = score(html)
    row["two_differences"] = score(_two_differences(html, rng))
    row["decay"] = [row["itself"], *(score(_decayed(html, number, degree)) for degree in range(1, DEGREES + 1))]
    return row


def _soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def _header_bar(html: str, page: RenderedPage) -> str:
    red, green, blue = page.pixels[4, 4]
    return f'<body style="margin:0"><div style="height:64px;background:rgb({red},{green},{blue})"></div></body>'


def _stuffed(html: str, page: RenderedPage) -> str:
    return f'<body><div style="color:#fff;font-size:1px">{escape(_soup(html).get_text(" "))}</div></body>'


def _without_layout(html: str, page: RenderedPage) -> str:
    return "<body>" + "".join(f"<p>{escape(text)}</p>" for text in _soup(html).stripped_strings) + "</body>"


def _screenshot(html: str, page: RenderedPage) -> str:
    picture = base64.b64encode(page.png).decode()
    return f'<body style="margin:0"><img style="display:block" src="data:image/png;base64,{picture}"></body>'


TRICKS: dict[str, Callable[[str, RenderedPage], str]] = {
    "blank": lambda html, page: "<body></body>",
    "header_bar": _header_bar,
    "hidden_text": _stuffed,
    "text_without_layout": _without_layout,
    "screenshot_as_image": _screenshot,
    "unrelated": lambda html, page: "",
}


def _texts(soup: BeautifulSoup) -> list[Any]:
    return [t for t in (soup.body or soup).find_all(string=True) if t.strip()]


def _two_differences(html: str, rng: random.Random) -> str:
    """One element in another colour, one text in other words of the same length."""
    soup = _soup(html)
    coloured = [e for e in soup.find_all(class_=re.compile("bg-")) if e.name != "body"] or soup.find_all(True)[-1:]
    element = rng.choice(coloured)
    element["style"] = "background-color:#0ea5e9"
    texts = _texts(soup)
    if texts:
        text = rng.choice(texts)
        text.replace_with(codecs.encode(str(text), "rot13"))
    return str(soup)


def _decayed(html: str, seed: int, degree: int) -> str:
    """The first `degree` eighths of the texts, in one random order, are gone with their elements."""
    soup = _soup(html)
    holders = [t.parent for t in _texts(soup)]
    random.Random(seed).shuffle(holders)
    for holder in holders[: round(len(holders) * degree / DEGREES)]:
        holder.extract()
    return str(soup)
