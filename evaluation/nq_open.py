"""Document questions (MemGPT §3.2.1): NQ-Open, the passage that answers among K others.

The same model two ways: it sees all passages, each cut so that they fit its window, or is the MemGPT agent, in whose archival
storage they lie whole. An answer is right where it holds one of the file's, both normalised; a model judges it too where one is
named.

    python -m evaluation nq-open --file nq_open_oracle_400.jsonl --model qwen2.5-coder-1.5b-instruct --others 5 20 --limit 20
    python -m evaluation nq-open --file nq_open_oracle_400.jsonl --limit 5      (the oracle that searches, and knows the answer)
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from evaluation.asking import (
    REPLY,
    agent_context,
    agent_minus,
    ask_agent,
    ask_alone,
    ask_within,
    compare,
    differences,
    knowing,
    settings_at,
)
from evaluation.report import AGENT_WAYS, ORACLE, Row, add_ways, chosen, measured
from graphs.memgpt import user_message
from memory.archival import Archival
from memory.documents import Section
from models.scripted import call
from nodes.memgpt.window import estimate
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.nq_open import OpenQuestion, Passage, is_right, read_nq_open

WAYS = ("cut", *AGENT_WAYS)
INSTRUCTIONS = "Answer the question from the documents with a few words, and the title of the document in brackets."
SEARCH = (
    "Your archival storage holds documents: search them, and answer with a few words, and the title of the document in brackets. "
    "The question: "
)


JUDGE = (
    "You mark answers. Say yes if the answer says the same as one of the right ones, in whatever words, and no if it does not or "
    "says something else too. One word."
)


def among_others(questions: Sequence[OpenQuestion], number: int, others: int, seed: int = 0) -> list[Passage]:
    """The gold passage of a question, shuffled among those of `others` other questions, none of which holds an answer.

    Raises ValueError where there are not so many.
    """
    question = questions[number]
    rng = random.Random(f"nq {seed} {number} {others}")
    fit = [
        q.gold
        for q in questions
        if q.gold.title != question.gold.title and not is_right(f"{q.gold.title} {q.gold.text}", question.answers)
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


def answer(
    runtime: Runtime, questions: list[OpenQuestion], number: int, others: int, way: str, arguments: argparse.Namespace
) -> Row:
    """One question in one way: whether it was answered right, from the right document, and whether the agent saw that."""
    question = questions[number]
    passages = among_others(questions, number, others, arguments.seed)
    search = call("archival_memory_search", query=question.gold.text[:200], page=0, request_heartbeat=True)
    known = knowing(f"{question.answers[0]} ({question.gold.title})", way in AGENT_WAYS, search)
    model: Any = known if arguments.model == ORACLE else arguments.model
    row: Row = {"question": question.text, "expected": question.answers}
    if way in AGENT_WAYS:
        agent = f"{way}-{number}-{others}"
        archival = Archival(runtime.store, agent)
        for n, passage in enumerate(passages):
            archival.ingest(f"{n} {passage.title}", [Section(passage.text, "")])
        context = agent_context(way, arguments, agent=agent, model=model)
        event = user_message(f"{SEARCH}{question.text}?")
        row |= measured(partial(ask_agent, runtime, agent, event, context))
        begin = json.dumps(" ".join(question.gold.text.split())[:60])[1:-1]
        seen = [row.get("transcript", ""), *row.get("recalled", [])]
        row["found"] = begin in " ".join(" ".join(seen).split())
    else:
        prompt_of = partial(cut_prompt, question.text, passages)
        row |= measured(partial(ask_within, runtime.settings, model, prompt_of, arguments.window))
    row |= {"right": is_right(row["answer"], question.answers), "named": is_right(row["answer"], [question.gold.title])}
    return {**row, "judged": is_judged_right(runtime.settings, arguments.judge, row)} if arguments.judge else row


def is_judged_right(settings: Settings, judge: str, row: Row) -> bool:
    """Whether another model takes the answer for right: containment misses what is right in other words. Raises ModelFailed."""
    asked = f"Question: {row['question']}?\nRight: {'; '.join(row['expected'])}\nAnswer: {row['answer']}"
    said = ask_alone(settings, judge, [SystemMessage(JUDGE), HumanMessage(asked)])["answer"]
    return bool(re.match(r"\W*yes\b", said, re.I))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="NQ-Open with gold passages, JSON lines")
    parser.add_argument("--others", type=int, nargs="+", default=[5, 20, 100], help="passages beside the gold one")
    parser.add_argument("--judge", default="", help="a model that judges the answers too; default: none")
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask every question in each way among so many others; report accuracy, and the paired differences."""
    questions = read_nq_open(arguments.file)
    numbers = range(len(questions))[chosen(arguments)]
    if not numbers:
        raise ValueError(f"{arguments.file} has no question from number {arguments.first} on.")
    with tempfile.TemporaryDirectory() as folder, open_runtime(settings_at(Path(folder))) as runtime:
        work = {
            f"{way}, {others} others": {
                str(number): partial(answer, runtime, questions, number, others, way, arguments) for number in numbers
            }
            for others in arguments.others
            for way in arguments.ways
        }
        judge = {"judge": arguments.judge} if arguments.judge else {}
        names = ("right", "judged", "named", "found", "searches", "read", "seconds")
        result, done = compare(arguments, runtime.settings, "NQ-Open", work, names, **judge)
    minus = agent_minus(arguments.ways, [f", {others} others" for others in arguments.others])
    return {**result, "paired": differences(done, minus, ("right",))}
