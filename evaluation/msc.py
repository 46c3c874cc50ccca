"""Consistency on Multi-Session Chat (MemGPT §3.1.1): after several sessions, a question about what the person said in an early one.

The same model three ways: it sees what of the talk fits its window, all of it, or is the MemGPT agent, to which the talk
happened (the sessions go through the graph, with the agent's lines said by a script; the model answers the question).

    python -m evaluation msc --file msc_valid_120.jsonl --model qwen2.5-coder-1.5b-instruct --limit 30
    python -m evaluation msc --file msc_valid_120.jsonl        (the oracle that knows the answers: it must reach 100 %)
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from tqdm import tqdm

from evaluation.locomo import Speaker, talk
from evaluation.report import ORACLE, Rows, add_ways, chosen, print_table, protocol_of
from graphs.memgpt import Context, user_message
from intervals import format_interval, interval
from models.endpoint import open_model
from models.refusals import ModelFailed
from models.reply import ask
from models.scripted import PolicyModel, call
from nodes.memgpt.window import FRAME, estimate
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.locomo import Conversation, Utterance
from tasks.msc import AGENT, PERSON, MscDialogue, MscQuestion, MscTurn, holds, read_msc, rouge_l_recall

WAYS = ("window", "full", "memgpt")
INSTRUCTIONS = (
    "You are talking with a person whom you know from earlier talks. "
    "Answer from what they have told you, in one short sentence."
)
START = datetime(2026, 1, 5, 18, tzinfo=UTC)
APART = timedelta(days=3)  # between sessions
REPLY = 200  # tokens of the window that are left to the answer


def plain_prompt(dialogue: MscDialogue, question: str, most: int | None) -> list[BaseMessage]:
    """The talk as a dialogue, and the question: the newest turns that fit `most` tokens, or all of them."""
    turns = list(dialogue.turns)
    left = None if most is None else most - REPLY - _tokens(INSTRUCTIONS) - _tokens(question)
    kept = turns if left is None else _newest(turns, left)
    said = [HumanMessage(turn.text) if turn.speaker == PERSON else AIMessage(turn.text) for turn in kept]
    return [SystemMessage(INSTRUCTIONS), *said, HumanMessage(question)]


def _newest(turns: Sequence[MscTurn], most: int) -> list[MscTurn]:
    kept: list[MscTurn] = []
    for turn in reversed(turns):
        most -= _tokens(turn.text)
        if most < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _tokens(text: str) -> int:
    return estimate(text) + FRAME


def conversation_of(dialogue: MscDialogue) -> Conversation:
    """The dialogue as LoCoMo has its own, so that it goes through the graph in the same way."""
    turns = [
        Utterance(f"{n}", turn.session, turn.speaker, turn.text, START + turn.session * APART)
        for n, turn in enumerate(dialogue.turns)
    ]
    return Conversation(dialogue.id, (PERSON, AGENT), turns, [])


def answer_plain(
    settings: Settings, model: Any, dialogue: MscDialogue, question: str, most: int | None
) -> dict[str, Any]:
    """What the model says when it sees the talk itself."""
    prompt = plain_prompt(dialogue, question, most)
    reply = ask(open_model(model, settings), prompt, seconds=settings.reply_seconds, most=REPLY, temperature=0.0)
    return {"answer": reply.text, "read": reply.input_tokens, "shown": len(prompt) - 2}


def answer_memgpt(runtime: Runtime, model: Any, dialogue: MscDialogue, question: str, window: int) -> dict[str, Any]:
    """What the MemGPT agent says to whom the talk happened."""
    agent = f"msc-{dialogue.id}"
    speaker = Speaker(window)
    with tqdm(disable=True) as bar:
        evicted = talk(runtime, conversation_of(dialogue), agent, speaker, bar)
    now = (START + (dialogue.turns[-1].session + 1) * APART).isoformat()
    context = Context(agent=agent, model=model, window=window, user=PERSON, now=now)
    state = runtime.run("memgpt", agent, user_message(question, PERSON), context)
    searches = [m.name for m in state["messages"] if isinstance(m, ToolMessage) and "search" in str(m.name)]
    return {
        "answer": "\n".join(state["replies"]),
        "read": state["tokens"]["read"],
        "evicted": evicted,
        "searches": len(searches),
    }


def oracle(question: MscQuestion, calls: bool) -> PolicyModel:
    """The model that knows the answer."""

    def policy(prompt: list[BaseMessage]) -> AIMessage:
        if not calls:
            return AIMessage(question.answers[0])
        sent = isinstance(prompt[-1], ToolMessage)
        return AIMessage("Answered.") if sent else call("send_message", message=question.answers[0])

    return PolicyModel(policy=policy)


def answer(runtime: Runtime, dialogue: MscDialogue, way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One question of a dialogue in one way, and whether it was answered right. A model that fails has not answered."""
    question = random.Random(f"msc {dialogue.id}").choice(dialogue.questions)
    model: Any = oracle(question, way == "memgpt") if arguments.model == ORACLE else arguments.model
    began = time.monotonic()
    row: dict[str, Any] = {"kind": question.kind, "question": question.text, "expected": question.answers}
    try:
        if way == "memgpt":
            row |= answer_memgpt(runtime, model, dialogue, question.text, arguments.window)
        else:
            most = arguments.window if way == "window" else None
            row |= answer_plain(runtime.settings, model, dialogue, question.text, most)
    except ModelFailed as error:
        row |= {"answer": "", "failed": str(error)}
    row["right"] = any(holds(row["answer"], expected) for expected in question.answers)
    row["rouge"] = max(rouge_l_recall(row["answer"], expected) for expected in question.answers)
    return {**row, "seconds": round(time.monotonic() - began, 1)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="Multi-Session Chat, JSON lines")
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask one question of each dialogue in each way; report accuracy and ROUGE-L recall, and the paired differences."""
    dialogues = [dialogue for dialogue in read_msc(arguments.file) if dialogue.questions][chosen(arguments)]
    if not dialogues:
        raise ValueError(f"{arguments.file} has no dialogue with a question from number {arguments.first} on.")
    setting = {"model": arguments.model, "window": arguments.window, "first": arguments.first}
    rows = Rows(arguments.out, setting, arguments.resume)
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        asked = [(dialogue, way) for dialogue in dialogues for way in arguments.ways]
        for dialogue, way in tqdm(asked, desc="Questions", disable=None):
            if f"{way} {dialogue.id}" not in rows.done:
                rows.add(f"{way} {dialogue.id}", answer(runtime, dialogue, way, arguments))
        protocol = protocol_of(arguments.model, runtime.settings)
    done = {way: [rows.done[f"{way} {dialogue.id}"] for dialogue in dialogues] for way in arguments.ways}
    return {**setting, "protocol": protocol, "dialogues": len(dialogues), **report(done, arguments.window)}


def report(done: dict[str, list[dict[str, Any]]], window: int) -> dict[str, Any]:
    """Print and return what each way reaches, and how it differs from the MemGPT agent on the same questions."""
    names = ("right", "rouge", "read", "seconds")
    ways = {
        way: {n: interval([float(row[n]) for row in rows if n in row]) for n in names} for way, rows in done.items()
    }
    table = [[way, *(format_interval(found[n], 2) for n in names)] for way, found in ways.items()]
    count = len(next(iter(done.values())))
    print_table(f"Multi-Session Chat, {count} questions, window {window}", ["way", *names], table)
    differences = {
        way: interval([float(a["right"]) - float(b["right"]) for a, b in zip(done["memgpt"], rows, strict=True)])
        for way, rows in done.items()
        if "memgpt" in done and way != "memgpt"
    }
    for way, difference in differences.items():
        print(f"memgpt − {way}, right: {format_interval(difference, 2)}")
    return {"ways": ways, "memgpt minus": differences}
