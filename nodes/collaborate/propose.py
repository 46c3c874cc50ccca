"""propose: the agent asks, shows, or answers, seeing the description and what was said so far, and nothing else."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.runtime import Runtime

from memory.blocks import load_blocks
from nodes.collaborate.state import Context, State, Turn
from nodes.memgpt.act import run_call
from nodes.memgpt.state import BLOCKS
from nodes.memgpt.tools import TOOL_SCHEMAS, Desk
from nodes.replies import memory_of, reply_to, step_id, tidy
from tasks.answers import MARKER, SAID, answer_in, page_in, split_reply
from tasks.colbench import Kind
from tasks.programs import DEFINES
from text import clean_text

BACKEND = f"""\
You write a Python function together with a person who knows what it has to do, down to details that the request leaves out. \
Ask before you write: the function is tested on exactly those details. The person cannot program and answers in two sentences, \
so ask one short question at a time. You have {{turns}} turns in all. When you know enough, or have no turn left, reply with \
`{MARKER}` and the whole program after it, with nothing but Python's standard library. What you want to think first, write before \
the line `{SAID}`; the person sees only what follows it."""
FRONTEND = f"""\
You design a web page together with a person who has a clear picture of it in mind. The page is one HTML document, from <html> \
to </html>, styled with Tailwind classes (link https://cdn.jsdelivr.net/npm/tailwindcss@2.2.19/dist/tailwind.min.css); \
pictures are https://picsum.photos/id/48/WIDTH/HEIGHT; there are no scripts. The person sees your page as a picture, not its \
source, and tells you in two sentences what differs from what they want. You have {{turns}} turns in all: show a whole page in \
each. When it is right, or you have no turn left, reply with `{MARKER}` and the whole page after it. What you want to think \
first, write before the line `{SAID}`; the person sees only what follows it."""
LAST = f"This is your last turn. Reply with `{MARKER}` and the whole result after it."
EMPTY = "Your reply was empty. Ask, or answer."
MEMORY = """\

You remember people. What you know of this person from earlier tasks:
{blocks}
Use it instead of asking again, and search archival memory for more. When the person tells you of a habit or a liking that will \
matter in other tasks too, note it with a memory tool before you reply; what belongs to this task alone needs no note."""
MEMORY_TOOLS = [
    schema for schema in TOOL_SCHEMAS if schema["function"]["name"].startswith(("working_context", "archival_memory"))
]
MOST_ROUNDS = 4  # of memory tools before one reply
BLOCK_LIMIT, PAGE_SIZE, EXCERPT = 2_000, 5, 400


def propose(state: State, runtime: Runtime[Context]) -> State:
    """The agent's next turn; with the marker, or in the last turn, it is the answer. Raises ModelFailed and Stopped."""
    context, turns = runtime.context, state["turns"]
    number = sum(t["role"] == "agent" for t in turns) + 1
    last = number >= context.max_turns
    tokens = {"input_tokens": state["input_tokens"], "output_tokens": state["output_tokens"]}
    prompt = dialogue(state["kind"], state["description"], state.get("examples", ""), turns, context.max_turns)
    text = _reply(prompt, runtime, tokens)
    if not text:
        text = _reply([*prompt, AIMessage("…"), HumanMessage(EMPTY)], runtime, tokens)
    thought, said = split_reply(text)
    turn = Turn(role="agent", content=said, thought=thought, leak="")
    update: State = {"turns": [*turns, turn], **tokens}  # type: ignore[typeddict-item]
    answer = answer_in(said)
    if answer is None and not last:
        return update
    if state["kind"] == "frontend":
        pages = [page_in(t["content"]) for t in [*turns, turn] if t["role"] == "agent"]
        shown = next((page for page in reversed(pages) if page), "")
        return {
            **update,
            "answer": page_in(answer or "") or shown,
            "stop": "turn_limit" if answer is None else "answered",
        }
    return {
        **update,
        "answer": _program(said, answer),
        "stop": "turn_limit" if answer is None else "answered",
    }


