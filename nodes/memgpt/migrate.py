"""Brings the state of an older version to this one. Nothing is taken out of the queue on the way."""

from langchain_core.messages import AnyMessage

from memory.recall import Recall
from nodes.context import STATE_VERSION
from nodes.memgpt.event import is_event
from nodes.memgpt.log import NEW_CLOCK
from nodes.memgpt.state import State


def migrate(state: State, recall: Recall) -> State:
    """The state in this version's form. Raises ValueError if a later version wrote it.

    Versions before 2 had no number, and the first of them did not note which messages are the queue's: there, the queue ends
    where the new events begin.
    """
    version = state.get("version", 1 if "turn" in state else STATE_VERSION)
    if version > STATE_VERSION:
        raise ValueError(
            f"This conversation was written by a later version of Palimpsest (form {version}, here {STATE_VERSION}): update it, or "
            "begin a new conversation; what was said is in recall storage."
        )
    if version == STATE_VERSION:
        return state
    messages = state.get("messages", [])
    queue = messages[: len(messages) - len(unreceived(messages))]
    last = max((m.additional_kwargs["event"]["sequence"] for m in queue if is_event(m)), default=0)
    # Behind everything that is on record, and no neighbour of it.
    newest = recall.store.find(recall.namespace, page_size=1, newest_first=True).items
    sequence = max([last, *(int(item.value["sequence"]) for item in newest)])
    return {
        **state,
        "queue_ids": [str(m.id) for m in queue],
        "clock": {**NEW_CLOCK, "sequence": sequence, "position": recall.count() + 1},
    }


def unreceived(messages: list[AnyMessage]) -> list[AnyMessage]:
    """The messages at the end that are no events of the queue yet."""
    end = len(messages)
    while end and messages[end - 1].type in ("human", "system") and not is_event(messages[end - 1]):
        end -= 1
    return messages[end:]
