"""Nested key-value look-up through the memgpt graph (MemGPT §3.2.2): follow a key to a value that is no key.

A scripted policy calls a search tool, reads its page, and searches for the value it found; the last search, which finds one
record only, proves that the value is no key. With n records in a chain a perfect memory needs n+1 searches.

    python -m evaluation nested-kv --pairs kv_140_keys.jsonl --orderings orderings_1_levels.jsonl [more files]
    python -m evaluation nested-kv --levels 9 --samples 20        (made-up pairs, any number of levels)
"""

import argparse
import json
import random
import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from tqdm import tqdm

from evaluation.report import print_table
from graphs.memgpt import Context, user_message
from intervals import format_interval, interval
from memory.archival import Archival
from memory.recall import Message, Recall
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.nested_kv import Pairs, chain, read_orderings, read_pairs

WINDOW = 4_096
TOOLS = {"recall": "recall_memory_search", "archival": "archival_memory_search"}


@dataclass
class Follower:
    """The policy: search for the key; if a record maps it on, search for the value; else answer."""

    tool: str
    searches: int = 0
    asked: str = ""

    def __call__(self, prompt: list[BaseMessage]) -> AIMessage:
        """The next search, or the answer; an alert that comes between changes nothing."""
        if prompt[0].text == SUMMARISE:
            return AIMessage("I am following keys to a value that is no key.")
        last = next(
            m for m in reversed(prompt) if not isinstance(m, HumanMessage) or _event(m)["type"] == "user_message"
        )
        if isinstance(last, HumanMessage):
            return self._search(_event(last)["message"])
        if not isinstance(last, ToolMessage) or last.name == "send_message":
            return AIMessage("Answered.")
        page = str(json.loads(last.text)["message"])
        following = re.search(rf"key {self.asked} has value ([0-9a-f-]{{36}})", page)
        return self._search(following[1]) if following else call("send_message", message=self.asked)

    def _search(self, key: str) -> AIMessage:
        self.searches += 1
        self.asked = key
        return call(self.tool, query=key, page=0, request_heartbeat=True)


def _event(message: HumanMessage) -> dict[str, str]:
    event: dict[str, str] = json.loads(message.text)
    return event


def fill(runtime: Runtime, agent: str, records: Pairs, where: str) -> None:
    """Put the records into the storage that is searched."""
    texts = [f"key {key} has value {value}" for key, value in records]
    if where == "archival":
        archival = Archival(runtime.store, agent)
        for n, text in enumerate(texts):
            archival.insert(text, key=f"kv-{n}")
        return
    now = Context().time()
    start = int(now.timestamp() * 1_000_000) - len(texts)
    Recall(runtime.store, agent).write(
        [Message(f"kv-{n}", "user", text, "user", "own", now, "kv", start + n, n) for n, text in enumerate(texts)]
    )


def look_up(runtime: Runtime, agent: str, key: str, where: str) -> tuple[str, int]:
    """The value that the agent sent, and how many searches it took."""
    follower = Follower(TOOLS[where])
    context = Context(agent=agent, model=PolicyModel(policy=follower), window=WINDOW, max_steps=60)
    state = runtime.run("memgpt", f"{agent}-question", user_message(key), context)
    return (state["replies"] or [""])[-1], follower.searches


def made_up(levels: int, samples: int, seed: int) -> tuple[Pairs, list[list[int]]]:
    """140 random pairs, and orderings of `levels` records each."""
    rng = random.Random(seed)
    pairs = [(str(uuid.UUID(int=rng.getrandbits(128))), str(uuid.UUID(int=rng.getrandbits(128)))) for _ in range(140)]
    return pairs, [rng.sample(range(140), levels) for _ in range(samples)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--pairs", type=Path, help="the key-value file; without it pairs are made up")
    parser.add_argument("--orderings", type=Path, nargs="+", default=[], help="files of orderings, one for each depth")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 2, 3, 4], help="depths of made-up chains")
    parser.add_argument("--samples", type=int, default=100, help="made-up chains of each depth")
    parser.add_argument(
        "--storage", choices=list(TOOLS), default="recall", help="what is searched; the paper: text search"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Follow every chain; report exact answers and searches for each depth."""
    if bool(arguments.pairs) != bool(arguments.orderings):
        raise ValueError("--pairs and --orderings belong together: give both, or neither.")
    tasks: list[tuple[Pairs, list[list[int]]]]
    if arguments.pairs:
        pairs = read_pairs(arguments.pairs)
        tasks = [(pairs, read_orderings(path)) for path in arguments.orderings]
    else:
        tasks = [made_up(level, arguments.samples, arguments.seed + level) for level in arguments.levels]
    rows, levels = [], []
    with tempfile.TemporaryDirectory() as folder, open_runtime(Settings(home=Path(folder))) as runtime:
        for number, (pairs, orderings) in enumerate(tasks):
            right, exact, searches = [], [], []
            for sample, ordering in enumerate(tqdm(orderings, desc=f"{len(orderings[0])} levels", disable=None)):
                agent = f"kv-{number}-{sample}"
                fill(runtime, agent, chain(pairs, ordering), arguments.storage)
                answer, count = look_up(runtime, agent, pairs[ordering[0]][0], arguments.storage)
                right.append(float(answer == pairs[ordering[-1]][1]))
                exact.append(float(count == len(ordering) + 1))
                searches.append(float(count))
            level = {"records": len(orderings[0]), "accuracy": interval(right), "in n+1": interval(exact)}
            levels.append({**level, "searches": interval(searches)})
            rows.append(
                [len(orderings[0]), len(orderings), *(format_interval(interval(v)) for v in (right, exact, searches))]
            )
    print_table(
        f"Nested key-value, {arguments.storage} storage",
        ["records", "chains", "right", "in n+1 searches", "searches"],
        rows,
    )
    return {"storage": arguments.storage, "levels": levels}
