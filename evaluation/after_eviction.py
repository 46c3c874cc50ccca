"""Is a fact still known when its words have left the window? Made-up conversations of facts, much talk, and one question.

The person tells six facts, one of them the one that is asked for; then they talk of other things until nothing of the facts is in
the queue. All of it goes through the graph, with the agent's lines said by a script; the model answers the question, with recall
before thinking and without.

    python -m evaluation after-eviction --model qwen2.5-coder-1.5b-instruct
    python -m evaluation after-eviction        (the oracle that knows the answers: it must reach 100 %)
"""

import argparse
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, cast

from evaluation.answered import FACTS, NAMES
from evaluation.asking import agent_context, agent_minus, ask_agent, compare, differences, knowing, settings_at
from evaluation.msc import hold, time_of
from evaluation.report import AGENT_WAYS, ORACLE, Row, add_ways, measured
from graphs.memgpt import user_message
from nodes.memgpt.recalled import keys_in_view
from nodes.memgpt.state import State
from runtime import Runtime, open_runtime
from tasks.msc import AGENT, PERSON, MscDialogue, MscTurn

CONVERSATIONS = 20
EXCHANGES = 90  # of talk after the facts: more than a window of 4,096 tokens holds
WHO = ["The woman next door", "A man at the market", "My old teacher", "The postman", "A girl on the bus", "The baker"]
DID = [
    "was looking for",
    "had lost",
    "talked for an hour about",
    "wanted to sell me",
    "was painting",
    "kept asking about",
]
WHAT = [
    "a blue umbrella", "the broken lift", "her tomato plants", "a wooden ladder", "the new bridge", "his collection of maps",
]  # fmt: skip
WHEN = [
    "this morning", "after lunch", "on the way home", "while it rained", "just before the shop closed", "late in the evening",
]  # fmt: skip
HEARD = [
    "Did it take long?", "That sounds like a strange day.", "What did you say then?", "I would not have expected that.",
]  # fmt: skip


def conversation(number: int) -> tuple[MscDialogue, str, str]:
    """The talk, the question and its answer: the same for a number."""
    rng = random.Random(f"after eviction {number}")
    kinds = rng.sample(sorted(FACTS), len(FACTS))
    values = {kind: rng.choice(FACTS[kind][2]) for kind in kinds}
    said = [f"Hello, I'm {rng.choice(NAMES)}.", *(FACTS[kind][0].format(values[kind]) for kind in kinds)]
    said += [" ".join([*map(rng.choice, (WHO, DID, WHAT, WHEN))]) + "." for _ in range(EXCHANGES)]
    turns = [MscTurn(0, who, text) for line in said for who, text in ((PERSON, line), (AGENT, rng.choice(HEARD)))]
    asked = rng.choice(kinds)
    dialogue = MscDialogue(f"{number}", (), tuple(turns), ())
    return dialogue, FACTS[asked][1], values[asked]


def answer(runtime: Runtime, number: int, way: str, arguments: argparse.Namespace) -> Row:
    """The question of one conversation in one way, and whether it was answered right.

    Raises ValueError where the fact is still in the window: then it is no question of this benchmark.
    """
    dialogue, question, expected = conversation(number)
    agent = f"{way}-{number}"
    hold(runtime, agent, dialogue, dialogue.turns, arguments)
    told = [item.key for item in runtime.store.find((agent, "message"), expected, where={"role": "user"}).items]
    if set(told) & set(keys_in_view(cast(State, runtime.state("memgpt", agent)))):
        raise ValueError(f"A window of {arguments.window} tokens holds the whole talk: choose a smaller --window.")
    model: Any = knowing(expected, True) if arguments.model == ORACLE else arguments.model
    context = agent_context(way, arguments, agent=agent, model=model, user=PERSON, now=time_of(1).isoformat())
    row = measured(partial(ask_agent, runtime, agent, user_message(question, PERSON), context))
    return {"question": question, "expected": expected, **row, "right": expected.lower() in row["answer"].lower()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_ways(parser, AGENT_WAYS)
    parser.set_defaults(ways=list(AGENT_WAYS), limit=CONVERSATIONS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the question of each conversation in each way; report the shares of right answers, and their paired difference."""
    numbers = range(arguments.first, arguments.first + arguments.limit)
    with tempfile.TemporaryDirectory() as folder, open_runtime(settings_at(Path(folder))) as runtime:
        work = {way: {str(n): partial(answer, runtime, n, way, arguments) for n in numbers} for way in arguments.ways}
        names = ("right", "read", "searches", "seconds")
        result, done = compare(arguments, runtime.settings, "After eviction", work, names)
    return {**result, "paired": differences(done, agent_minus(arguments.ways), ("right",))}
