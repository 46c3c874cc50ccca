"""What a turn costs as the conversation grows, beside that of a bare two-node LangGraph agent: CPU, and bytes of checkpoints."""

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from tqdm import tqdm

from evaluation.report import print_table
from graphs.memgpt import Context, user_message
from intervals import format_interval, interval
from memory.checkpoints import open_checkpointer
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import open_runtime
from settings import Settings

TALK = (
    "we walked along the river this morning and my sister told me about her new house near the old market where she "
    "grows apples tea roses and two kinds of beans so next week I will bring her some books and stay for dinner if "
    "the weather holds"
).split()


class BareState(TypedDict):
    """The state of the agent to compare with."""

    messages: Annotated[list[AnyMessage], add_messages]


def bare_agent(checkpointer: Any, policy: Callable[[list[BaseMessage]], AIMessage]) -> Any:
    """The least LangGraph agent with a tool: model ⇄ tools, the whole conversation in its state."""
    model = PolicyModel(policy=policy)

    def think(state: BareState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def act(state: BareState) -> dict[str, Any]:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage)
        return {"messages": [ToolMessage("Sent.", tool_call_id=str(c["id"])) for c in last.tool_calls]}

    builder = StateGraph(BareState)
    builder.add_node("think", think)
    builder.add_node("act", act)
    builder.add_edge(START, "think")
    builder.add_edge("think", "act")
    builder.add_edge("act", END)
    return builder.compile(checkpointer=checkpointer)


def instant(prompt: list[BaseMessage]) -> AIMessage:
    """The scripted model of both: one call that says something."""
    if prompt and prompt[0].text == SUMMARISE:
        return AIMessage("We have talked of many things, one after the other.")
    if prompt and isinstance(prompt[-1], HumanMessage) and prompt[-1].text.startswith('{"type": "memory_pressure"'):
        return AIMessage("Noted.")
    return call("send_message", id=f"call_{len(prompt)}_{time.monotonic_ns()}", message="Yes, I have heard that. " * 4)


def says(n: int) -> str:
    """What the person says in turn n: 200 characters."""
    return f"Turn {n}: " + " ".join(random.Random(n).choices(TALK, k=38))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--messages", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--turns", type=int, default=120, help="turns measured at each length")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU milliseconds and checkpoint bytes of a turn as the conversation grows."""
    marks, most = sorted(arguments.messages), max(arguments.messages)
    with tempfile.TemporaryDirectory() as folder:
        ours = _measure_memgpt(Path(folder) / "memgpt", marks, arguments.turns)
        bare = {m: _measure_bare(Path(folder) / f"bare{m}", m, arguments.turns) for m in tqdm(marks, desc="Bare agent")}
    rows, results = [], []
    for mark in marks:
        result = {"messages": mark, "memgpt": ours[mark], "bare": bare[mark]}
        results.append(result)
        cpu, bytes_ = ours[mark]["cpu ms"], ours[mark]["bytes"]
        bare_cpu, bare_bytes = bare[mark]["cpu ms"], bare[mark]["bytes"]
        times = [format_interval(cpu, 1), format_interval(bare_cpu, 1), f"{cpu['mean'] / bare_cpu['mean']:.2f}"]
        sizes = [f"{size['mean']:,.0f}" for size in (bytes_, bare_bytes)]
        rows.append([f"{mark:,}", *times, *sizes, f"{bytes_['mean'] / bare_bytes['mean']:.3f}"])
    headers = ["messages", "CPU ms", "bare CPU ms", "ratio", "bytes", "bare bytes", "ratio"]
    print_table("One turn, with an instant model", headers, rows)
    flat = None
    if 100 in marks and most > 100:
        flat = ours[most]["cpu ms"]["mean"] / ours[100]["cpu ms"]["mean"]
        print(f"CPU of a turn at {most:,} messages / at 100: {flat:.2f}")
    return {"results": results, "flatness": flat}


def _measure_memgpt(home: Path, marks: list[int], turns: int) -> dict[int, Any]:
    context = Context(agent="speed", model=PolicyModel(policy=instant))
    measured: dict[int, Any] = {}
    with open_runtime(Settings(home=home)) as runtime:
        database = sqlite3.connect(home / "checkpoints.sqlite")
        said = number = 0

        def one_turn() -> None:
            nonlocal said, number
            runtime.run("memgpt", "speed", user_message(says(number)), context)
            said, number = said + 2, number + 1

        with tqdm(total=marks[-1], desc="Messages", disable=None) as bar:
            for mark in marks:
                while said < mark:
                    one_turn()
                    bar.update(2)
                measured[mark] = _turns(one_turn, turns, database)
                bar.update(2 * turns)
        database.close()
    return measured


def _measure_bare(home: Path, messages: int, turns: int) -> dict[str, Any]:
    config: RunnableConfig = {"configurable": {"thread_id": "speed"}}
    with open_checkpointer(Settings(home=home)) as saver:
        graph = bare_agent(saver, instant)
        past: list[AnyMessage] = []
        for n in range(messages // 2):
            reply = instant([])
            results = [ToolMessage("Sent.", tool_call_id=str(c["id"])) for c in reply.tool_calls]
            past += [HumanMessage(says(n)), reply, *results]
        graph.update_state(config, {"messages": past}, as_node="act")
        database = sqlite3.connect(home / "checkpoints.sqlite")
        number = messages

        def one_turn() -> None:
            nonlocal number
            graph.invoke({"messages": [HumanMessage(says(number))]}, config, durability="sync")
            number += 1

        measured = _turns(one_turn, min(turns, 10), database)
        database.close()
        return measured


def _turns(one_turn: Callable[[], None], turns: int, database: sqlite3.Connection) -> dict[str, Any]:
    """CPU of each of some turns, and what they add to the checkpoints."""
    one_turn()
    size = "SELECT (SELECT sum(length(checkpoint) + length(metadata)) FROM checkpoints) + (SELECT sum(length(value)) FROM writes)"
    before = database.execute(size).fetchone()[0] or 0
    times = []
    for _ in range(turns):
        began = time.process_time()
        one_turn()
        times.append(1_000 * (time.process_time() - began))
    after = database.execute(size).fetchone()[0]
    return {"cpu ms": interval(times), "bytes": {"mean": (after - before) / turns}}
