"""LoCoMo through the memgpt graph: what is lost on the way (nothing may be), and what retrieval finds afterwards.

Every turn of talk goes through the graph with a small window, so that it pages hundreds of times: the first speaker is the
person, the second is the agent, whose words a scripted policy sends. Then the questions are searched in recall storage as the page
Memory searches it, by words and meaning; and it is measured how much of the evidence stands in the agent's prompt when it is asked.
What a model makes of that, `--model` says.

    python -m evaluation locomo --file locomo.json [--audit audit_corrections.json] [--window 4096] [--sweep]
    python -m evaluation locomo --file locomo.json --model qwen2.5-coder-1.5b-instruct --limit 20       (it answers questions)
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from tqdm import tqdm

from evaluation.report import AGENT_WAYS, ORACLE, add_ways, print_table
from graphs.memgpt import Context, timed_event, user_message
from intervals import format_interval, interval
from memory.ranking import Weights
from memory.recall import SAID, Recall
from models.offline import digest
from models.protocol import Protocol
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from nodes.memgpt.recalled import keys_in_view, quotes
from nodes.memgpt.state import State
from nodes.memgpt.window import FRAME, TOOL_TOKENS, estimate, message_tokens
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.locomo import CATEGORIES, Conversation, read_locomo

AT = (5, 10, 20)
SEARCHED_BY = "the page Memory does"
DEEP = 200  # results looked at, to find 20 sessions


Talk = tuple[Conversation, str, dict[int, int]]
"""A conversation, its agent, and the index of the turn at each position of recall storage."""
IN_PROMPT = ("quoted", "in the prompt")
"""Share of the turns with the evidence that recall before thinking quotes; with those that the window still has."""


@dataclass
class Speaker:
    """The scripted agent: it says what it is given, and otherwise only listens. It measures every prompt it sees."""

    window: int
    line: str = ""
    prompts: int = 0
    over: int = 0
    largest: int = 0
    orphans: int = 0

    def __call__(self, prompt: list[BaseMessage]) -> AIMessage:
        """Send the line, once."""
        summarising = prompt[0].text == SUMMARISE
        size = prompt_tokens(prompt) + (0 if summarising else TOOL_TOKENS)
        self.prompts += 1
        self.over += size > self.window
        self.largest = max(self.largest, size)
        called = {c["id"] for m in prompt if isinstance(m, AIMessage) for c in m.tool_calls}
        self.orphans += sum(isinstance(m, ToolMessage) and m.tool_call_id not in called for m in prompt)
        if summarising:
            return AIMessage(digest(prompt[-1].text))
        line, self.line = self.line, ""
        return call("send_message", message=line) if line else AIMessage("(listening)")


def prompt_tokens(prompt: list[BaseMessage]) -> int:
    """Tokens of the messages as they are sent."""
    own = (AIMessage, ToolMessage)  # events come rendered
    return sum(message_tokens(m) if isinstance(m, own) else estimate(m.text) + FRAME for m in prompt)


def talk(
    runtime: Runtime, conversation: Conversation, agent: str, speaker: Speaker, bar: Any, calls: Protocol = "native"
) -> int:
    """Put a conversation through the graph, whose window counts it as told to a model that calls tools that way.

    Returns how many messages left the window.
    """
    person, other = conversation.speakers
    model = PolicyModel(policy=speaker, protocol=calls)
    turns, n, minutes = conversation.turns, 0, 0
    while n < len(turns):
        turn = turns[n]
        minutes = minutes + 1 if n and turns[n - 1].session == turn.session else 0
        now = (turn.time + timedelta(minutes=minutes)).isoformat()
        context = Context(
            agent=agent, model=model, window=speaker.window, user=person, now=now, answers=False, recall_share=0
        )
        event = user_message(turn.text, person) if turn.speaker == person else timed_event("It is your turn to speak.")
        n += turn.speaker == person
        bar.update(turn.speaker == person)
        if n < len(turns) and turns[n].speaker == other and turns[n].session == turn.session:
            speaker.line = turns[n].text
            n += 1
            bar.update()
        runtime.run("memgpt", agent, event, context)
    evicted = runtime.state("memgpt", agent).get("evicted")
    return evicted["total"] if evicted else 0


def check_log(runtime: Runtime, conversation: Conversation, agent: str) -> tuple[int, int, list[int]]:
    """How many turns recall storage has lost, how many it has too often, and the position of each that it has, in order."""
    recall = Recall(runtime.store, agent)
    wanted = Counter((t.speaker == conversation.speakers[0], t.text) for t in conversation.turns)
    said = [item.value for item in runtime.store.all(recall.namespace, {"role": SAID})]
    positions = [int(value["position"]) for value in said]
    kept = Counter((value["role"] == "user", value["text"]) for value in said)
    return sum((wanted - kept).values()), sum((kept - wanted).values()), positions


def retrieve(runtime: Runtime, talks: list[Talk], show: bool = True) -> list[dict[str, Any]]:
    """Rank every question's turns and sessions; one row per question that has evidence, with its measures."""
    rows = []
    questions = [(*talk, q) for talk in talks for q in talk[0].questions if q.evidence or q.audited]
    for conversation, agent, turn_at, question in tqdm(questions, desc="Questions", disable=None if show else True):
        found = Recall(runtime.store, agent).nearest(question.text, page_size=DEEP).items
        ranked = [turn_at[int(item.value["position"])] for item in found]
        scores = [float(item.score or 0) for item in found]
        sessions = rank_sessions([(conversation.turns[n].session, s) for n, s in zip(ranked, scores, strict=True)])
        row: dict[str, Any] = {"category": question.category}
        for label, evidence in (("public", question.evidence), ("audited", question.audited)):
            if not evidence:
                continue
            wanted = {conversation.turns[n].session for n in evidence}
            row |= {f"{label} turn {k}": v for k, v in measures(ranked, set(evidence)).items()}
            row |= {f"{label} session {k}": v for k, v in measures(sessions, wanted).items()}
        rows.append(row)
    return rows


