"""HotpotQA, each question over its own ten pages in archival storage: exact match and F1 of ReAct, and of what goes round it.

`alone`: the model answers from what it knows; `react`: with the tools `search` and `lookup`; `self_refine`: its drafts are ReAct's,
and it criticises them itself; `reflexion`: its trials are ReAct's, and it is told right or wrong (as in the paper, §4.1), so that
its figure stands beside as many tries, not beside one. The oracle opens the pages that hold the answer, one a step, and answers:
it must reach 100 % within the step budget.

    python -m evaluation hotpotqa --file hotpotqa_distractor_60.jsonl
    python -m evaluation hotpotqa --file hotpotqa_distractor_60.jsonl --model qwen2.5-coder-1.5b-instruct --methods alone react
"""

import argparse
import re
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from evaluation.asking import ask_alone
from evaluation.report import (
    ORACLE,
    Row,
    Rows,
    add_model,
    chosen,
    means,
    measured,
    paired,
    print_table,
    protocol_of,
    spent,
    work_off,
)
from graphs import react, reflexion, self_refine
from intervals import format_interval
from memory.archival import Archival
from memory.documents import Section
from models.scripted import PolicyModel, Reply, call
from models.transcript import transcript
from nodes.react.state import BuiltIn
from nodes.self_refine.critique import CRITICISE
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.hotpotqa import HotpotQuestion, exact_match, f1, read_hotpotqa

METHODS = ("alone", "react", "self_refine", "reflexion")
INSTRUCTIONS = (
    "Answer with a few words, yes or no: the name, the number or the place alone, as briefly as it can be said."
)
TOOLS: list[BuiltIn] = ["search", "lookup"]


def oracle(question: HotpotQuestion, method: str) -> Any:
    """The policy that knows which pages matter: opens them, one a step, and answers once it has read them all."""

    def policy(prompt: list[BaseMessage]) -> Reply:
        if method == "alone":
            return question.answer
        if prompt[0].text == CRITICISE:
            return call("give_verdict", score=10, criticism="")
        read = [m.text for m in prompt if isinstance(m, ToolMessage)]
        if len(read) < len(question.supporting):
            return call("search", id=f"c{len(read)}", entity=question.supporting[len(read)])
        opened = all(
            text[:40] in " ".join(question.pages[t].split()) for t, text in zip(question.supporting, read, strict=True)
        )
        return question.answer if opened else "a page was not found"

    return policy


def solve(runtime: Runtime, number: int, question: HotpotQuestion, method: str, arguments: argparse.Namespace) -> Row:
    """One question over its own pages by one method."""
    model: Any = arguments.model
    if arguments.model == ORACLE:
        model = PolicyModel(policy=oracle(question, method))
    if method == "alone":
        work = partial(ask_alone, runtime.settings, model, [SystemMessage(INSTRUCTIONS), HumanMessage(question.text)])
    else:
        agent = f"hotpot-{number}-{method}"
        archival = Archival(runtime.store, agent)
        for title, text in question.pages.items():
            archival.ingest(title, [Section(text, "")])
        work = partial(work_out, runtime, agent, question, method, model, arguments)
    row = {"question": question.text, "expected": question.answer, **measured(work)}
    return {**row, "exact": exact_match(row["answer"], question.answer), "f1": f1(row["answer"], question.answer)}


def work_out(
    runtime: Runtime, agent: str, question: HotpotQuestion, method: str, model: Any, arguments: argparse.Namespace
) -> Row:
    """What one of the machines answers, how it ended and what it did; where that is known, how often it searched."""
    same: dict[str, Any] = {"agent": agent, "model": model, "tools": TOOLS, "max_steps": arguments.steps}
    task = f"{question.text}\n\n{INSTRUCTIONS}"
    if method == "react":
        state = runtime.run("react", agent, task, react.Context(**same))
        steps = transcript(state["messages"][1:])
        row = {"steps": state["steps"]}
    elif method == "self_refine":
        refine = self_refine.Context(**same, draft="react", max_drafts=arguments.attempts)
        state = runtime.run("self_refine", agent, task, refine)
        drafts = state["drafts"]
        first = exact_match(drafts[0]["text"], question.answer)
        steps = "\n".join(f"Draft: {d['text']}\nCritique ({d['score']:.2f}): {d['critique']}" for d in drafts)
        row = {"attempts": len(drafts), "first": first}
    else:
        tries = reflexion.Context(
            **same, attempt="react", evaluator="exact", expected=question.answer, max_trials=arguments.attempts
        )
        state = runtime.run("reflexion", agent, task, tries)
        trials = state["trials"]
        steps = "\n".join(f"{t.get('trajectory', '')}\nLesson: {t['lesson']}" for t in trials)
        row = {"attempts": len(trials), "first": exact_match(trials[0]["answer"], question.answer)}
    if method != "self_refine":  # its drafts do not tell
        searches = len(re.findall(r"^Call: search\(", steps, re.MULTILINE))
        row |= {"searched": searches > 0, "searches": searches}
    return {**row, "answer": state["answer"], "stop": state["stop"], "transcript": steps}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="HotpotQA, distractor setting, JSON lines")
    add_model(parser, ORACLE, "the oracle policy")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["react"])
    parser.add_argument("--steps", type=int, default=7, help="most thoughts an attempt (7 in the ReAct paper)")
    parser.add_argument("--attempts", type=int, default=3, help="most drafts or trials")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask every question by each method; report exact match, F1, searches, steps and how the runs ended."""
    questions = list(enumerate(read_hotpotqa(arguments.file)))[chosen(arguments)]
    setting = {name: getattr(arguments, name) for name in ("model", "steps", "attempts", "seed")}
    rows = Rows(arguments.out, setting, arguments.resume)
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        work = {
            f"{method} {number}": partial(solve, runtime, number, question, method, arguments)
            for number, question in questions
            for method in arguments.methods
        }
        work_off(rows, work, arguments.concurrency, "questions")
        protocol = protocol_of(arguments.model, runtime.settings, rows)
    done = {method: [rows.done[f"{method} {n}"] for n, _ in questions] for method in arguments.methods}
    names = ("exact", "f1", "first", "searched", "searches", "steps", "attempts", "seconds")
    found = {method: means(kept, names) for method, kept in done.items()}
    stops = {method: dict(Counter(row["stop"] for row in kept if row.get("stop"))) for method, kept in done.items()}
    print_table(
        f"HotpotQA, {arguments.model}, {len(questions)} questions, at most {arguments.steps} steps",
        ["method", *names, "ended"],
        [
            [
                m,
                *(format_interval(v[n], 2) if n in v else "–" for n in names),
                ", ".join(f"{k} {c}" for k, c in stops[m].items()),
            ]
            for m, v in found.items()
        ],
    )
    return {
        **setting, "protocol": protocol, "questions": len(questions), "methods": found, "stops": stops,
        "spent": {method: spent(kept) for method, kept in done.items()},
        "paired": {
            f"{method} minus react": {name: paired(kept, done["react"], name) for name in ("exact", "f1")}
            for method, kept in done.items()
            if "react" in done and method != "react"
        },
    }  # fmt: skip
