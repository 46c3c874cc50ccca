"""The tool policy that an agent has in its memory, and the log of what was decided by it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import PutOp
from typing_extensions import TypedDict

from memory.store import QdrantStore
from nodes.tool_policy import Effect, ToolPolicy

POLICY, DECISION = "tool_policy", "tool_decision"
"""The namespaces of an agent's policy and of its log."""
KEY = "in force"


class Decided(TypedDict):
    """What was decided on one call. What the call says is not here: that stands in the run, where it is forgotten with it."""

    call: str
    """Ids of the reply and of the call in it."""
    tool: str
    effect: Effect
    rule: str
    outside: str
    """What had been read from outside before; empty for nothing."""
    answer: str
    """Of the person who was asked: yes or no; empty where nobody was."""


def tool_policy_of(store: QdrantStore, agent: str) -> ToolPolicy:
    """The agent's policy; the empty one for an agent that has none."""
    kept = store.get((agent, POLICY), KEY)
    return ToolPolicy.model_validate_json(str(kept.value["policy"])) if kept else ToolPolicy()


def set_tool_policy(store: QdrantStore, agent: str, policy: ToolPolicy, by: str = "") -> None:
    """Give the agent this policy, and note it in the log. Raises ValueError for one that widens, unless a person wants it.

    `by`: that person; empty where a program does it.
    """
    before = tool_policy_of(store, agent)
    if policy == before:
        return
    narrows = policy.narrows(before)
    if not (narrows or by.strip()):
        raise ValueError(
            "That policy would allow calls which the one in force does not. Only a person may widen it: say who, with `by`."
        )
    now, text = datetime.now(UTC).isoformat(), policy.model_dump_json()
    change = {"policy": text, "change": "narrowed" if narrows else "widened", "by": by, "time": now, "thread": ""}
    store.batch(
        [
            PutOp((agent, POLICY), KEY, {"policy": text}, index=False),
            PutOp((agent, DECISION), f"policy:{now}", change, index=False),
        ]
    )
    store.flush()


def log_decisions(store: QdrantStore, agent: str, decided: Sequence[Decided], thread: str) -> None:
    """Note what was decided; what is there already, as after a crash, is written over with the same."""
    now = datetime.now(UTC).isoformat()
    store.batch(
        [
            PutOp((agent, DECISION), each["call"], {**each, "thread": thread, "time": now}, index=False)
            for each in decided
        ]
    )


def read_log(store: QdrantStore, agent: str, most: int = 100) -> list[dict[str, Any]]:
    """The last decisions and changes of the policy, newest first: Decided with thread and time, or policy, change, by and time."""
    return [dict(item.value) for item in store.find((agent, DECISION), page_size=most, newest_first=True).items]
