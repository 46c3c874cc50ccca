"""Document questions (MemGPT §3.2.1): NQ-Open, the passage that answers among K others.

The same model two ways: it sees all passages, each cut so that they fit its window, or is the MemGPT agent, in whose archival
storage they lie whole. An answer is right where it holds one of the file's, both normalised.

    python -m evaluation nq-open --file nq_open_oracle_400.jsonl --model qwen2.5-coder-1.5b-instruct --others 5 20 --limit 20
    python -m evaluation nq-open --file nq_open_oracle_400.jsonl --limit 5      (the oracle that searches, and knows the answer)
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from tqdm import tqdm

from evaluation.report import ORACLE, Rows, add_ways, chosen, print_table, protocol_of
from graphs.memgpt import Context, user_message
from intervals import format_interval, interval
from memory.archival import Archival
from memory.documents import Section
from models.endpoint import open_model
from models.refusals import ModelFailed
from models.reply import ask
from models.scripted import PolicyModel, call
from nodes.memgpt.window import estimate
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.nq_open import OpenQuestion, Passage, is_right, read_nq_open

WAYS = ("cut", "memgpt")
INSTRUCTIONS = "Answer the question from the documents, with a few words."
SEARCH = "Your archival storage holds documents: search them, and answer with a few words. The question: "
REPLY = 200  # tokens of the window that are left to the answer


def among_others(questions: Sequence[OpenQuestion], number: int, others: int) -> list[Passage]:
    """The gold passage of a question, shuffled among those of `others` other questions, none of which holds an answer.

    Raises ValueError where there are not so many.
    """
    question = questions[number]
    rng = random.Random(f"nq {number} {others}")
    fit = [
        q.gold for q in questions if q.gold.title != question.gold.title and not is_right(q.gold.text, question.answers)
    ]
    if len(fit) < others:
        raise ValueError(f"{others} other passages were asked for, and the file has {len(fit)} without the answer.")
    passages = [question.gold, *rng.sample(fit, others)]
    rng.shuffle(passages)
    return passages


def cut_prompt(question: str, passages: Sequence[Passage], window: int) -> list[BaseMessage]:
    """All passages, each cut to an equal share of the window's tokens."""
    share = (window - REPLY - estimate(INSTRUCTIONS) - estimate(question)) // len(passages)
    documents = [_cut(f"Document {n} ({p.title}): {p.text}", share) for n, p in enumerate(passages, start=1)]
    return [SystemMessage(INSTRUCTIONS), HumanMessage("\n".join([*documents, f"Question: {question}?"]))]