def in_prompt(runtime: Runtime, talks: list[Talk], window: int) -> list[dict[str, Any]]:
    """What of each question's evidence the agent has before it when it is asked; one row per question that has evidence."""
    rows = []
    for conversation, agent, turn_at in talks:
        recall = Recall(runtime.store, agent)
        in_view = keys_in_view(cast(State, runtime.state("memgpt", agent)))
        said = {i.key: turn_at[int(i.value["position"])] for i in runtime.store.all(recall.namespace, {"role": SAID})}
        seen = {said[key] for key in in_view if key in said}
        room = int(Context.recall_share * window)
        for question in conversation.questions:
            if not question.evidence:
                continue
            quoted = {said[q["key"]] for q in quotes(runtime.store, agent, question.text, in_view, room)}
            shares = [
                len(set(question.evidence) & got) / len(set(question.evidence)) for got in (quoted, quoted | seen)
            ]
            rows.append({"category": question.category, **dict(zip(IN_PROMPT, shares, strict=True))})
    return rows


def rank_sessions(ranked: list[tuple[int, float]]) -> list[int]:
    """Sessions by their five best turns, each weighing half of the one before."""
    members: dict[int, list[float]] = {}
    for session, score in ranked:
        members.setdefault(session, []).append(score)
    totals = {session: sum(s / 2**n for n, s in enumerate(scores[:5])) for session, scores in members.items()}
    return sorted(totals, key=lambda session: -totals[session])


def measures(ranked: list[int], wanted: set[int]) -> dict[str, float]:
    """any@k, all@k and share@k of what is wanted."""
    result: dict[str, float] = {}
    for k in AT:
        hit = len(wanted & set(ranked[:k]))
        result |= {f"any@{k}": float(hit > 0), f"all@{k}": float(hit == len(wanted)), f"share@{k}": hit / len(wanted)}
    return result


