"""Buggy programs to mend: pass@1 beside what Self-Refine, Reflexion and as many tokens of new tries make of it.

`self_refine` and `reflexion` begin with a first program of their own, whose score is pass@1. `resample` is the baseline at equal
tokens: it takes Reflexion's first program and asks for others, each from the task alone, until what is shown of the tests passes
or it has spent as many tokens as Reflexion did on that task. Where nothing is shown there is nothing to choose by: it is pass@1.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from tqdm import tqdm

from evaluation.report import (
    TOKENS,
    Row,
    Rows,
    add_model,
    means,
    measured,
    paired,
    print_table,
    protocol_of,
    spent,
    work_off,
)
from graphs import reflexion, self_refine
from intervals import format_interval, interval
from models.endpoint import open_model
from models.reply import ask
from models.scripted import ScriptedModel, call
from nodes.reflexion.attempt import PROGRAM
from runtime import Runtime, open_runtime
from sandbox.choose import shared_sandbox
from sandbox.python import Sandbox
from settings import Settings
from tasks.humanevalpack import FixTask
from tasks.unit_tests import reply_report

SCRIPTED = "scripted"
METHODS = ("self_refine", "reflexion", "resample")
MOST_TRIES = 20  # of `resample`


def check_programs(sandbox: Sandbox, tasks: list[FixTask]) -> dict[str, int]:
    """How many right and how many buggy programs pass the hidden tests: what the scores below rest on."""
    passed = {"right": 0, "buggy": 0}
    for task in tqdm(tasks, desc="programs of the file", disable=None):
        passed["right"] += passes(sandbox, task, task.right)
        passed["buggy"] += passes(sandbox, task, task.buggy)
    return passed


def passes(sandbox: Sandbox, task: FixTask, program: str) -> bool:
    """Whether the program, or that of a reply, passes the hidden tests."""
    return reply_report(sandbox, program, task.tests, [task.entry_point]).passed


def shown_tests(task: FixTask, feedback: str) -> str:
    """What a method learns of the tests."""
    return {"tests": task.tests, "examples": task.example_tests, "own": ""}[feedback]


def solve(runtime: Runtime, task: FixTask, method: str, arguments: argparse.Namespace) -> Row:
    """One task by one method: whether the first and the returned program pass, and attempts."""
    model: Any = arguments.model
    if arguments.model == SCRIPTED:
        model = ScriptedModel(turns=_script(task, method, arguments.feedback), prompts=[])
    tests = shown_tests(task, arguments.feedback)
    context: Any
    if method == "self_refine":
        context = self_refine.Context(model=model, tests=tests, max_drafts=arguments.attempts)
    else:
        evaluator: Any = "tests" if tests else "own_tests"
        context = reflexion.Context(
            model=model,
            evaluator=evaluator,
            tests=tests,
            functions=[task.entry_point] if tests else [],
            max_trials=arguments.attempts,
        )
    state = runtime.run(method, f"{method}-{task.task_id}", task.description, context)  # type: ignore[arg-type]
    tried = [d["text"] for d in state["drafts"]] if method == "self_refine" else [t["answer"] for t in state["trials"]]
    if arguments.model == SCRIPTED:
        model.finish()
    lessons = [trial["lesson"] for trial in state.get("trials", [])]
    return {"tried": tried, "answer": state["answer"], "lessons": lessons, "stop": state["stop"]}


def resample(settings: Settings, task: FixTask, reflected: Row, arguments: argparse.Namespace) -> Row:
    """New programs for as many tokens as Reflexion spent on the task; the first is Reflexion's own, and counts."""
    sandbox, tests = shared_sandbox(settings), shown_tests(task, arguments.feedback)
    model: Any = open_model(arguments.model, settings) if arguments.model != SCRIPTED else None
    trials = reflected.get("tried", [""])
    tried = trials[:1]
    budget = sum(reflected[name] for name in TOKENS)
    left = budget - budget / len(trials)  # the first program's share is spent
    reports = [reply_report(sandbox, tried[0], tests, [task.entry_point])] if tests else []
    while model and tests and left > 0 and len(tried) < MOST_TRIES and not reports[-1].passed:
        prompt = [SystemMessage(PROGRAM), HumanMessage(task.description)]
        reply = ask(model, [*prompt], seconds=settings.reply_seconds)
        left -= reply.input_tokens + reply.output_tokens
        tried.append(reply.text)
        reports.append(reply_report(sandbox, reply.text, tests, [task.entry_point]))
    best = max(range(len(reports)), key=lambda n: reports[n].score) if reports else 0
    return {"tried": tried, "answer": tried[best], "stop": "solved" if reports and reports[best].passed else "budget"}


