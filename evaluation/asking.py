"""How benchmarks ask in several ways: the model alone, on what fits its window, or the MemGPT agent."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from evaluation.report import (
    ORACLE,
    UNAIDED,
    Row,
    Rows,
    all_operations,
    means,
    paired,
    print_table,
    protocol_of,
    spent,
    work_off,
)
from graphs.memgpt import Context
from intervals import format_interval
from models.endpoint import open_model
from models.protocol import Protocol
from models.refusals import ContextOverflow
from models.reply import ask
from models.scripted import PolicyModel, call
from models.transcript import transcript
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.window import FRAME, estimate, recalled_lines
from runtime import Runtime
from settings import Settings

REPLY = 200  # tokens of the window that are left to the answer
FITTINGS = 3  # prompts until one fits
MOST = 8_000  # characters of each message of a transcript

_outgrown: dict[str, float] = {}
"""By how much a model's prompts were longer than our estimate: a benchmark's texts are of one kind, so the next ones are too."""


def tokens(text: str) -> int:
    """Tokens of a message, as the MemGPT agent counts them."""
    return estimate(text) + FRAME


def newest(texts: Sequence[str], most: int) -> int:
    """How many of the last texts fit into `most` tokens, each as a message."""
    for count, text in enumerate(reversed(texts)):
        most -= tokens(text)
        if most < 0:
            return count
    return len(texts)


def settings_at(home: Path) -> Settings:
    """Settings of a benchmark that compares ways of asking: all of them at temperature 0, or the agent's would be the server's."""
    return Settings(home=home, temperature=0.0)


def calls_of(model: str, settings: Settings) -> Protocol:
    """How a model calls tools, which is found out where it is not known. Raises ModelFailed."""
    if model == ORACLE:
        return "native"
    endpoint = open_model(model, settings)
    if getattr(endpoint, "protocol", None) is None:
        ask(endpoint, [HumanMessage("Hello!")], TOOL_SCHEMAS, seconds=settings.reply_seconds)
    return getattr(endpoint, "protocol", None) or "native"


def ask_alone(settings: Settings, model: Any, prompt: list[BaseMessage]) -> Row:
    """What the model says. Raises ModelFailed."""
    reply = ask(open_model(model, settings), prompt, seconds=settings.reply_seconds, most=REPLY)
    return {"answer": reply.text, "read": reply.input_tokens}


def ask_within(settings: Settings, model: Any, prompt_of: Callable[[int], list[BaseMessage]], window: int) -> Row:
    """`ask_alone` with a prompt of `prompt_of(most)` tokens that fits the window as the server counts it.

    Raises ModelFailed, and ContextOverflow where none fits.
    """
    name = str(model)
    for _ in range(FITTINGS):
        row = ask_alone(settings, model, prompt_of(int(window / _outgrown.get(name, 1.0))))
        if row["read"] + REPLY <= window:
            return row
        _outgrown[name] = _outgrown.get(name, 1.0) * row["read"] / (window - REPLY)
    raise ContextOverflow(f"No prompt of these texts fits a window of {window} tokens.", 0, window)


def agent_context(way: str, arguments: argparse.Namespace, **fields: Any) -> Context:
    """The context of the agent in one of AGENT_WAYS."""
    share = 0.0 if way == UNAIDED else Context.recall_share
    return Context(window=arguments.window, recall_share=share, **fields)


def ask_agent(runtime: Runtime, thread: str, event: BaseMessage, context: Context) -> Row:
    """What the MemGPT agent says to an event, how often it searched, and what it did. Raises ModelFailed."""
    done: dict[str, BaseMessage] = {}  # as it comes: some of it may have left the window in the end
    for part in runtime.stream("memgpt", thread, event, context):
        if part["type"] == "updates" and not part["ns"]:
            for step in part["data"].values():
                done |= {m.id: m for m in (step or {}).get("messages", []) if m.type in ("ai", "tool")}
    state = runtime.state("memgpt", thread)
    return {
        "answer": "\n".join(state["replies"]),
        "read": state["tokens"]["read"],
        "meter": state["meter"],
        "searches": sum("search" in str(m.name) for m in done.values() if isinstance(m, ToolMessage)),
        "recalled": recalled_lines(state["recalled"]),
        "transcript": transcript(done.values(), MOST),
    }


def knowing(answer: str, calls: bool, *first: AIMessage) -> PolicyModel:
    """The model that knows the answer; as the agent it makes the calls of `first` before it sends it."""

    def policy(prompt: list[BaseMessage]) -> AIMessage:
        if not calls:
            return AIMessage(answer)
        since = takewhile(lambda m: not isinstance(m, HumanMessage), reversed(prompt))  # the event
        results = [m.name for m in since if isinstance(m, ToolMessage)]
        if "send_message" in results:
            return AIMessage("Answered.")
        return first[len(results)] if len(results) < len(first) else call("send_message", message=answer)

    return PolicyModel(policy=policy)


def compare(
    arguments: argparse.Namespace,
    settings: Settings,
    title: str,
    work: Mapping[str, Mapping[str, Callable[[], Row]]],
    names: Sequence[str],
    **setting: Any,
) -> tuple[Row, dict[str, list[Row]]]:
    """Do the work of each way, an item at a time; print and return the intervals of `names`, and return the rows by way.

    `work`: way → item → what gives its row. `setting`: what a resumed run must have the same, beside model, window and seed.
    """
    common = {"model": arguments.model, "window": arguments.window, "seed": arguments.seed}
    setting = {**common, "temperature": settings.temperature, **setting}
    rows = Rows(arguments.out, setting, arguments.resume)
    keys = {(way, item): f"{way} {item}" for way, items in work.items() for item in items}
    places = {way: {item: n for n, item in enumerate(items)} for way, items in work.items()}
    in_turn = sorted(keys, key=lambda key: places[key[0]][key[1]])  # item by item: what a stop leaves is paired
    work_off(rows, {keys[key]: work[key[0]][key[1]] for key in in_turn}, arguments.concurrency, "questions")
    done = {way: [rows.done[keys[way, item]] for item in items] for way, items in work.items()}
    ways = {way: means(kept, names) for way, kept in done.items()}
    print_table(
        f"{title}, window {arguments.window}",
        ["way", *names, "n"],
        [
            [way, *(format_interval(v[n], 2) if n in v else "–" for n in names), len(done[way])]
            for way, v in ways.items()
        ],
    )
    costs = {way: spent(kept) for way, kept in done.items()}
    meters = {way: all_operations(row["meter"] for row in kept if "meter" in row) for way, kept in done.items()}
    protocol = protocol_of(arguments.model, settings, rows)
    return {**setting, "protocol": protocol, "ways": ways, "spent": costs, "meter": meters}, done


def agent_minus(ways: Sequence[str], groups: Sequence[str] = ("",)) -> dict[str, tuple[str, str]]:
    """The pairs of the agent with each other way, in each group of questions: how the names of its ways end."""
    others = [way for way in ways if way != "memgpt"]
    return {f"memgpt minus {way}{of}": (f"memgpt{of}", f"{way}{of}") for of in groups for way in others}


def differences(done: Mapping[str, list[Row]], pairs: Mapping[str, tuple[str, str]], names: Sequence[str]) -> Row:
    """Intervals of left − right on the same items, printed too; `pairs`: title → (left, right), where both were asked."""
    found = {
        title: {name: paired(done[left], done[right], name) for name in names}
        for title, (left, right) in pairs.items()
        if left in done and right in done
    }
    for title, difference in found.items():
        print(f"{title}: {', '.join(f'{n} {format_interval(v, 2)}' for n, v in difference.items())}")
    return found