def summarise(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Intervals of every measure, for all questions and by category."""
    names = [n for n in dict.fromkeys(k for row in rows for k in row) if n != "category"]
    groups = {"all": rows} | {CATEGORIES[c]: [r for r in rows if r["category"] == c] for c in CATEGORIES}
    return {g: {n: interval([r[n] for r in part if n in r]) for n in names} for g, part in groups.items()}


def sweep() -> Iterator[Weights]:
    """The weights in use, and those around them, one changed at a time; then each half alone."""
    yield (here := Weights())
    for dense in (0.2, 0.3, 0.5, 0.6):
        yield replace(here, dense=dense)
    for neighbour in (0.0, 0.1, 0.2, 0.4):
        yield replace(here, neighbour=neighbour)
    for b in (0.1, 0.5, 0.75):
        yield replace(here, b=b)
    for k in (0.9, 1.6):
        yield replace(here, k=k)
    for depth in (50, 100, 500):
        yield replace(here, depth=depth)
    yield replace(here, dense=0.0, neighbour=0.0)
    yield replace(here, dense=1.0, neighbour=0.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="a LoCoMo JSON file")
    parser.add_argument("--audit", type=Path, help="audit_corrections.json of dial481/locomo-audit")
    add_ways(parser, ("window", *AGENT_WAYS))
    parser.add_argument("--sweep", action="store_true", help="also measure the ranking with other weights")
    parser.add_argument(
        "--home", type=Path, help="keep the memory here, to look at afterwards; default: a temporary folder"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Talk, check, search; with a model, have it answer the questions instead."""
    if arguments.model != ORACLE:
        from evaluation.locomo_answers import answer_questions  # it puts the talk through the graph as this file does

        return answer_questions(arguments)
    conversations = read_locomo(arguments.file, arguments.audit)
    speaker = Speaker(arguments.window)
    lost = doubled = evicted = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        open_runtime(Settings(home=arguments.home or Path(folder))) as runtime,
    ):
        talks: list[Talk] = []
        with tqdm(total=sum(len(c.turns) for c in conversations), desc="Turns", disable=None) as bar:
            for number, conversation in enumerate(conversations, start=1):
                agent = f"{conversation.speakers[1]}-{number}"
                evicted += talk(runtime, conversation, agent, speaker, bar)
                missing, extra, places = check_log(runtime, conversation, agent)
                talks.append((conversation, agent, {place: n for n, place in enumerate(places)}))
                lost, doubled = lost + missing, doubled + extra
        flushes = sum(_flushes(runtime, agent) for _, agent, _ in talks)
        log = {
            "turns": sum(len(c.turns) for c in conversations),
            "lost": lost,
            "doubled": doubled,
            "messages evicted": evicted,
            "flushes": flushes,
            "prompts": speaker.prompts,
            "prompts over the window": speaker.over,
            "largest prompt": speaker.largest,
            "tool results without their call": speaker.orphans,
        }
        print_table(f"Through the graph, window {arguments.window} tokens", ["", ""], [[k, v] for k, v in log.items()])
        retrieval = summarise(retrieve(runtime, talks))
        before = summarise(in_prompt(runtime, talks, arguments.window))
        result: dict[str, Any] = {
            "window": arguments.window,
            "log": log,
            "before thinking": before,
            "searched as": SEARCHED_BY,
            "retrieval": retrieval,
        }
        _print_retrieval(retrieval)
        rows = [[group, *(format_interval(v[n], 2) for n in IN_PROMPT)] for group, v in before.items()]
        print_table("Share of the evidence that the agent has before it, window and quotes", ["", *IN_PROMPT], rows)
        if arguments.sweep:
            result["sweep"] = _sweep(runtime, talks)
    return result


def _flushes(runtime: Runtime, agent: str) -> int:
    return runtime.store.find((agent, "message"), "Last flush:", where={"role": "alert"}).total


def _print_retrieval(retrieval: dict[str, dict[str, dict[str, float]]]) -> None:
    for label in ("public", "audited"):
        for level in ("turn", "session"):
            columns = [f"{m}@{k}" for k in AT for m in ("any", "all", "share")]
            rows = [
                [
                    g,
                    *(f"{v[f'{label} {level} {c}']['mean']:.3f}" for c in columns),
                    int(v[f"{label} {level} any@5"]["n"]),
                ]
                for g, v in retrieval.items()
                if f"{label} {level} any@5" in v
            ]
            print_table(
                f"Retrieval by {level}, {label} evidence, searched as {SEARCHED_BY}", ["category", *columns, "n"], rows
            )
    every = retrieval["all"]
    for name in ("public turn share@10", "public session all@5"):
        print(f"{name}: {format_interval(every[name])}")


def _sweep(runtime: Runtime, talks: list[Talk]) -> list[dict[str, Any]]:
    table, kept = [], []
    for weights in tqdm(list(sweep()), desc="Weights", disable=None):
        runtime.store.weights = weights
        every = summarise(retrieve(runtime, talks, show=False))["all"]
        values = {n: every[n] for n in ("public turn share@10", "public session all@5")}
        kept.append({"weights": weights.__dict__, **values})
        table.append([json.dumps(weights.__dict__), *(format_interval(v) for v in values.values())])
    runtime.store.weights = Weights()
    print_table(
        "Sweep (first: the weights in use; last two: BM25 alone, embeddings alone)", ["weights", *values], table
    )
    return kept
