"""HotpotQA through ReAct: each question over its own ten pages in archival storage; exact match and F1.

The oracle policy opens the pages that hold the answer, one a step, and answers: it must reach 100 % within the step budget.

    python -m evaluation hotpotqa --file hotpotqa_distractor_60.jsonl
    python -m evaluation hotpotqa --file hotpotqa_distractor_60.jsonl --model gpt-4.1-mini
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import BaseMessage, ToolMessage
from tqdm import tqdm

from evaluation.report import ORACLE, Rows, print_table
from graphs import react
from intervals import format_interval, interval
from memory.archival import Archival
from memory.documents import Section
from models.scripted import PolicyModel, Reply, call
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.hotpotqa import HotpotQuestion, exact_match, f1, read_hotpotqa

INSTRUCTIONS = (
    "Answer with a few words, yes or no: the name, the number or the place alone, as briefly as it can be said."
)


def oracle(question: HotpotQuestion) -> Any:
    """The policy that knows which pages matter: opens them, one a step, and answers once it has read them all."""

    def policy(prompt: list[BaseMessage]) -> Reply:
        read = [m.text for m in prompt if isinstance(m, ToolMessage)]
        if len(read) < len(question.supporting):
            return call("search", id=f"c{len(read)}", entity=question.supporting[len(read)])
        opened = all(
            text[:40] in " ".join(question.pages[t].split()) for t, text in zip(question.supporting, read, strict=True)
        )
        return question.answer if opened else "a page was not found"

    return policy


def solve(runtime: Runtime, number: int, question: HotpotQuestion, arguments: argparse.Namespace) -> dict[str, Any]:
    """One question over its own pages."""
    agent = f"hotpot-{number}"
    archival = Archival(runtime.store, agent)
    for title, text in question.pages.items():
        archival.ingest(title, [Section(text, "")])
    model: Any = PolicyModel(policy=oracle(question)) if arguments.model == ORACLE else arguments.model
    context = react.Context(
        agent=agent, model=model, tools=["search", "lookup"], max_steps=arguments.steps, instructions=INSTRUCTIONS
    )
    with get_usage_metadata_callback() as usage:
        state = runtime.run("react", agent, question.text, context)
    return {
        "exact": exact_match(state["answer"], question.answer),
        "f1": f1(state["answer"], question.answer),
        "steps": state["steps"],
        "stop": state["stop"],
        "answer": state["answer"],
        "tokens": sum(u["total_tokens"] for u in usage.usage_metadata.values()),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="HotpotQA, distractor setting, JSON lines")
    parser.add_argument(
        "--model", default=ORACLE, help="a model at the endpoint of the settings; default: the oracle policy"
    )
    parser.add_argument("--steps", type=int, default=7, help="most thoughts a question (7 in the ReAct paper)")
    parser.add_argument("--limit", type=int, help="first questions only")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask every question; report exact match, F1, steps and how the runs ended."""
    questions = read_hotpotqa(arguments.file)[: arguments.limit]
    setting = {"model": arguments.model, "steps": arguments.steps}
    rows = Rows(arguments.out, setting, arguments.resume)
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        for number, question in enumerate(tqdm(questions, desc="questions", disable=None)):
            if str(number) not in rows.done:
                rows.add(str(number), solve(runtime, number, question, arguments))
    done = [rows.done[str(n)] for n in range(len(questions))]
    means = {name: interval([float(row[name]) for row in done]) for name in ("exact", "f1", "steps", "tokens")}
    stops = dict(Counter(row["stop"] for row in done))
    print_table(
        f"HotpotQA, {arguments.model}, {len(done)} questions, at most {arguments.steps} steps",
        ["exact match", "F1", "steps", "tokens", "ended"],
        [[*(format_interval(means[n]) for n in means), ", ".join(f"{k} {v}" for k, v in stops.items())]],
    )
    return {**setting, "questions": len(done), **means, "stops": stops}
