"""HumanEvalPack, buggy function to fix: pass@1 beside what Self-Refine and Reflexion make of it.

The scripted model repeats the buggy program, then gives the right one: both methods must go from 0 to 100 %, in two attempts.

    python -m evaluation humanevalpack --file humanevalpack_100.jsonl
    python -m evaluation humanevalpack --file humanevalpack_100.jsonl --model gpt-4.1-mini --feedback own --concurrency 8

`--feedback tests` shows the methods which hidden assertions fail, as a programmer with a test suite sees; `examples` only those
of the docstring; `own` has Reflexion write its own (Self-Refine then criticises itself). The score is always the hidden tests'.
"""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.callbacks import get_usage_metadata_callback
from tqdm import tqdm

from evaluation.report import Rows, print_table
from graphs import reflexion, self_refine
from intervals import format_interval, interval
from models.scripted import ScriptedModel, call
from runtime import Runtime, open_runtime
from sandbox.choose import shared_sandbox
from sandbox.python import Sandbox
from settings import Settings
from tasks.humanevalpack import FixTask, read_humanevalpack
from tasks.unit_tests import reply_report

SCRIPTED = "scripted"
METHODS = ("self_refine", "reflexion")


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


def solve(runtime: Runtime, task: FixTask, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One task by one method: whether the first and the returned program pass, attempts and tokens."""
    model: Any = arguments.model
    if arguments.model == SCRIPTED:
        model = ScriptedModel(turns=_script(task, method, arguments.feedback), prompts=[])
    tests = {"tests": task.tests, "examples": task.example_tests, "own": ""}[arguments.feedback]
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
    with get_usage_metadata_callback() as usage:
        state = runtime.run(method, f"{method}-{task.task_id}", task.description, context)  # type: ignore[arg-type]
    tried = [d["text"] for d in state["drafts"]] if method == "self_refine" else [t["answer"] for t in state["trials"]]
    if arguments.model == SCRIPTED:
        model.finish()
    sandbox = shared_sandbox(Settings())
    return {
        "first": passes(sandbox, task, tried[0]),
        "passed": passes(sandbox, task, state["answer"]),
        "attempts": len(tried),
        "stop": state["stop"],
        "input_tokens": sum(u["input_tokens"] for u in usage.usage_metadata.values()),
        "output_tokens": sum(u["output_tokens"] for u in usage.usage_metadata.values()),
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
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="HumanEvalPack, JSON lines")
    parser.add_argument(
        "--model", default=SCRIPTED, help="a model at the endpoint of the settings; default: the script"
    )
    parser.add_argument("--feedback", choices=["tests", "examples", "own"], default="tests")
    parser.add_argument("--attempts", type=int, default=4, help="most drafts or trials")
    parser.add_argument("--limit", type=int, help="first tasks only")
    parser.add_argument("--concurrency", type=int, default=2, help="tasks at once")
    parser.add_argument("--price", type=float, nargs=2, metavar=("IN", "OUT"), help="price of a million tokens")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score the file's own programs, then each method on each task."""
    tasks = read_humanevalpack(arguments.file)[: arguments.limit]
    sandbox = shared_sandbox(Settings())
    programs = check_programs(sandbox, tasks)
    setting = {"model": arguments.model, "feedback": arguments.feedback, "attempts": arguments.attempts}
    rows = Rows(arguments.out, setting, arguments.resume)
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        work = [(task, method) for method in METHODS for task in tasks]
        left = [(t, m) for t, m in work if f"{m} {t.task_id}" not in rows.done]
        with ThreadPoolExecutor(arguments.concurrency) as pool:
            jobs = [pool.submit(partial(solve, runtime, t, m, arguments)) for t, m in left]
            for (task, method), job in tqdm(zip(left, jobs, strict=True), total=len(left), desc="fixing", disable=None):
                rows.add(f"{method} {task.task_id}", job.result())
    methods = {
        method: _summary([rows.done[f"{method} {t.task_id}"] for t in tasks], arguments.price) for method in METHODS
    }
    print(
        f"The file's own programs under the hidden tests: right {programs['right']}, buggy {programs['buggy']} of {len(tasks)}"
    )
    columns = ["first", "passed", "attempts"]
    print_table(
        f"HumanEvalPack fix, {arguments.model}, feedback: {arguments.feedback}, sandbox: {sandbox.kind}",
        ["method", "pass@1", "pass", "attempts", "tokens in / out", "cost"],
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
    return {**setting, "tasks": len(tasks), "programs": programs, "methods": methods, "sandbox": sandbox.report()}


def _summary(rows: list[dict[str, Any]], price: list[float] | None) -> dict[str, Any]:
    tokens = {name: sum(row[name] for row in rows) for name in ("input_tokens", "output_tokens")}
    cost = (tokens["input_tokens"] * price[0] + tokens["output_tokens"] * price[1]) / 1e6 if price else None
    means = {name: interval([float(row[name]) for row in rows]) for name in ("first", "passed", "attempts")}
    return {**means, **tokens, "cost": cost}
