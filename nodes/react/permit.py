"""permit: decides by the policy which calls of the last thought are made, and waits for a person where it says so."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from memory.store import QdrantStore
from nodes.react.state import BUILT_IN, Context, State
from nodes.react.tools import all_tools, built_in_tools
from nodes.replies import memory_of, thread_of
from nodes.tool_decisions import Decided, log_decisions, tool_policy_of
from nodes.tool_policy import Decision, ToolPolicy

SAID_NO = "a person has said no to this call"
NO_SUCH_TOOL = "there is no such tool"


def permit(state: State, runtime: Runtime[Context]) -> State:
    """Every call gets one decision. Waits for a person's yes to those that are asked for: go on with `Command(resume=True)`, which
    allows all of them, with a list of the ids of some in the question, or with anything else for none.
    """
    context, reply = runtime.context, state["messages"][-1]
    if not isinstance(reply, AIMessage):
        raise TypeError(f"permit runs after a thought with calls, not after a {reply.type} message.")
    tools = {tool.name: tool for tool in all_tools(built_in_tools(state, runtime), runtime)}
    policy, said_no = _policy(runtime), _said_no(state)
    decided = [_decided(reply, call, tools, policy, state["outside"], said_no) for call in reply.tool_calls]
    asked = [(call, each) for call, each in zip(reply.tool_calls, decided, strict=True) if each["effect"] == "ask"]
    if asked:
        allowed = _allowed([_question(call, each) for call, each in asked])
        for _, each in asked:
            each["answer"] = "yes" if each["call"] in allowed else "no"
    if isinstance(runtime.store, QdrantStore) and not context.temporary:
        log_decisions(memory_of(runtime), context.agent, decided, thread_of(runtime))
    return {"decisions": [*state["decisions"], *decided]}


def call_key(reply: AIMessage, call: ToolCall) -> str:
    """The id of a call in a run; providers give the same one again in another reply."""
    return f"{reply.id}:{call['id']}"


def refusals(state: State, reply: AIMessage) -> dict[str, str]:
    """What to tell the model of the calls that are not made, by their keys."""
    mine = {call_key(reply, call) for call in reply.tool_calls}
    return {
        each["call"]: _told(each)
        for each in state["decisions"]
        if each["call"] in mine
        and each["rule"] != NO_SUCH_TOOL
        and (each["effect"] == "forbid" or each["answer"] == "no")
    }


def _told(decided: Decided) -> str:
    if decided["answer"] == "no" or decided["rule"] == SAID_NO:
        return f"{decided['tool']} was not called: the person said no. Do not try it again; go on without it, or say what you need."
    return f"{decided['tool']} was not called: the policy forbids it ({decided['rule']}). Go on without it."


def _policy(runtime: Runtime[Context]) -> ToolPolicy:
    """The agent's own and the caller's together."""
    given = runtime.context.tool_policy
    if not isinstance(runtime.store, QdrantStore):
        return given
    return tool_policy_of(runtime.store, runtime.context.agent).joined(given)


def _decided(
    reply: AIMessage,
    call: ToolCall,
    tools: Mapping[str, BaseTool],
    policy: ToolPolicy,
    outside: str,
    said_no: list[Any],
) -> Decided:
    decision = _decide(call, tools, policy, outside, said_no)
    return Decided(
        call=call_key(reply, call),
        tool=call["name"],
        effect=decision.effect,
        rule=decision.rule,
        outside=outside,
        answer="",
    )


def _decide(
    call: ToolCall, tools: Mapping[str, BaseTool], policy: ToolPolicy, outside: str, said_no: list[Any]
) -> Decision:
    tool = tools.get(call["name"])
    if tool is None:
        return Decision(effect="forbid", rule=NO_SUCH_TOOL)
    if (call["name"], call["args"]) in said_no:
        return Decision(effect="forbid", rule=SAID_NO)
    arguments = {**_defaults(tool), **call["args"]}
    return policy.decide(tool.name, arguments, has_effects=tool.name not in BUILT_IN, outside=outside)


def _question(call: ToolCall, decided: Decided) -> dict[str, Any]:
    """What a person is shown of a call that waits."""
    shown = {"id": decided["call"], "rule": decided["rule"], "outside": decided["outside"]}
    return {**shown, "tool": call["name"], "arguments": call["args"]}


def _defaults(tool: BaseTool) -> dict[str, Any]:
    """What the tool takes for arguments that are not given."""
    return {name: each["default"] for name, each in tool.args.items() if "default" in each}


def _said_no(state: State) -> list[Any]:
    """The calls of this run that a person has refused: names and arguments."""
    refused = {each["call"] for each in state["decisions"] if each["answer"] == "no"}
    replies = [message for message in state["messages"] if isinstance(message, AIMessage)]
    return [
        (call["name"], call["args"])
        for reply in replies
        for call in reply.tool_calls
        if call_key(reply, call) in refused
    ]


def _allowed(questions: list[dict[str, Any]]) -> set[str]:
    """The calls that a person allows. An answer that names only calls of an earlier question is not one to this: it waits again."""
    ids = {str(question["id"]) for question in questions}
    while True:
        answer = interrupt({"calls": questions})
        if isinstance(answer, list) and answer and not ids & set(map(str, answer)):
            continue
        if isinstance(answer, list):
            return ids & set(map(str, answer))
        is_yes = answer is True or (isinstance(answer, str) and answer.strip().casefold() == "yes")
        return ids if is_yes else set()
