"""Engagement on Multi-Session Chat (MemGPT §3.1.2): the agent opens the next session, knowing the earlier ones.

SIM-1 and SIM-3: cosine (MiniLM) of the opener with the nearest persona sentence, and with the three nearest, of both speakers;
SIM-H: with the opener that the human wrote. The human's own SIM-1 and SIM-3 stand beside them. The paper names no embedder.

    python -m evaluation openers --file msc_valid_120.jsonl --model qwen2.5-coder-1.5b-instruct --limit 20
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.asking import agent_minus, ask_agent, ask_within, compare, differences, knowing, settings_at
from evaluation.msc import hold, plain_prompt, time_of
from evaluation.report import ORACLE, Row, add_ways, chosen, measured
from graphs.memgpt import Context, timed_event
from memory.embedder import LocalEmbedder
from runtime import Runtime, open_runtime
from tasks.msc import PERSON, MscDialogue, read_msc

WAYS = ("window", "memgpt")
INSTRUCTIONS = "You are talking with a person whom you know from earlier talks."
OPEN = (
    "Some days have passed, and a new talk begins. Open it: say one or two sentences to the person that take up what you know of "
    "them."
)
SESSIONS = (1, 2, 3)  # which are opened, from 0


def similarities(embedder: LocalEmbedder, opener: str, human: str, personas: list[str]) -> dict[str, float]:
    """Of an opener; 0 where there is none. `personas`: one sentence at least."""
    if not opener.strip():
        return {"sim-1": 0.0, "sim-3": 0.0, "sim-h": 0.0}
    vectors = embedder.embed([opener, human, *personas])
    near = sorted((float(v @ vectors[0]) for v in vectors[2:]), reverse=True)
    return {"sim-1": near[0], "sim-3": sum(near[:3]) / len(near[:3]), "sim-h": float(vectors[1] @ vectors[0])}


def open_session(
    runtime: Runtime,
    embedder: LocalEmbedder,
    dialogue: MscDialogue,
    session: int,
    way: str,
    arguments: argparse.Namespace,
) -> Row:
    """One opener in one way, and what it is like. The human's is the file's own."""
    human = next(turn.text for turn in dialogue.turns if turn.session == session)
    personas = [sentence for sentences in dialogue.personas for sentence in sentences]
    if way == "human":
        return {"answer": human, **similarities(embedder, human, human, personas)}
    earlier = [turn for turn in dialogue.turns if turn.session < session]
    model: Any = knowing(human, way == "memgpt") if arguments.model == ORACLE else arguments.model
    work: Callable[[], Row]
    if way == "memgpt":
        agent = f"open-{dialogue.id}-{session}"
        hold(runtime, agent, dialogue, earlier, arguments)
        now = time_of(session).isoformat()
        context = Context(agent=agent, model=model, window=arguments.window, user=PERSON, now=now)
        work = partial(ask_agent, runtime, agent, timed_event(OPEN), context)
    else:
        prompt_of = partial(plain_prompt, INSTRUCTIONS, earlier, f"({OPEN})")
        work = partial(ask_within, runtime.settings, model, prompt_of, arguments.window)
    row = {"human": human, **measured(work)}
    return {**row, **similarities(embedder, row["answer"], human, personas)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="Multi-Session Chat, JSON lines")
    add_ways(parser, WAYS)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Open the second, third and fourth session of each dialogue in each way; report the similarities."""
    dialogues = [d for d in read_msc(arguments.file) if any(d.personas)][chosen(arguments)]
    if not dialogues:
        raise ValueError(f"{arguments.file} has no dialogue with personas from number {arguments.first} on.")
    embedder = LocalEmbedder()
    sessions = [(d, session) for d in dialogues for session in SESSIONS if d.turns[-1].session >= session]
    ways = ("human", *arguments.ways)
    with tempfile.TemporaryDirectory() as folder, open_runtime(settings_at(Path(folder))) as runtime:
        work = {
            way: {f"{d.id} {n}": partial(open_session, runtime, embedder, d, n, way, arguments) for d, n in sessions}
            for way in ways
        }
        names = ("sim-1", "sim-3", "sim-h", "read", "seconds")
        result, done = compare(arguments, runtime.settings, "Openers", work, names)
    return {**result, "paired": differences(done, agent_minus(ways), names[:3])}
