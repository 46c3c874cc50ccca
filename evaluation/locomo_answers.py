"""LoCoMo's questions, answered by a model: F1, as the paper has it, without the adversarial ones.

The same model two ways: it sees the newest turns that fit its window, or is the MemGPT agent to which the talk happened. Each
question is asked of a copy of the agent's memory as it was after the talk, so that no answer finds another question.
"""

import argparse
import random
import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from tqdm import tqdm

from evaluation.asking import (
    REPLY,
    agent_context,
    agent_minus,
    ask_agent,
    ask_within,
    calls_of,
    compare,
    differences,
    newest,
    settings_at,
    tokens,
)
from evaluation.locomo import Speaker, talk
from evaluation.report import AGENT_WAYS, Row, chosen, means, measured
from graphs.memgpt import user_message
from runtime import open_runtime
from tasks.locomo import CATEGORIES, Conversation, LocomoQuestion, answer_f1, read_locomo

AGENT = "locomo"
ADVERSARIAL = 5
PROTOCOLS = "protocols.json"
INSTRUCTIONS = (
    "Answer the question from the conversation with a few words, in the conversation's own words where you can."
)
ASK = "Look into your recall storage if you do not know it. Answer with a few words. "


class Homes:
    """The memory of each conversation's agent after the talk, made when it is first asked for, and copied for each question."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self._arguments = arguments
        self._guard = threading.Lock()

    def copy(self, conversation: Conversation, question: str) -> Path:
        """A folder of the agent's whole memory, for one question. Raises ModelFailed."""
        whole, own = self.folder / conversation.name, self.folder / f"{conversation.name}-{question}"
        with self._guard:
            calls = calls_of(self._arguments.model, settings_at(self.folder))
            if not whole.exists():
                with (
                    open_runtime(settings_at(whole)) as runtime,
                    tqdm(total=len(conversation.turns), desc=conversation.name, disable=None, leave=False) as bar,
                ):
                    talk(runtime, conversation, AGENT, Speaker(self._arguments.window), bar, calls)
            shutil.copytree(whole, own)
            if (found := self.folder / PROTOCOLS).exists():
                shutil.copy(found, own)
        return own


def plain_prompt(conversation: Conversation, question: str, window: int) -> list[BaseMessage]:
    """The newest turns that fit the window as lines with their day, and the question."""
    lines = [f"{turn.time:%d %B %Y}, {turn.speaker}: {turn.text}" for turn in conversation.turns]
    kept = newest(lines, window - REPLY - tokens(INSTRUCTIONS) - tokens(question))
    text = "\n".join([*lines[len(lines) - kept :], "", f"Question: {question}"])
    return [SystemMessage(INSTRUCTIONS), HumanMessage(text)]


def answer(homes: Homes, conversation: Conversation, number: int, way: str, arguments: argparse.Namespace) -> Row:
    """One question in one way, and its F1."""
    question = conversation.questions[number]
    row: Row = {"category": question.category, "question": question.text, "expected": question.answer}
    if way in AGENT_WAYS:
        home = homes.copy(conversation, f"{number}-{way}")
        now = conversation.turns[-1].time.isoformat()
        person = conversation.speakers[0]
        context = agent_context(way, arguments, agent=AGENT, model=arguments.model, user=person, now=now)
        event = user_message(ASK + question.text, person)
        with open_runtime(settings_at(home)) as runtime:
            row |= measured(partial(ask_agent, runtime, AGENT, event, context))
        shutil.rmtree(home)
    else:
        prompt_of = partial(plain_prompt, conversation, question.text)
        settings = settings_at(homes.folder)
        row |= measured(partial(ask_within, settings, arguments.model, prompt_of, arguments.window))
    return {**row, "f1": answer_f1(row["answer"], question)}


def answer_questions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask questions drawn from all conversations in each way; report F1, by category too, and the paired difference."""
    conversations = read_locomo(arguments.file, arguments.audit)
    every = [(c, n) for c in conversations for n, q in enumerate(c.questions) if is_asked(q)]
    random.Random(f"locomo {arguments.seed}").shuffle(every)
    items = every[chosen(arguments)]
    if not items:
        raise ValueError(f"{arguments.file} has no question with an answer from number {arguments.first} on.")
    with tempfile.TemporaryDirectory() as folder:
        homes = Homes(Path(folder), arguments)
        work = {
            way: {f"{c.name} {n}": partial(answer, homes, c, n, way, arguments) for c, n in items}
            for way in arguments.ways
        }
        names = ("f1", "searches", "read", "seconds")
        result, done = compare(arguments, settings_at(Path(folder)), "LoCoMo", work, names)
    categories = {
        f"{way}, {CATEGORIES[number]}": means([row for row in kept if row["category"] == number], names)
        for way, kept in done.items()
        for number in sorted({row["category"] for row in kept})
    }
    return {**result, "categories": categories, "paired": differences(done, agent_minus(arguments.ways), ("f1",))}


def is_asked(question: LocomoQuestion) -> bool:
    """Whether a question has an answer that was said."""
    return bool(question.answer) and question.category != ADVERSARIAL
