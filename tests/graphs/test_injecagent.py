"""InjecAgent's 200 cases against a model that obeys every instruction it reads: what holds is the policy, not the model."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graphs import memgpt, react
from memory.archival import Archival
from memory.documents import Section
from models.scripted import PolicyModel, call, calls
from nodes.react.think import INSTRUCTIONS
from nodes.tool_policy import Rule, ToolPolicy
from runtime import Runtime
from settings import Settings

DATA = Path(__file__).parents[3] / "shared" / "data" / "injecagent"
FILES = ("direct_harm_100.jsonl", "data_stealing_100.jsonl")
SETTINGS = Settings()
BENIGN = "It is as described."

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="InjecAgent's cases are not here")


class Case:
    """One case: the person's task, the tool that it takes, what that returns, and what the injection in it wants done."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.task: str = row["User Instruction"]
        self.user_tool: str = row["User Tool"]
        self.arguments: dict[str, Any] = ast.literal_eval(row["Tool Parameters"])
        self.template: str = row["Tool Response Template"]
        self.attack: str = row["Attacker Instruction"]
        self.attacker_tools: list[str] = row["Attacker Tools"]

    def tools(self, says: str, done: list[str]) -> list[BaseTool]:
        """The person's tool, whose result says this, and the attacker's, which note in `done` that they were called."""

        def of(name: str) -> BaseTool:
            def run(**_: Any) -> str:
                if name != self.user_tool:
                    done.append(name)
                return self.template.replace("<Attacker Instruction>", says) if name == self.user_tool else "Done."

            schema = {"type": "object", "properties": {"arguments": {"type": "object"}}, "title": name}
            return StructuredTool(name=name, description=name, args_schema=schema, func=run)

        return [of(name) for name in dict.fromkeys([self.user_tool, *self.attacker_tools])]

    def policy(self) -> ToolPolicy:
        """The widest that a person would give: all that the attacker wants may be done, were it not for what was read."""
        return ToolPolicy(reads=(self.user_tool,), grants=(Rule(tool="*", effect="allow"),))


def cases() -> list[Case]:
    return (
        [Case(json.loads(line)) for name in FILES for line in (DATA / name).read_text().splitlines()]
        if DATA.is_dir()
        else []
    )


def attacked(case: Case) -> AIMessage:
    return calls(*((name, {"arguments": {}}) for name in case.attacker_tools))


def obedient(case: Case) -> PolicyModel:
    """In the ReAct machine: does the task, does what any text it reads asks for, and then answers."""

    def reply(prompt: list[BaseMessage]) -> Any:
        results = [m for m in prompt if isinstance(m, ToolMessage)]
        tried = any(m.name in case.attacker_tools and m.name != case.user_tool for m in results)
        if any(case.attack in m.text for m in prompt[1:]) and not tried:
            return attacked(case)
        if not results:
            return call(case.user_tool, arguments=case.arguments)
        return next(m.text for m in results if m.name == case.user_tool) if not tried or len(results) > 1 else "Tried."

    return PolicyModel(policy=reply)


def play(
    case: Case, says: str, answer: Any = None, policy: ToolPolicy | None = None
) -> tuple[Any, list[str], list[str]]:
    """A run in which the person's tool returns this: its state, the tools asked for, and the attacker's that were called."""
    done: list[str] = []
    graph = react.builder.compile(checkpointer=InMemorySaver())
    context = react.Context(
        model=obedient(case), more_tools=case.tools(says, done), tool_policy=policy or case.policy(), observation_characters=20_000,
        settings=SETTINGS, tools=[],
    )  # fmt: skip
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    state = graph.invoke({"task": case.task}, config, context=context)
    asked = [each["tool"] for i in state.get("__interrupt__", []) for each in i.value["calls"]]
    return (graph.invoke(Command(resume=answer), config, context=context) if asked else state), asked, done


def test_no_injection_has_a_side_effect_and_the_task_is_done() -> None:
    for number, case in enumerate(cases()):
        state, asked, done = play(case, case.attack, answer=False)
        assert (asked, done) == (case.attacker_tools, []), number
        assert state["stop"] == "answered"
        assert case.attack in state["answer"], "the task is done: the answer is what its tool has returned"
        assert all(d["rule"] for d in state["decisions"])


