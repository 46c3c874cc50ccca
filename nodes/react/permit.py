"""permit and ask: which calls of the last thought are made, by the tool policy; what it asks for waits for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from memory.store import QdrantStore
from nodes.react.state import Context, State
from nodes.react.tools import all_tools, built_in_tools
from nodes.replies import check_reach, memory_of, thread_of
from nodes.tool_decisions import Decided, log_decisions, tool_policy_of
from nodes.tool_policy import STRICTNESS, Decision, ToolPolicy

SAID_NO = "a person has said no to this call"
NO_SUCH_TOOL = "there is no such tool"
NARROWED = "the policy was narrowed before it was made"


@dataclass(frozen=True)
class Judge:
    """Decides on the calls of a step."""

    policy: ToolPolicy
    """The agent's own and the caller's together."""
    tools: Mapping[str, BaseTool]
    built_in: tuple[str, ...]
    """Those of the tools that are ours: they have no side effects."""
    outside: str
    said_no: list[Any]

    @classmethod
    def of(cls, state: State, runtime: Runtime[Context]) -> "Judge":
        """As it stands now."""
        context, policy = runtime.context, runtime.context.tool_policy
        if isinstance(runtime.store, QdrantStore):
            policy = tool_policy_of(runtime.store, context.agent).joined(policy)
        tools = {tool.name: tool for tool in all_tools(built_in_tools(state, runtime), runtime)}
        return cls(policy, tools, tuple(context.tools), state["outside"], _said_no(state))

    def decide(self, call: ToolCall) -> Decision:
        """What holds for a call."""
        tool = self.tools.get(call["name"])
        if tool is None:
            return Decision(effect="forbid", rule=NO_SUCH_TOOL)
        if (call["name"], call["args"]) in self.said_no:
            return Decision(effect="forbid", rule=SAID_NO)
        arguments = {**_defaults(tool), **call["args"]}
        return self.policy.decide(
            tool.name, arguments, has_effects=tool.name not in self.built_in, outside=self.outside
        )

    def narrowed(self, state: State, reply: AIMessage) -> list[Decided]:
        """What was decided on the calls of a reply, but that one is forbidden for which the policy is stricter by now."""
        decided = {each["call"]: each for each in state["decisions"]}
        now: list[Decided] = []
        for call in reply.tool_calls:
            each = decided[call_key(reply, call)]
            is_stricter = STRICTNESS[self.decide(call).effect] > STRICTNESS[each["effect"]]
            now.append(
                {**each, "effect": "forbid", "rule": NARROWED} if is_stricter and each["answer"] != "no" else each
            )
        return now

    def refusals(self, decided: list[Decided]) -> dict[str, str]:
        """What to tell the model of the calls that are not made, by their keys."""
        refused = (each for each in decided if each["effect"] == "forbid" or each["answer"] == "no")
        return {each["call"]: self._told(each["tool"], each["rule"], each["answer"]) for each in refused}

    def _told(self, tool: str, rule: str, answer: str) -> str:
        if rule == NO_SUCH_TOOL:
            return f"There is no tool {tool[:60]!r}. The tools are: {', '.join(self.tools) or 'none'}."
        if answer == "no" or rule == SAID_NO:
            return f"{tool} was not called: the person said no. Do not try it again; go on without it, or say what you need."
        return f"{tool} was not called: the policy forbids it ({rule}). Go on without it."


def permit(state: State, runtime: Runtime[Context]) -> State:
    """Every call gets one decision. Raises ModelFailed in a private conversation, of which other programs are to see nothing."""
    check_reach(runtime)
    reply, judge = last_reply(state), Judge.of(state, runtime)
    decided: list[Decided] = []
    for call in reply.tool_calls:
        found, key = judge.decide(call), call_key(reply, call)
        decided.append(
            {
                "call": key,
                "tool": call["name"],
                "effect": found.effect,
                "rule": found.rule,
                "outside": judge.outside,
                "answer": "",
            }
        )
    log_in_memory([each for each in decided if each["effect"] != "ask"], runtime)
    return {"decisions": [*state["decisions"], *decided]}


def after_permit(state: State) -> Literal["ask", "act"]:
    """To the person, if there is something to ask."""
    return "ask" if any(_waits(each) for each in state["decisions"]) else "act"


def ask(state: State, runtime: Runtime[Context]) -> State:
    """Wait for a person's yes to the calls that are asked for: go on with `Command(resume=True)`, which allows all of them, with a
    list of the ids of some in the question, or with anything else for none.
    """
    reply = last_reply(state)
    waiting = {each["call"]: each for each in state["decisions"] if _waits(each)}
    calls = {call_key(reply, call): call for call in reply.tool_calls}
    allowed = _allowed([_question(calls[key], each) for key, each in waiting.items()])
    answered: list[Decided] = [{**each, "answer": "yes" if key in allowed else "no"} for key, each in waiting.items()]
    log_in_memory(answered, runtime)
    return {"decisions": with_decisions(state, answered)}


def with_decisions(state: State, changed: list[Decided]) -> list[Decided]:
    """The decisions of the run, some of them anew."""
    by_key = {each["call"]: each for each in changed}
    return [by_key.get(each["call"], each) for each in state["decisions"]]


def last_reply(state: State) -> AIMessage:
    """The thought whose calls are at hand. Raises TypeError if there is none."""
    reply = state["messages"][-1]
    if not isinstance(reply, AIMessage):
        raise TypeError(f"Calls are made after a thought, not after a {reply.type} message.")
    return reply


def call_key(reply: AIMessage, call: ToolCall) -> str:
    """The id of a call in a run; providers give the same one again in another reply."""
    return f"{reply.id}:{call['id']}"


def _waits(decided: Decided) -> bool:
    return decided["effect"] == "ask" and not decided["answer"]


def log_in_memory(decided: list[Decided], runtime: Runtime[Context]) -> None:
    """Note what was decided in the agent's memory, if the run has one."""
    if isinstance(runtime.store, QdrantStore) and not runtime.context.temporary:
        log_decisions(memory_of(runtime), runtime.context.agent, decided, thread_of(runtime))


def _question(call: ToolCall, decided: Decided) -> dict[str, Any]:
    """What a person is shown of a call that waits."""
    shown = {"id": decided["call"], "rule": decided["rule"], "outside": decided["outside"]}
    return {**shown, "tool": call["name"], "arguments": call["args"]}


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


def _defaults(tool: BaseTool) -> dict[str, Any]:
    """What the tool takes for arguments that are not given, as far as its schema says."""
    schema = tool.args_schema
    properties = schema.get("properties", {}) if isinstance(schema, dict) else tool.args
    return {name: each["default"] for name, each in properties.items() if isinstance(each, dict) and "default" in each}


def _said_no(state: State) -> list[Any]:
    """The calls of this run that a person has refused: names and arguments."""
    refused = {each["call"] for each in state["decisions"] if each["answer"] == "no"}
    replies = [message for message in state["messages"] if isinstance(message, AIMessage)]
    calls = ((call_key(reply, call), call) for reply in replies for call in reply.tool_calls)
    return [(call["name"], call["args"]) for key, call in calls if key in refused]
