"""keep: after the answer, what a person has told is kept for a model that forgets to: one short question of its own.

It is asked of models that cannot use a server's own tools; those that can keep what they find worth it by themselves. The
question is put behind the prompt as it stands, and what is kept goes into archival storage: so the server's cache stays good.
"""

import re
import time

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from memory.archival import Archival
from models.intake import Reply
from models.protocol import EXAMPLES, SPEAK
from models.refusals import ModelFailed
from nodes.memgpt.event import event_of, is_event
from nodes.memgpt.meter import cap_met, seconds_left, with_thought
from nodes.memgpt.state import Context, State
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.trust import trust_of_view
from nodes.memgpt.window import measure, render_prompt
from nodes.replies import memory_of, protocol_of, reply_to, step_id, thread_of
from text import clean_text, folded

KEEPING = ("archival_memory_insert", "working_context_append", "working_context_replace")
QUESTION = (
    "[note] Call archival_memory_insert now: write in one sentence what the person's last message tells about the person, their "
    'life or their wishes, with names as they were said, beginning with "The person". Only if it tells nothing about them: call '
    "speak with the text nothing."
)
QUESTION_TOKENS = 300  # with its answer
NOTE_TOKENS = 256
MOST_CHARACTERS = 400
WORD = re.compile(r"\b(?:\w{4,}|[A-Z]\w+)")
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def should_keep(state: State, runtime: Runtime[Context]) -> bool:
    """Whether to ask: the turn is over and answered, a person has stated something, and nothing was kept of it."""
    turn = state["turn"]
    if runtime.context.temporary or not turn.get("asked") or not state["replies"] or protocol_of(runtime) == "native":
        return False
    number = next((n for n, m in enumerate(state["messages"]) if m.id == turn["event"]), None)
    if number is None or not is_event(state["messages"][number]):
        return False
    said = event_of(state["messages"][number]).text.strip()
    since = [m for m in state["messages"][number:] if isinstance(m, AIMessage)]
    kept = any(call["name"] in KEEPING for message in since for call in message.tool_calls)
    usage = measure(state, runtime.context)
    has_room = usage.free > QUESTION_TOKENS and not cap_met(state, runtime.context, usage.used + QUESTION_TOKENS)
    return has_room and not (kept or said.endswith("?") or len(said.split()) < 3)


def keep(state: State, runtime: Runtime[Context]) -> State:
    """Ask what is worth keeping, and keep it. A model that fails at this has answered already: nothing is raised."""
    context, store = runtime.context, memory_of(runtime)
    # Without what was recalled: that is kept already, and the next turn's prompt begins with this one.
    prompt = [*render_prompt({**state, "recalled": []}, context), HumanMessage(QUESTION)]
    begun = time.monotonic()
    try:
        reply = reply_to(
            prompt, context.model, runtime, TOOL_SCHEMAS, ["nostream"], only=("archival_memory_insert", SPEAK),
            most=NOTE_TOKENS, within=seconds_left(state, context),
        )  # fmt: skip
    except ModelFailed:
        return {}
    archival = Archival(store, context.agent)
    written = note_in(reply)
    said = event_of(next(m for m in state["messages"] if m.id == state["turn"]["event"])).text
    if content := supported(clean_text(written), said):
        archival.insert(
            content, key=step_id(runtime), time=context.time(), said=state["turn"]["event"], thread=thread_of(runtime),
            trust=trust_of_view(state),
        )  # fmt: skip
    store.flush()
    meter = with_thought(state.get("meter", {}), "note", begun, prompt, reply)
    return {"counters": {**state["counters"], "archival": archival.count()}, "meter": meter}


def note_in(reply: Reply) -> str:
    """The note of the first call, or the text of a reply without one; another tool's only where it begins as was asked."""
    if not reply.calls:
        return reply.text
    call = reply.calls[0]
    if call["name"] == KEEPING[0]:
        return str(call["args"].get("content", ""))
    said = (str(call["args"].get(name, "")) for name in ("content", "message", "text"))
    return next((text for text in said if text.startswith("The person")), "")


def supported(text: str, said: str) -> str:
    """The sentences of a note that share a word with what was said, and tell nothing of the prompt's example: a small model
    makes up others.
    """
    words = set(map(folded, WORD.findall(said)))
    examples = set(map(folded, EXAMPLES)) - words
    sentences = [(s, set(map(folded, WORD.findall(s)))) for s in SENTENCE.split(text.strip()[:MOST_CHARACTERS])]
    return " ".join(s for s, written in sentences if written & words and not written & examples)
