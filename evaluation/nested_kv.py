"""Nested key-value look-up (MemGPT §3.2.2): follow a key to a value that is no key; n records in a chain are the paper's level n−1.

The same model two ways: it sees the pairs that fit its window, or is the MemGPT agent, which searches all of them. The oracle calls
a search tool, reads its page, and searches for the value it found; the last search, which finds one record only, proves that the
value is no key. With n records in a chain a perfect memory needs n+1 searches.

    python -m evaluation nested-kv --pairs kv_140_keys.jsonl --orderings orderings_1_levels.jsonl [more files]
    python -m evaluation nested-kv --levels 2 3 4 --samples 10 --model qwen2.5-coder-1.5b-instruct        (made-up pairs)
"""

import argparse
import json
import random
import re
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from evaluation.asking import (
    REPLY,
    agent_context,
    agent_minus,
    ask_agent,
    ask_within,
    compare,
    differences,
    knowing,
    newest,
    settings_at,
    tokens,
)
from evaluation.report import AGENT_WAYS, ORACLE, Row, add_ways, chosen, measured
from graphs.memgpt import Context, user_message
from memory.archival import Archival
from memory.recall import Message, Recall
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import Runtime, open_runtime
from tasks.nested_kv import Pairs, chain, read_orderings, read_pairs

WAYS = ("window", *AGENT_WAYS)
STEPS = 60  # thoughts of one look-up
TOOLS = {"recall": "recall_memory_search", "archival": "archival_memory_search"}
RULE = (
    "Each key has a value, which can be a key itself: then look that up too, and so on, until you find a value that is no key. "
    "Answer with that value alone."
)
QUESTION = {
    "recall": "Your recall storage holds many keys with their values: find a key there with recall_memory_search. "
    + RULE,
    "archival": "Your archival storage holds many keys with their values: find a key there with archival_memory_search. "
    + RULE,
}


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
            return self._search(_event(last)["message"].split()[-1])
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


def plain_prompt(records: Pairs, key: str, window: int) -> list[BaseMessage]:
    """The pairs as lines, as many of the last as fit the window, and the key."""
    lines = [f"key {name} has value {value}" for name, value in records]
    question = f"Key: {key}"
    kept = newest(lines, window - REPLY - tokens(RULE) - tokens(question))
    return [SystemMessage(RULE), HumanMessage("\n".join([*lines[len(lines) - kept :], question]))]


def look_up(
    runtime: Runtime, name: str, pairs: Pairs, ordering: list[int], way: str, arguments: argparse.Namespace
) -> Row:
    """One chain in one way: whether the answer holds the last value and no other, and how many searches it took."""
    records, key, expected = chain(pairs, ordering), pairs[ordering[0]][0], pairs[ordering[-1]][1]
    follower = Follower(TOOLS[arguments.storage])
    oracle = PolicyModel(policy=follower) if way in AGENT_WAYS else knowing(expected, calls=False)
    model: Any = oracle if arguments.model == ORACLE else arguments.model
    work: Callable[[], Row]
    if way in AGENT_WAYS:
        fill(runtime, name, records, arguments.storage)
        context = agent_context(way, arguments, agent=name, model=model, max_steps=STEPS)
        question = user_message(f"{QUESTION[arguments.storage]} The key: {key}")
        work = partial(ask_agent, runtime, f"{name}-question", question, context)
    else:
        prompt_of = partial(plain_prompt, records, key)
        work = partial(ask_within, runtime.settings, model, prompt_of, arguments.window)
    row = {"asked": key, "expected": expected, **measured(work)}
    given = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", row["answer"])) - {key}
    searches = {"exact": row["searches"] == len(ordering) + 1} if way in AGENT_WAYS and "searches" in row else {}
    return {**row, **searches, "right": given == {expected}}


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
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Follow every chain in each way; report right answers and searches for each depth, and the paired differences."""
    if bool(arguments.pairs) != bool(arguments.orderings):
        raise ValueError("--pairs and --orderings belong together: give both, or neither.")
    tasks: list[tuple[Pairs, list[list[int]]]]
    if arguments.pairs:
        pairs = read_pairs(arguments.pairs)
        tasks = [(pairs, read_orderings(path)) for path in arguments.orderings]
    else:
        tasks = [made_up(level, arguments.samples, arguments.seed + level) for level in arguments.levels]
    work: dict[str, dict[str, Callable[[], Row]]] = {}
    with tempfile.TemporaryDirectory() as folder, open_runtime(settings_at(Path(folder))) as runtime:
        for pairs, orderings in tasks:
            for sample, ordering in list(enumerate(orderings))[chosen(arguments)]:
                for way in arguments.ways:
                    name = f"{way}-{len(ordering)}-{sample}"
                    chains = work.setdefault(f"{way}, {len(ordering)} records", {})
                    chains[str(sample)] = partial(look_up, runtime, name, pairs, ordering, way, arguments)
        names = ("right", "exact", "searches", "read", "seconds")
        storage = arguments.storage
        result, done = compare(arguments, runtime.settings, "Nested key-value", work, names, storage=storage)
    depths = sorted({len(ordering) for _, orderings in tasks for ordering in orderings})
    minus = agent_minus(arguments.ways, [f", {depth} records" for depth in depths])
    return {**result, "paired": differences(done, minus, ("right",))}
