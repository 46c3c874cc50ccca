"""The prompt as it is sent keeps every rule of roles that servers are known to have, whatever the conversation was like."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from models.protocol import rendered
from models.roles import to_wire
from models.scripted import calls
from nodes.memgpt.tools import TOOL_SCHEMAS

Exchange = list[BaseMessage]


def acted(number: int, results: int) -> Exchange:
    made = calls(*[("send_message", {"message": "x"})] * results, ids=[f"c{number}-{n}" for n in range(results)])
    return [made, *(ToolMessage("OK", tool_call_id=str(c["id"]), name="send_message") for c in made.tool_calls)]


EXCHANGES = st.lists(
    st.one_of(
        st.just("person"), st.just("thought"), st.just("empty"), st.integers(1, 3),
    ),
    max_size=12,
)  # fmt: skip


def conversation(parts: list[Any]) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage("Instructions")]
    for number, part in enumerate(parts):
        if part == "person":
            messages.append(HumanMessage(f"said {number}"))
        elif part in ("thought", "empty"):
            messages.append(AIMessage("hm" if part == "thought" else ""))
        else:
            messages += acted(number, part)
    return messages


def check_rules(wire: list[dict[str, Any]]) -> None:
    roles = [m["role"] for m in wire]
    assert roles[0] == "system"
    assert roles.count("system") == 1, "no second system message"
    assert roles[1] == "user", "Gemini: a person first"
    for before, after in itertools.pairwise(roles):
        assert (before, after) != ("user", "user"), "strict templates: in turn"
        assert (before, after) != ("tool", "user"), "Mistral: no person after a tool"
        if after == "tool":
            assert before in ("assistant", "tool")
        if (before, after) == ("assistant", "assistant"):
            raise AssertionError("strict templates: in turn")
    open_ids: list[str] = []
    for message in wire:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_ids.pop(0), "results in the calls' order, each once"
            assert len(message["tool_call_id"]) == 9, "Mistral: nine letters and digits"
        else:
            assert not open_ids
            open_ids = [c["id"] for c in message.get("tool_calls", [])]
        assert message["content"] or message.get("tool_calls"), "no empty message"


@given(EXCHANGES)
def test_every_rule_holds_in_every_conversation(parts: list[Any]) -> None:
    messages = conversation(parts)
    check_rules(to_wire(messages))
    folded = to_wire(messages, fold_system=True)
    assert all(m["role"] != "system" for m in folded), "Gemma: no system role"
    assert str(folded[0]["content"]).startswith("Instructions")


@given(EXCHANGES)
def test_without_the_servers_own_tools_there_are_two_roles_in_turn(parts: list[Any]) -> None:
    for protocol in ("schema", "text"):
        plain, options = rendered(conversation(parts), TOOL_SCHEMAS, protocol)
        wire = to_wire(plain)
        roles = [m["role"] for m in wire]
        assert roles[0] == "system"
        assert all(role == ("user", "assistant")[n % 2] for n, role in enumerate(roles[1:]))
        assert ("response_format" in options) is (protocol == "schema")


@given(EXCHANGES, EXCHANGES)
def test_what_was_sent_stays_the_beginning_of_what_is_sent_next(parts: list[Any], more: list[Any]) -> None:
    """Up to the last message, which another of its role may join; two that are joined begin with the first."""
    first, then = to_wire(conversation(parts)), to_wire(conversation([*parts, *more]))
    if not parts:
        return
    assert then[: len(first) - 1] == first[:-1]
    assert str(then[len(first) - 1]["content"] or "").startswith(str(first[-1]["content"] or ""))
