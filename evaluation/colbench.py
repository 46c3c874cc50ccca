"""ColBench: an agent and a simulated person work on many tasks, and hidden tests or pages score what comes of it.

    python -m evaluation colbench --split own-backend/test --count 500 --agent asking --person rules
    python -m evaluation colbench --file backend.jsonl --agent my-model --person model --person-model other --concurrency 32

A run that was stopped or killed goes on where it was with --resume: what a model was paid for is not asked again. Beside the agent
stand two baselines: the best constant answer of each task, and the agent's answer without any question.
"""

import argparse
import json
import shutil
import time
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from evaluation.report import TOKENS, Row, Rows, print_table, protocol_of, spent, work_off
from evaluation.scripted_agents import AGENTS
from graphs import collaborate
from intervals import format_interval, interval
from runtime import Runtime, open_runtime
from sandbox.choose import shared_sandbox
from sandbox.html import shared_renderer
from settings import Settings
from tasks.backend_score import BackendScorer, TruthFailed
from tasks.colbench import Task
from tasks.decisions import SPLITS
from tasks.lookup import find_task, store_file
from text import read_json_lines

MODES = {"dialogue": None, "single_turn": 1}
"""How the agent works on a task: with a person, or at once."""


def talk(runtime: Runtime, task_id: str, way: str, sample: int, arguments: argparse.Namespace) -> Row:
    """One dialogue, begun or resumed: its trajectory and what of it is counted; a resumed one's seconds are the rest's.

    A task whose reference cannot be scored is named so. Raises ModelFailed.
    """
    began = time.monotonic()
    task = find_task(task_id, runtime.settings)
    scripted = AGENTS.get(arguments.agent)
    same = "person person_model patience vagueness forgetfulness question_cost tolerance scoring".split()
    context = collaborate.Context(
        model=scripted(task) if scripted else arguments.agent, max_turns=MODES[way] or arguments.turns,
        seed=arguments.seed + sample, **{name: getattr(arguments, name) for name in same},
    )  # fmt: skip
    thread = f"{way} {task_id} {sample}"
    state = runtime.state("collaborate", thread)
    if not state.get("trajectory"):
        waits = runtime.pending_step("collaborate", thread)
        try:
            state = runtime.run("collaborate", thread, None if waits else task_id, context)
        except TruthFailed as error:
            return {"unusable": str(error), **dict.fromkeys(TOKENS, 0)}
    clip = state["parts"].get("clip")
    extra = {"way": way, "sample": sample} | ({} if clip is None else {"clip": clip})
    row = {**state["trajectory"], "agent": arguments.agent, "extra": extra}
    turns = state["turns"]
    said = [t for t in turns if t["role"] == "person"]
    return {
        "trajectory": row,
        "score": state["score"],
        "success": state["success"],
        "turns": sum(t["role"] == "agent" for t in turns),
        "replies": len(said),
        "leaks": sum(bool(t["leak"]) for t in said),
        "clip": clip,
        "told": len(state["told"]) / len(task.facts) if task.facts else None,
        "failure": state["failure"] or ("" if state["success"] else "wrong"),
        "input_tokens": state["input_tokens"],
        "output_tokens": state["output_tokens"],
        "seconds": round(time.monotonic() - began, 1),
    }


