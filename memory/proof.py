"""Proof that what leaves the window is found again: each message by its own text, by the index that the agent's search uses."""

from collections.abc import Iterable

from qdrant_client import models

from memory.conditions import inside
from memory.edge import MemoryDamaged
from memory.points import COLLECTION, point_id
from memory.recall import Message, Recall
from text import folded


def restored(recall: Recall, messages: Iterable[Message]) -> list[str]:
    """Write those anew that are not found by their text; returns their keys.

    Raises MemoryDamaged if one is not found even then: it must stay in the window.
    """
    lost = [message for message in messages if not is_found(recall, message)]
    for message in lost:
        recall.replace(message)
    if still := [message.key for message in lost if not is_found(recall, message)]:
        raise MemoryDamaged(
            f"Recall storage does not find {len(still)} of the messages that should leave the window, {still[0]} first. They stay "
            "there; restore the folder `memory` from a backup, or begin a new conversation."
        )
    return [message.key for message in lost]


def is_found(recall: Recall, message: Message) -> bool:
    """Whether the search for a message's own text finds it."""
    text = folded(message.text)
    if not text:
        return True
    itself = models.HasIdCondition(has_id=[point_id(recall.namespace, message.key)])
    has_text = models.FieldCondition(key="folded", match=models.MatchSubstring(substring=text))
    where = inside(recall.namespace, itself, has_text)
    return recall.store.client.count(COLLECTION, count_filter=where).count == 1