def scored(row: Row, task: FixTask) -> Row:
    """The row with whether its first and its returned program pass the hidden tests."""
    sandbox = shared_sandbox(Settings())
    first = passes(sandbox, task, row["tried"][0]) if row.get("tried") else False
    return {
        **row,
        "first": first,
        "passed": passes(sandbox, task, row["answer"]),
        "attempts": len(row.get("tried", [])),
    }


def _script(task: FixTask, method: str, feedback: str) -> list[Any]:
    """The buggy program, then the right one, with what each method asks between."""
    buggy, right = f"```python\n{task.buggy}\n```", f"```python\n{task.right}\n```"
    if method == "reflexion":
        own = [f"```python\n{task.example_tests}\n```"] if feedback == "own" else []
        return [buggy, *own, "Compare each step with the docstring.", right]
    if feedback == "own":
        return [
            buggy,
            call("give_verdict", score=3, criticism="It is wrong."),
            right,
            call("give_verdict", score=10, criticism=""),
        ]
    return [buggy, right]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a benchmark of programs to mend."""
    add_model(parser, SCRIPTED, "the script, which repeats the buggy program, then gives the right one")
    parser.add_argument(
        "--feedback",
        choices=["tests", "examples", "own"],
        default="tests",
        help="what the methods learn: which hidden tests fail, which of the shown examples, or only what they write themselves",
    )
    parser.add_argument("--attempts", type=int, default=4, help="most drafts or trials")
    parser.add_argument("--price", type=float, nargs=2, metavar=("IN", "OUT"), help="price of a million tokens")


def mend(tasks: Sequence[FixTask], name: str, arguments: argparse.Namespace) -> Row:
    """Every method on every task; print and return what each reaches, and how they differ on the same tasks."""
    setting = {key: getattr(arguments, key) for key in ("model", "feedback", "attempts", "seed")}
    rows = Rows(arguments.out, setting, arguments.resume)

    def work(method: str, task: FixTask) -> Row:
        run = (
            partial(resample, runtime.settings, task, rows.done[f"reflexion {task.task_id}"], arguments)
            if method == "resample"
            else partial(solve, runtime, task, method, arguments)
        )
        return scored(measured(run), task)

    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        for some in (METHODS[:2], METHODS[2:]):  # `resample` needs to know what Reflexion spent
            jobs = {f"{method} {t.task_id}": partial(work, method, t) for t in tasks for method in some}
            work_off(rows, jobs, arguments.concurrency, "programs")
        protocol = "" if arguments.model == SCRIPTED else protocol_of(arguments.model, runtime.settings, rows)
    done = {method: [rows.done[f"{method} {t.task_id}"] for t in tasks] for method in METHODS}
    methods = {method: _summary(kept, arguments.price) for method, kept in done.items()}
    columns = ["first", "passed", "attempts", "seconds"]
    print_table(
        f"{name}, {arguments.model}, feedback: {arguments.feedback}, sandbox: {shared_sandbox(Settings()).kind}",
        ["method", "pass@1", "pass", "attempts", "seconds", "tokens in / out", "cost"],
        [
            [
                m,
                *(format_interval(s[c]) for c in columns),
                f"{s['input_tokens']:,} / {s['output_tokens']:,}",
                s["cost"] if s["cost"] is not None else "–",
            ]
            for m, s in methods.items()
        ],
    )
    gains = {
        f"{method} minus its first": [float(r["passed"]) - float(r["first"]) for r in kept]
        for method, kept in done.items()
    }
    worse = {method: sum(r["first"] and not r["passed"] for r in kept) for method, kept in done.items()}
    print(f"Returned a worse program than the first: {worse}")
    return {
        **setting, "protocol": protocol, "tasks": len(tasks), "methods": methods, "worse than the first": worse,
        "spent": {method: spent(kept) for method, kept in done.items()},
        "paired": {
            **{title: {"passed": interval(values)} for title, values in gains.items()},
            "reflexion minus resample": {"passed": paired(done["reflexion"], done["resample"], "passed")},
        },
        "sandbox": shared_sandbox(Settings()).report(),
    }  # fmt: skip


def _summary(rows: list[Row], price: list[float] | None) -> Row:
    used = spent(rows)
    cost = (used["input_tokens"] * price[0] + used["output_tokens"] * price[1]) / 1e6 if price else None
    found = means(rows, ("first", "passed", "attempts", "seconds"))
    return {**found, **{name: used[name] for name in TOKENS}, "cost": cost}
