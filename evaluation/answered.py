"""What a person gets from a model: made-up conversations of six turns with the MemGPT agent, of facts and questions about them.

    python -m evaluation answered --model qwen2.5-coder-1.5b --conversations 30 --calls auto
    python -m evaluation answered --calls native schema text --conversations 10

Counts the messages that are answered, calls that are sound, questions answered right from the window, facts that were kept in the
working context or archival storage; tokens of the prompt, those that the server had in its cache, and seconds a turn.
"""

import argparse
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import ToolMessage
from tqdm import tqdm

from evaluation.report import Rows, all_operations, print_table
from graphs.memgpt import Context
from intervals import format_interval, interval
from memory.archival import Archival
from memory.blocks import load_blocks
from models.refusals import ModelFailed
from nodes.memgpt.state import Operation
from runtime import Runtime, open_runtime
from settings import Settings

NAMES = "Ada Bela Chidi Dana Emil Farah Goran Hanna Ivo Jun Kofi Lena Milan Nora Omar Petra".split()
FACTS = {
    "dog": ("My dog is called {}.", "What is my dog called?", "Biscuit Pepper Rocket Waffle Domino Ziggy".split()),
    "instrument": (
        "I play the {} in an orchestra.",
        "Which instrument do I play?",
        "cello oboe harp bassoon viola flute".split(),
    ),
    "city": ("I live in {}.", "In which city do I live?", "Ghent Turin Leeds Malmö Porto Graz".split()),
    "allergy": ("I am allergic to {}.", "What am I allergic to?", "peanuts shrimp kiwi sesame celery latex".split()),
    "sister": (
        "My sister {} is a nurse.",
        "What is the name of my sister?",
        "Carla Ines Judit Maren Olga Tove".split(),
    ),
    "job": ("I work as a {}.", "What do I do for a living?", "gardener plumber librarian beekeeper welder".split()),
}
TALK = (
    "It has been raining all day.", "I slept badly, to be honest.", "The train was late again this morning.",
    "I am making soup for dinner.", "The neighbours are building a shed.", "I might go for a walk later.",
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """What the person says, and what an answer must hold; empty where any does."""

    text: str
    expected: str = ""


def conversation(seed: int) -> tuple[list[Turn], list[str]]:
    """Six turns, the same for a seed, and the facts in them: two facts, talk, a question, a third fact, a question."""
    rng = random.Random(f"answered {seed}")
    kinds = rng.sample(sorted(FACTS), 3)
    values = [rng.choice(FACTS[kind][2]) for kind in kinds]
    told = [FACTS[kind][0].format(value) for kind, value in zip(kinds, values, strict=True)]
    asked = rng.sample(range(3), 2)
    first, second = asked if 2 not in asked[:1] else asked[::-1]
    return [
        Turn(f"Hello, I'm {rng.choice(NAMES)}. {told[0]}"),
        Turn(told[1]),
        Turn(rng.choice(TALK)),
        Turn(FACTS[kinds[first]][1], values[first]),
        Turn(told[2]),
        Turn(FACTS[kinds[second]][1], values[second]),
    ], values


def hold(runtime: Runtime, seed: int, model: str, window: int, chain: int) -> dict[str, Any]:
    """`chain` conversations in one thread, and what came of them. A turn that fails is one without an answer."""
    turns, values = [], []
    for n in range(chain):
        more, told = conversation(seed * chain + n)
        turns += more
        values += told
    agent, thread = f"answered-{seed}", f"answered-{seed}"
    context = Context(agent=agent, model=model, window=window)
    row: dict[str, Any] = {name: [] for name in ("answered", "delivered", "right", "seconds", "said", "read", "cached")}
    calls: dict[str, bool] = {}
    meters: list[dict[str, Operation]] = []
    for turn in turns:
        began = time.monotonic()
        try:
            state = runtime.run("memgpt", thread, turn.text, context)
            answer = "\n".join(state["replies"])
        except ModelFailed as error:
            state, answer = runtime.state("memgpt", thread), ""
            row["said"].append(str(error))
        else:
            row["said"].append(answer[:300])
        row["seconds"].append(round(time.monotonic() - began, 1))
        row["answered"].append(bool(answer.strip()))
        row["delivered"].append(bool(answer.strip()) and state["turn"].get("reminded", False))
        meters.append(state["meter"])
        row["read"].append(state["tokens"]["read"])
        row["cached"].append(state["tokens"]["cached"])
        if turn.expected:
            row["right"].append(turn.expected.lower() in answer.lower())
        calls |= {str(m.id): m.status == "success" for m in state["messages"] if isinstance(m, ToolMessage)}
    row["meter"] = all_operations(meters)
    row["calls"], row["sound"] = len(calls), sum(calls.values())
    blocks = "\n".join(load_blocks(runtime.store, agent).values())
    kept = "\n".join(str(item.value["text"]) for item in runtime.store.all(Archival(runtime.store, agent).namespace))
    row["kept"] = [value.lower() in f"{blocks}\n{kept}".lower() for value in values]
    return row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--model", default="", help="a model at the endpoint of the settings; default: the first it lists"
    )
    parser.add_argument("--conversations", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="seed of the first conversation")
    parser.add_argument("--window", type=int, default=4_096)
    parser.add_argument(
        "--chain", type=int, default=1, help="conversations one after another in each thread: 10 are 60 turns"
    )
    parser.add_argument("--calls", nargs="+", choices=["auto", "native", "schema", "text"], default=["auto"])
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the conversations in each way of calling tools, and report."""
    setting = {
        "model": arguments.model or Settings().model,
        "window": arguments.window,
        "first": arguments.first,
        "chain": arguments.chain,
    }
    rows = Rows(arguments.out, setting, arguments.resume)
    table, result, meters = [], {}, {}
    for way in arguments.calls:
        with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder), calls=way)) as runtime:
            for seed in tqdm(range(arguments.first, arguments.first + arguments.conversations), desc=way, disable=None):
                if f"{way} {seed}" not in rows.done:
                    rows.add(f"{way} {seed}", hold(runtime, seed, arguments.model, arguments.window, arguments.chain))
        done = [rows.done[f"{way} {n}"] for n in range(arguments.first, arguments.first + arguments.conversations)]
        result[way] = summary(done)
        meters[way] = all_operations(row["meter"] for row in done)
        table.append([way, *(format_interval(result[way][name], 2) for name in result[way])])
    print_table(
        f"{arguments.conversations} conversations of {6 * arguments.chain} turns, window {arguments.window}",
        ["calls", *next(iter(result.values()))],
        table,
    )
    return {**setting, "ways": result, "meter": meters}


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Intervals over the conversations."""
    flat = {
        name: [float(v) for row in rows for v in row[name]]
        for name in ("answered", "delivered", "right", "kept", "seconds")
    }
    sound = [row["sound"] / row["calls"] for row in rows if row["calls"]]
    cached = [sum(row["cached"]) / sum(row["read"]) for row in rows if sum(row["read"])]
    shares = {"sound calls": interval(sound), "cached": interval(cached)}
    return {**{name: interval(values) for name, values in flat.items()}, **shares}