def _program(said: str, answer: str | None) -> str:
    """The text that holds the program: all of the reply if it has no marker, or has the program before it."""
    if answer is None or (DEFINES.search(said) and not DEFINES.search(answer)):
        return said
    return answer


def dialogue(kind: Kind, description: str, examples: str, turns: Sequence[Turn], max_turns: int) -> list[BaseMessage]:
    """The prompt of the agent's next turn: instructions, the description with its examples, and what was said."""
    rules = (BACKEND if kind == "backend" else FRONTEND).format(turns=max_turns)
    shown = f"\n\nExamples:\n{examples}" if examples else ""
    prompt: list[BaseMessage] = [SystemMessage(rules), HumanMessage(f"{description}{shown}")]
    for turn in turns:
        prompt.append(AIMessage(turn["content"]) if turn["role"] == "agent" else HumanMessage(turn["content"]))
    if sum(turn["role"] == "agent" for turn in turns) >= max_turns - 1:
        prompt[-1] = HumanMessage(f"{prompt[-1].text}\n\n[{LAST}]")
    return prompt


def after_proposal(state: State, runtime: Runtime[Context]) -> Literal["reply", "refine", "score"]:
    """On with the dialogue until there is an answer."""
    if not state["stop"]:
        return "reply"
    return "refine" if runtime.context.refine and state["kind"] == "backend" and state["answer"] else "score"


def _reply(prompt: list[BaseMessage], runtime: Runtime[Context], tokens: dict[str, int]) -> str:
    """The model's text; with memory, after the tools that it called first."""
    context = runtime.context
    if not context.memory:
        return _ask(prompt, runtime, tokens).text.strip()
    desk = _desk(runtime)
    shown = "\n".join(f"<{name}>\n{desk.blocks.get(name, '')}\n</{name}>" for name in BLOCKS)
    prompt = [SystemMessage(prompt[0].text + MEMORY.format(blocks=shown)), *prompt[1:]]
    for round_ in range(MOST_ROUNDS):
        reply = tidy(
            _ask(prompt, runtime, tokens, MEMORY_TOOLS),
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step_id(runtime)} {round_}")),
        )
        if not reply.tool_calls:
            return reply.text.strip()
        prompt = [*prompt, reply]
        for call in reply.tool_calls:
            desk.key = f"{reply.id}:{call['id']}"
            status, told = run_call(call, desk)
            prompt.append(ToolMessage(json.dumps({"status": status, "message": told}), tool_call_id=str(call["id"])))
    return _ask(prompt, runtime, tokens).text.strip()


def _desk(runtime: Runtime[Context]) -> Desk:
    """What the memory tools work on. The person's words are from outside: what is noted of them carries that mark."""
    store, agent = memory_of(runtime.store), runtime.context.agent
    return Desk(
        store=store, agent=agent, blocks=load_blocks(store, agent), block_limit=BLOCK_LIMIT, page_size=PAGE_SIZE,
        excerpt=EXCERPT, time=datetime.now(UTC), trust="outside", fits=lambda blocks: True, solve=_no_solver,
    )  # fmt: skip


def _no_solver(method: str, task: str) -> str:
    raise ValueError("There is no solver in a collaboration.")


def _ask(
    prompt: list[BaseMessage],
    runtime: Runtime[Context],
    tokens: dict[str, int],
    tools: list[dict[str, Any]] | None = None,
) -> AIMessage:
    reply = reply_to(prompt, runtime.context.model, runtime, tools or (), tags=["propose"])
    if reply.usage_metadata:
        tokens["input_tokens"] += reply.usage_metadata["input_tokens"]
        tokens["output_tokens"] += reply.usage_metadata["output_tokens"]
    return reply.model_copy(update={"content": clean_text(reply.text)})