def constant_answers(tasks: list[Task]) -> dict[str, dict[str, float]]:
    """The share of tests that the best constant answer of a backend task passes, and how often that is all of them."""
    scorer = BackendScorer(shared_sandbox(Settings()))
    shares = []
    for task in tasks:
        if task.kind != "backend":
            continue
        try:
            truths = scorer.truth(task)
        except TruthFailed:
            continue
        shares.append(max(sum(scorer.matches(b, a) for b in truths) for a in truths) / len(truths))
    return {"tests": interval(shares), "success": interval([float(share == 1) for share in shares])}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", type=Path, help="tasks, JSON lines: public ColBench or your own")
    source.add_argument("--split", choices=[f"own-{k}/{s}" for k in ("backend", "frontend") for s in SPLITS])
    parser.add_argument("--count", type=int, default=100, help="tasks")
    parser.add_argument("--difficulty", type=int, default=3, help="hidden decisions of a generated task")
    parser.add_argument("--first", type=int, default=0, help="seed of the first generated task")
    parser.add_argument(
        "--agent", "--model", required=True, dest="agent", help=f"a model at the endpoint, or {', '.join(AGENTS)}"
    )
    parser.add_argument("--samples", type=int, default=1, help="dialogues about each task, with a seed each")
    parser.add_argument("--person", choices=["rules", "model", "vision"], default="rules")
    parser.add_argument("--person-model", default="", help="who plays the person; default: the agent's model")
    parser.add_argument("--patience", type=int, default=0)
    parser.add_argument("--vagueness", type=float, default=0.1)
    parser.add_argument("--forgetfulness", type=float, default=0.1)
    parser.add_argument(
        "--question-cost", type=float, default=0.0, help="taken off the score for each reply of the person"
    )
    parser.add_argument("--turns", type=int, default=10, help="most replies of the agent")
    parser.add_argument("--scoring", choices=["palimpsest", "released"], default="palimpsest")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="largest difference of numbers that are equal; 0: =="
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=2, help="dialogues at once")
    parser.add_argument("--price", type=float, nargs=2, metavar=("IN", "OUT"), help="price of a million tokens")
    parser.add_argument("--opponent", type=Path, help="trajectories of another run, for the win rate")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the dialogues, and report."""
    names = (
        "agent person person_model patience vagueness forgetfulness question_cost turns scoring tolerance seed".split()
    )
    setting = {name: getattr(arguments, name) for name in names}
    home = arguments.out.with_suffix(".unfinished")
    if not arguments.resume:
        shutil.rmtree(home, ignore_errors=True)
    settings = Settings(home=home)
    ids = (
        store_file(arguments.file, settings, arguments.count)
        if arguments.file
        else [f"{arguments.split}/{arguments.difficulty}/{arguments.first + n}" for n in range(arguments.count)]
    )
    tasks = {id: find_task(id, settings) for id in ids}
    rows = Rows(arguments.out, {**setting, "first": ids[0]}, arguments.resume)
    keys = {id: [f"{way} {id} {n}" for way, n in product(MODES, range(arguments.samples))] for id in ids}
    with open_runtime(settings) as runtime:
        work = {
            f"{way} {id} {n}": partial(talk, runtime, id, way, n, arguments)
            for way, id, n in product(MODES, ids, range(arguments.samples))
        }
        work_off(rows, work, arguments.concurrency, "dialogues", lambda: _running(rows, arguments.price))
        protocol = "" if arguments.agent in AGENTS else protocol_of(arguments.agent, settings, rows)
    shutil.rmtree(home, ignore_errors=True)
    unusable = [id for id in ids if any("unusable" in rows.done[key] for key in keys[id])]
    for id in unusable:
        print(f"Left out, for its reference cannot be scored here: {id}")
    ids = [id for id in ids if id not in unusable]
    if not ids:
        raise ValueError("None of the tasks has a reference that can be scored here.")
    result = {**_report([tasks[id] for id in ids], rows, arguments), "unusable": unusable}
    trajectories = rows.path.with_name(rows.path.name.replace(".rows.", ".trajectories."))
    held = [rows.done[f"dialogue {id} {n}"] for id, n in product(ids, range(arguments.samples))]
    whole = [json.dumps(row["trajectory"], ensure_ascii=False) for row in held]
    trajectories.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    print(f"\nTrajectories: {trajectories}")
    return {**setting, "protocol": protocol, "samples": arguments.samples, **result}


def _running(rows: Rows, price: list[float] | None) -> str:
    """Score and cost so far."""
    done = [row for key, row in rows.done.items() if key.startswith("dialogue ") and "score" in row]
    score = sum(row["score"] for row in done) / max(1, len(done))
    return f"score {score:.3f}" + (f", cost {_cost(list(rows.done.values()), price):.2f}" if price else "")


def _cost(rows: list[dict[str, Any]], price: list[float]) -> float:
    return float(
        sum(row.get("input_tokens", 0) * price[0] + row.get("output_tokens", 0) * price[1] for row in rows) / 1e6
    )


def _report(tasks: list[Task], rows: Rows, arguments: argparse.Namespace) -> dict[str, Any]:
    ways = {
        way: [[rows.done[f"{way} {t.task_id} {n}"] for n in range(arguments.samples)] for t in tasks] for way in MODES
    }
    table: dict[str, Any] = {}
    for way, by_task in ways.items():
        done = [row for samples in by_task for row in samples]
        replies = sum(row["replies"] for row in done)
        table[way] = {
            "tests": interval([mean(row["score"] for row in samples) for samples in by_task]),
            "success": interval([mean(float(row["success"]) for row in samples) for samples in by_task]),
            "best of all": interval([max(float(row["success"]) for row in samples) for samples in by_task]),
            "turns": interval([mean(float(row["turns"]) for row in samples) for samples in by_task]),
            "clip": interval([row["clip"] for row in done if row["clip"] is not None]),
            "told": interval([row["told"] for row in done if row["told"] is not None]),
            "leak_rate": sum(row["leaks"] for row in done) / replies if replies else 0.0,
            "failures": dict(sorted(Counter(row["failure"] for row in done if row["failure"]).items())),
            **{name: int(used) for name, used in spent(done).items() if name in TOKENS},
            "cost": _cost(done, arguments.price) if arguments.price else None,
        }
    if (constant := constant_answers(tasks))["tests"]["n"]:
        table["constant_answer"] = constant
    agent = arguments.agent
    names = {"dialogue": agent, "single_turn": f"{agent}, at once", "constant_answer": "best constant"}
    means = ("tests", "clip", "success", "best of all", "turns", "told")
    print_table(
        f"ColBench, {len(tasks)} tasks x {arguments.samples}, person: {arguments.person}, scoring: {arguments.scoring}",
        [
            "agent",
            "tests or similarity",
            "CLIP",
            "success",
            "best of all",
            "turns",
            "facts told",
            "leaks",
            "tokens in / out",
            "cost",
        ],
        [
            [
                names[way],
                *(format_interval(t[c]) if c in t and t[c]["n"] else "–" for c in means),
                f"{t['leak_rate']:.3f}" if "leak_rate" in t else "–",
                f"{t['input_tokens']:,} / {t['output_tokens']:,}" if "input_tokens" in t else "–",
                f"{t['cost']:.2f}" if t.get("cost") is not None else "–",
            ]
            for way, t in table.items()
        ],
    )
    print(f"Failures: {table['dialogue']['failures'] or 'none'}")
    result = {"tasks": len(tasks), "table": table, "sandbox": shared_sandbox(Settings()).report()}
    if any(task.kind == "frontend" for task in tasks):
        result["renderer"] = shared_renderer().report()
    rates = {
        "dialogue against single turn": win_rate(ways["dialogue"], [r for rows in ways["single_turn"] for r in rows])
    }
    if arguments.opponent:
        theirs = [row for _, row in read_json_lines(arguments.opponent)]
        rates[f"dialogue against {arguments.opponent.name}"] = win_rate(ways["dialogue"], theirs)
    for against, (by, rate) in rates.items():
        print(f"Win rate by {by}, {against}: {format_interval(rate)}")
    costs = {way: spent(row for samples in done for row in samples) for way, done in ways.items()}
    named = {f"{against}, by {by}": {"win rate": rate} for against, (by, rate) in rates.items()}
    return {**result, "spent": costs, "win rates": named}


def win_rate(mine: list[list[Row]], others: list[Row]) -> tuple[str, dict[str, float]]:
    """What was compared, and the share of tasks with a better one than the others'; a tie is half a win.

    Pages are compared by CLIP's cosine where both sides have it for each, else by our own score, as programs are by their tests.
    Raises ValueError for other tasks.
    """
    theirs: dict[str, list[Row]] = {}
    for row in others:
        kept = row.get("trajectory", row)  # a row of this run, or a trajectory of another
        theirs.setdefault(kept["task"], []).append(kept)
    names = [samples[0]["trajectory"]["task"] for samples in mine]
    if missing := [name for name in names if name not in theirs]:
        raise ValueError(f"The opponent has no trajectory of {missing[0]}: the win rate needs the same tasks.")
    pairs = [(samples, theirs[name]) for samples, name in zip(mine, names, strict=True)]
    by_clip = all("clip" in t["extra"] for samples, row in pairs for t in (*(s["trajectory"] for s in samples), *row))

    def value(trajectory: Row) -> float:
        return float(trajectory["extra"]["clip"] if by_clip else trajectory["score"])

    wins = [
        mean(_win(value(sample["trajectory"]), value(other)) for sample, other in product(samples, row))
        for samples, row in pairs
    ]
    return "CLIP cosine" if by_clip else "our score", interval(wins)


def _win(mine: float, other: float) -> float:
    return 0.5 if mine == other else float(mine > other)