def _cut(text: str, tokens: int) -> str:
    words = text.split(" ")
    while words and estimate(" ".join(words)) > tokens:
        words = words[: -max(1, len(words) // 20)]
    return " ".join(words)


def answer_cut(
    settings: Settings, model: Any, question: str, passages: Sequence[Passage], window: int
) -> dict[str, Any]:
    """What the model says when it sees the passages."""
    reply = ask(
        open_model(model, settings),
        cut_prompt(question, passages, window),
        seconds=settings.reply_seconds,
        most=REPLY,
        temperature=0.0,
    )
    return {"answer": reply.text, "read": reply.input_tokens}


def answer_memgpt(
    runtime: Runtime, model: Any, agent: str, question: OpenQuestion, passages: Sequence[Passage], window: int
) -> dict[str, Any]:
    """What the MemGPT agent says, how often it searched, and whether it saw the passage that answers."""
    archival = Archival(runtime.store, agent)
    for n, passage in enumerate(passages):
        archival.ingest(f"{n} {passage.title}", [Section(passage.text, "")])
    context = Context(agent=agent, model=model, window=window)
    state = runtime.run("memgpt", agent, user_message(f"{SEARCH}{question.text}?"), context)
    found = [m.text for m in state["messages"] if isinstance(m, ToolMessage) and "search" in str(m.name)]
    begin = json.dumps(" ".join(question.gold.text.split())[:60])[1:-1]
    return {
        "answer": "\n".join(state["replies"]),
        "read": state["tokens"]["read"],
        "searches": len(found),
        "found": any(begin in " ".join(text.split()) for text in found),
    }


def oracle(question: OpenQuestion, calls: bool) -> PolicyModel:
    """The model that searches once, in the words of the passage, and knows the answer."""

    def policy(prompt: list[BaseMessage]) -> AIMessage:
        if not calls:
            return AIMessage(question.answers[0])
        results = [m.name for m in prompt if isinstance(m, ToolMessage)]
        if not results:
            return call("archival_memory_search", query=question.gold.text[:200], page=0, request_heartbeat=True)
        done = results[-1] == "send_message"
        return AIMessage("Answered.") if done else call("send_message", message=question.answers[0])

    return PolicyModel(policy=policy)


def answer(runtime: Runtime, questions: list[OpenQuestion], number: int, others: int, way: str, arguments: argparse.Namespace) -> dict[str, Any]:  # fmt: skip # noqa: E501
    """One question in one way, and whether it was answered right. A model that fails has not answered."""
    question, passages = questions[number], among_others(questions, number, others)
    model: Any = oracle(question, way == "memgpt") if arguments.model == ORACLE else arguments.model
    began = time.monotonic()
    row: dict[str, Any] = {"question": question.text, "expected": question.answers}
    try:
        if way == "memgpt":
            row |= answer_memgpt(runtime, model, f"nq-{number}-{others}", question, passages, arguments.window)
        else:
            row |= answer_cut(runtime.settings, model, question.text, passages, arguments.window)
    except ModelFailed as error:
        row |= {"answer": "", "failed": str(error)}
    return {**row, "right": is_right(row["answer"], question.answers), "seconds": round(time.monotonic() - began, 1)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="NQ-Open with gold passages, JSON lines")
    parser.add_argument("--others", type=int, nargs="+", default=[5, 20, 100], help="passages beside the gold one")
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask every question in each way among so many others; report accuracy, and the paired differences."""
    questions = read_nq_open(arguments.file)
    numbers = range(len(questions))[chosen(arguments)]
    if not numbers:
        raise ValueError(f"{arguments.file} has no question from number {arguments.first} on.")
    setting = {"model": arguments.model, "window": arguments.window}
    rows = Rows(arguments.out, setting, arguments.resume)
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        asked = [(others, number, way) for others in arguments.others for number in numbers for way in arguments.ways]
        for others, number, way in tqdm(asked, desc="Questions", disable=None):
            if (key := f"{others} {way} {number}") not in rows.done:
                rows.add(key, answer(runtime, questions, number, others, way, arguments))
        protocol = protocol_of(arguments.model, runtime.settings)
    done = {
        f"{way}, {others} others": [rows.done[f"{others} {way} {number}"] for number in numbers]
        for others in arguments.others
        for way in arguments.ways
    }
    return {
        **setting,
        "protocol": protocol,
        "first": arguments.first,
        "questions": len(numbers),
        **report(done, arguments),
    }


def report(done: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Print and return what each way reaches, and how it differs on the same questions."""
    names = ("right", "found", "searches", "read", "seconds")
    ways = {
        way: {n: interval([float(row[n]) for row in rows if n in row]) for n in names if any(n in row for row in rows)}
        for way, rows in done.items()
    }
    table = [
        [way, *(format_interval(found[n], 2) if n in found else "–" for n in names)] for way, found in ways.items()
    ]
    print_table(f"NQ-Open, window {arguments.window}", ["way", *names], table)
    differences = {}
    for others in arguments.others if set(arguments.ways) == set(WAYS) else ():
        pairs = zip(done[f"memgpt, {others} others"], done[f"cut, {others} others"], strict=True)
        differences[f"{others} others"] = interval([float(a["right"]) - float(b["right"]) for a, b in pairs])
        print(f"memgpt − cut, {others} others, right: {format_interval(differences[f'{others} others'], 2)}")
    return {"ways": ways, "memgpt minus cut, right": differences}