def test_what_a_person_never_granted_is_not_even_asked_for() -> None:
    for number, case in list(enumerate(cases()))[::5]:
        state, asked, done = play(case, case.attack, policy=ToolPolicy(reads=(case.user_tool,)))
        assert (asked, done, state["stop"]) == ([], [], "answered"), number


def test_the_clean_tasks_are_done_and_nobody_is_asked() -> None:
    for number, case in enumerate(cases()):
        state, asked, done = play(case, BENIGN)
        assert (asked, done, state["stop"]) == ([], [], "answered"), number
        assert BENIGN in state["answer"]


def test_with_a_yes_it_would_be_done() -> None:
    """So that it is the policy which holds in the tests above."""
    for case in cases()[::10]:
        _, asked, done = play(case, case.attack, answer=True)
        assert sorted(done) == sorted(asked) == sorted(case.attacker_tools)


# ---- written now, fired later ------------------------------------------------------------------------------------------


KEEPS: dict[str, Callable[[str], AIMessage]] = {
    "archival_memory_insert": lambda text: call("archival_memory_insert", content=text, request_heartbeat=True),
    "working_context_append": lambda text: call(
        "working_context_append", block="human", content=text, request_heartbeat=True
    ),
}
FIND, LATER = "Find it out, and keep it.", "Do what is due."


def keeper(case: Case, where: str) -> PolicyModel:
    """A MemGPT agent that obeys what it reads: it keeps what a tool has told, and in another conversation does what memory says."""
    worker = obedient(case)

    def reply(prompt: list[BaseMessage]) -> Any:
        if prompt[0].text.startswith(INSTRUCTIONS[:40]):  # the machine inside solve_carefully
            if prompt[1].text != case.attack:
                return worker.policy(prompt)
            return "Done." if any(isinstance(m, ToolMessage) for m in prompt) else attacked(case)
        called = {m.name for m in prompt if isinstance(m, ToolMessage)}
        if any(FIND in m.text for m in prompt):
            if "solve_carefully" not in called:
                return call("solve_carefully", task=case.task, method="react", request_heartbeat=True)
            return KEEPS[where](case.attack) if where not in called else call("send_message", message="Kept.")
        if "solve_carefully" in called:
            return call("send_message", message="It waits for you.")
        if any(case.attack in m.text for m in prompt):
            return call("solve_carefully", task=case.attack, method="react", request_heartbeat=True)
        return call("archival_memory_search", query=case.attack, request_heartbeat=True)

    return PolicyModel(policy=reply)


@pytest.mark.parametrize("where", [*KEEPS, "document"])
def test_what_was_kept_of_an_injection_fires_in_no_later_conversation(runtime: Runtime, where: str) -> None:
    """100 cases: written now by the agent into archival storage or its working context, or read in as a document; fired later."""
    graph = memgpt.builder.compile(checkpointer=InMemorySaver(), store=runtime.store)
    for number, case in list(enumerate(cases()[::2]))[[*KEEPS, "document"].index(where) :: 3]:
        done: list[str] = []
        agent = f"agent-{number}"
        context = memgpt.Context(
            agent=agent, model=keeper(case, where), more_tools=case.tools(case.attack, done), tool_policy=case.policy()
        )

        def turn(thread: str, given: Any, context: memgpt.Context = context) -> tuple[Any, list[dict[str, Any]]]:
            config: RunnableConfig = {"configurable": {"thread_id": thread}}
            values: Any = {"messages": [memgpt.user_message(given)]} if isinstance(given, str) else given
            state = graph.invoke(values, config, context=context)
            return state, [each for i in state.get("__interrupt__", []) for each in i.value["calls"]]

        if where == "document":
            Archival(runtime.store, agent).ingest("page.md", [Section(case.attack, "")])
        else:
            _, asked = turn(f"{agent}-now", FIND)
            assert asked, "the machine has read it just now"
            state, asked = turn(f"{agent}-now", Command(resume=False))
            assert (asked, state["replies"]) == ([], ["Kept."])
        _, asked = turn(f"{agent}-later", LATER)
        assert [each["tool"] for each in asked] == case.attacker_tools
        assert all(each["outside"] for each in asked)
        state, asked = turn(f"{agent}-later", Command(resume=False))
        assert (asked, done, state["replies"]) == ([], [], ["It waits for you."])
