"""Consistency on Multi-Session Chat (MemGPT §3.1.1): after several sessions, a question about what the person said in an early one.

The same model three ways: it sees what of the talk fits its window, all of it, or is the MemGPT agent, to which the talk
happened (the sessions go through the graph, with the agent's lines said by a script; the model answers the question).

    python -m evaluation msc --file msc_valid_120.jsonl --model qwen2.5-coder-1.5b-instruct --limit 30
    python -m evaluation msc --file msc_valid_120.jsonl        (the oracle that knows the answers: it must reach 100 %)
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from tqdm import tqdm

from evaluation.asking import (
    REPLY,
    agent_context,
    agent_minus,
    ask_agent,
    ask_alone,
    ask_within,
    calls_of,
    compare,
    differences,
    knowing,
    newest,
    settings_at,
    tokens,
)
from evaluation.locomo import Speaker, talk
from evaluation.report import AGENT_WAYS, ORACLE, Row, add_ways, chosen, measured
from graphs.memgpt import user_message
from runtime import Runtime, open_runtime
from tasks.locomo import Conversation, Utterance
from tasks.msc import AGENT, PERSON, MscDialogue, MscTurn, holds, read_msc, rouge_l_recall

WAYS = ("window", "full", *AGENT_WAYS)
INSTRUCTIONS = (
    "You are talking with a person whom you know from earlier talks. "
    "Answer from what they have told you, in one short sentence."
)
START = datetime(2026, 1, 5, 18, tzinfo=UTC)
APART = timedelta(days=3)  # between sessions


def plain_prompt(instructions: str, turns: Sequence[MscTurn], question: str, most: int | None) -> list[BaseMessage]:
    """The talk as a dialogue, and the question: the newest turns that fit `most` tokens, or all of them."""
    if most is not None:
        kept = newest([turn.text for turn in turns], most - REPLY - tokens(instructions) - tokens(question))
        turns = turns[len(turns) - kept :]
    said = [HumanMessage(turn.text) if turn.speaker == PERSON else AIMessage(turn.text) for turn in turns]
    return [SystemMessage(instructions), *said, HumanMessage(question)]


def hold(
    runtime: Runtime, agent: str, dialogue: MscDialogue, turns: Sequence[MscTurn], arguments: argparse.Namespace
) -> int:
    """Put turns of a dialogue through the graph, as LoCoMo's are; returns how many messages left the window."""
    calls = calls_of(arguments.model, runtime.settings)
    said = [Utterance(f"{n}", t.session, t.speaker, t.text, time_of(t.session)) for n, t in enumerate(turns)]
    conversation = Conversation(dialogue.id, (PERSON, AGENT), said, [])
    with tqdm(disable=True) as bar:
        return talk(runtime, conversation, agent, Speaker(arguments.window), bar, calls)


def time_of(session: int) -> datetime:
    """When a session begins."""
    return START + session * APART


def answer(runtime: Runtime, dialogue: MscDialogue, way: str, arguments: argparse.Namespace) -> Row:
    """One question of a dialogue in one way, and whether it was answered right."""
    question = random.Random(f"msc {arguments.seed} {dialogue.id}").choice(dialogue.questions)
    model: Any = knowing(question.answers[0], way in AGENT_WAYS) if arguments.model == ORACLE else arguments.model
    work: Callable[[], Row]
    if way in AGENT_WAYS:
        agent = f"{way}-{dialogue.id}"
        evicted = hold(runtime, agent, dialogue, dialogue.turns, arguments)
        now = time_of(dialogue.turns[-1].session + 1).isoformat()
        context = agent_context(way, arguments, agent=agent, model=model, user=PERSON, now=now)
        work = partial(ask_agent, runtime, agent, user_message(question.text, PERSON), context)
        about = {"evicted": evicted}
    else:
        prompt_of = partial(plain_prompt, INSTRUCTIONS, dialogue.turns, question.text)
        work = partial(ask_alone, runtime.settings, model, prompt_of(None))
        if way == "window":
            work = partial(ask_within, runtime.settings, model, prompt_of, arguments.window)
        about = {}
    row = {"kind": question.kind, "question": question.text, "expected": question.answers, **about, **measured(work)}
    row["right"] = any(holds(row["answer"], expected) for expected in question.answers)
    row["rouge"] = max(rouge_l_recall(row["answer"], expected) for expected in question.answers)
    return row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="Multi-Session Chat, JSON lines")
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask one question of each dialogue in each way; report accuracy and ROUGE-L recall, and the paired differences."""
    dialogues = [dialogue for dialogue in read_msc(arguments.file) if dialogue.questions][chosen(arguments)]
    if not dialogues:
        raise ValueError(f"{arguments.file} has no dialogue with a question from number {arguments.first} on.")
    with tempfile.TemporaryDirectory() as folder, open_runtime(settings_at(Path(folder))) as runtime:
        work = {way: {d.id: partial(answer, runtime, d, way, arguments) for d in dialogues} for way in arguments.ways}
        names = ("right", "rouge", "read", "searches", "seconds")
        result, done = compare(arguments, runtime.settings, "Multi-Session Chat", work, names)
    return {**result, "paired": differences(done, agent_minus(arguments.ways), ("right", "rouge"))}
