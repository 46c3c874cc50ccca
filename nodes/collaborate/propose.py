"""propose: the agent asks, shows, or answers, seeing the description and what was said so far, and nothing else."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.runtime import Runtime

from memory.blocks import blocks_in_view
from models.intake import Reply
from nodes.collaborate.state import Context, State
from nodes.memgpt.act import run_call
from nodes.memgpt.state import BLOCKS
from nodes.memgpt.tools import TOOL_SCHEMAS, TOOLS, ToolContext
from nodes.replies import memory_of, reply_to, step_id, tidy
from tasks.answers import answer_in, split_reply
from tasks.dialogue import Turn, prompt_of, said_by
from tasks.kinds import ENVIRONMENTS
from text import clean_text

SILENT = "…"
"""In place of a reply without text, which several endpoints refuse to be sent back."""
NUDGE = [AIMessage(SILENT), HumanMessage("Your reply was empty. Ask, or answer.")]
MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
MEMORY = """\

You remember people. What you know of this person from earlier tasks:
{blocks}
Use it instead of asking again, and search archival memory for more. When the person tells you of a habit or a liking that will \
matter in other tasks too, note it with a memory tool before you reply; what belongs to this task alone needs no note."""
MEMORY_TOOLS = {name: tool for name, tool in TOOLS.items() if name.startswith(("working_context", "archival_memory"))}
MEMORY_SCHEMAS = [schema for schema in TOOL_SCHEMAS if schema["function"]["name"] in MEMORY_TOOLS]
MOST_ROUNDS = 4  # of memory tools before one reply
BLOCK_LIMIT, PAGE_SIZE, EXCERPT = 2_000, 5, 400


def propose(state: State, runtime: Runtime[Context]) -> State:
    """The agent's next turn; with the marker, or in the last turn, it is the answer. Raises ModelFailed and Stopped."""
    context, turns = runtime.context, state["turns"]
    environment = ENVIRONMENTS[state["kind"]]
    tokens = {"input_tokens": state["input_tokens"], "output_tokens": state["output_tokens"]}
    messages = prompt_of(
        environment.instructions, state["description"], state.get("examples", ""), turns, context.max_turns
    )
    prompt: list[BaseMessage] = [MESSAGES[m["role"]](m["content"]) for m in messages]
    reply = _reply(prompt, runtime, tokens)
    if not reply.text.strip():
        reply = _reply([*prompt, *NUDGE], runtime, tokens)
    thought, said = split_reply(reply.text.strip())
    thought = "\n".join(part for part in (reply.thoughts, thought) if part)
    turns = [*turns, Turn(role="agent", content=said or SILENT, thought=thought, leak="")]
    update: State = {"turns": turns, **tokens}  # type: ignore[typeddict-item]
    marked = answer_in(said)
    if marked is None and len(said_by("agent", turns)) < context.max_turns:
        return update
    answer = environment.answer(turns, marked) if said else ""
    return {**update, "answer": answer, "stop": "turn_limit" if marked is None else "answered"}


def after_proposal(state: State, runtime: Runtime[Context]) -> Literal["reply", "refine", "score"]:
    """On with the dialogue until there is an answer."""
    if not state["stop"]:
        return "reply"
    return "refine" if runtime.context.refine and state["kind"] == "backend" and state["answer"] else "score"


def _reply(prompt: list[BaseMessage], runtime: Runtime[Context], tokens: dict[str, int]) -> Reply:
    """What the model says; with memory, after the tools that it called first."""
    context = runtime.context
    if not context.memory:
        return _ask(prompt, runtime, tokens)
    tools = _tool_context(runtime)
    blocks_text = "\n".join(f"<{name}>\n{tools.blocks.get(name, '')}\n</{name}>" for name in BLOCKS)
    prompt = [SystemMessage(prompt[0].text + MEMORY.format(blocks=blocks_text)), *prompt[1:]]
    for round_ in range(MOST_ROUNDS):
        reply = _ask(prompt, runtime, tokens, MEMORY_SCHEMAS)
        if not reply.calls and not reply.malformed:
            return reply
        message = tidy(reply, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step_id(runtime)} {round_}")))
        prompt = [*prompt, message]
        for call in message.tool_calls:
            tools.key = f"{message.id}:{call['id']}"
            status, outcome = run_call(call, tools, MEMORY_TOOLS)
            prompt.append(ToolMessage(json.dumps({"status": status, "message": outcome}), tool_call_id=str(call["id"])))
    return _ask(prompt, runtime, tokens)


def _tool_context(runtime: Runtime[Context]) -> ToolContext:
    """What the memory tools work on. The person's words are from outside: what is noted of them carries that mark."""
    store, agent = memory_of(runtime), runtime.context.agent
    return ToolContext(
        store=store, agent=agent, blocks=blocks_in_view(store, agent, private=False), block_limit=BLOCK_LIMIT, page_size=PAGE_SIZE,
        excerpt=EXCERPT, time=datetime.now(UTC), trust="outside", fits=lambda blocks: True, solve=_no_solver,
    )  # fmt: skip


def _no_solver(method: str, task: str) -> str:
    raise ValueError("There is no solver in a collaboration.")


def _ask(
    prompt: list[BaseMessage], runtime: Runtime[Context], tokens: dict[str, int], tools: Sequence[dict[str, Any]] = ()
) -> Reply:
    reply = reply_to(prompt, runtime.context.model, runtime, tools, tags=["propose"])
    tokens["input_tokens"] += reply.input_tokens
    tokens["output_tokens"] += reply.output_tokens
    return replace(reply, text=clean_text(reply.text))
