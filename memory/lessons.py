"""Lessons (Reflexion, Shinn et al. 2023, §3): what an agent learnt from its trials, found again for similar tasks.

A lesson is found by its task's text, by words and meaning. One that did not help with a task like its own sinks.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from memory.points import PASSAGE, Memory
from memory.recall import Trust
from memory.store import QdrantStore

CANDIDATES = 20
MOST_OF_A_TASK = 5
SAME_TASK_COSINE = 0.92
"""Only a task at least this similar to the lesson's own task counts for or against the lesson."""
MOST_OUTCOMES = 50

Outcome = Literal["failed", "passed", "error"]


@dataclass(frozen=True)
class Lesson:
    """One lesson, as it is kept."""

    key: str
    text: str
    task: str
    """The task in which it was learnt, word for word."""
    outcome: Outcome
    """Of the trial that it was drawn from."""
    source: str
    """That trial: thread and number."""
    thread: str = ""
    """The conversation in which it was learnt, or the run."""
    helped: int = 0
    """In how many later runs of tasks like its own it was used, and the run succeeded at once."""
    failed: int = 0
    trust: Trust = "own"
    """`outside` if the trial had read text from outside: then so may the lesson be."""

    @property
    def worth(self) -> float:
        """Share of uses in which it helped, by Laplace's rule: 0.5 when it was never used."""
        return (self.helped + 1) / (self.helped + self.failed + 2)


class Lessons:
    """The lessons of one agent; no other's are ever seen."""

    def __init__(self, store: QdrantStore, agent: str) -> None:
        self.store = store
        self.namespace = (agent, "lesson")

    def keep(self, lesson: Lesson) -> None:
        """Keep a lesson; one of the same key is replaced, and of many of the same task the least worthy goes.

        Raises ValueError if it or its task is empty.
        """
        if not lesson.text.strip() or not lesson.task.strip():
            raise ValueError("A lesson needs a text and the task that it comes from.")
        before = self.store.get(self.namespace, lesson.key)
        outcomes: dict[str, bool] = json.loads(before.value["outcomes"]) if before else {}
        self._write(lesson, outcomes)
        same = [kept for kept in self._containing(lesson.task) if kept.task == lesson.task and kept.key != lesson.key]
        for least in sorted(same, key=lambda kept: kept.worth)[: max(0, len(same) + 1 - MOST_OF_A_TASK)]:
            self.forget(least.key)  # the new one has had no chance yet

    def recall(self, task: str, most: int = 3) -> list[Lesson]:
        """The lessons of the most similar tasks, best first: similarity, times 0.5 to 1.5 by `Lesson.worth`."""
        found = self.store.search(self.namespace, query=task, limit=CANDIDATES)
        lessons = [(item.score or 0.0, _lesson(item.key, item.value)) for item in found]
        lessons.sort(key=lambda scored: -scored[0] * (0.5 + scored[1].worth))  # stable: the nearer first
        return [lesson for _, lesson in lessons[:most]]

    def credit(self, key: str, task: str, run: str, helped: bool) -> None:
        """Note whether the lesson helped with `task` in `run`, if that is a task like its own. A run counts once."""
        item = self.store.get(self.namespace, key)
        if item is None:
            return  # deleted since
        value = item.value
        ours, its = self.store.embedder.embed([task[:PASSAGE], value["text"][:PASSAGE]])
        if float(ours @ its) < SAME_TASK_COSINE:
            return
        outcomes = {**json.loads(value["outcomes"]), run: helped}
        kept = dict(list(outcomes.items())[-MOST_OUTCOMES:])
        self.store.amend(self.namespace, key, {"outcomes": json.dumps(kept)})  # it stays as old as it is

    def all(self, most: int = 200) -> list[Lesson]:
        """The newest lessons first."""
        page = self.store.find(self.namespace, page_size=most, newest_first=True)
        return [_lesson(item.key, item.value) for item in page.items]

    def _containing(self, task: str) -> list[Lesson]:
        page = self.store.find(self.namespace, task[:PASSAGE], page_size=200)
        return [_lesson(item.key, item.value) for item in page.items]

    def forget(self, key: str) -> None:
        """Delete a lesson."""
        self.store.delete(self.namespace, key)

    def _write(self, lesson: Lesson, outcomes: dict[str, bool]) -> None:
        now = datetime.now(UTC)
        value: dict[str, Any] = {
            "text": lesson.task, "lesson": lesson.text, "outcome": lesson.outcome, "source": lesson.source,
            "outcomes": json.dumps(outcomes), "author": self.namespace[0], "trust": lesson.trust, "time": now.isoformat(),
            "thread": lesson.thread,
        }  # fmt: skip
        self.store.write(
            self.namespace, [Memory(lesson.key, value, terms=lesson.task, passage=lesson.task[:PASSAGE], time=now)]
        )


def _lesson(key: str, value: dict[str, Any]) -> Lesson:
    outcomes: dict[str, bool] = json.loads(value["outcomes"])
    helped = sum(outcomes.values())
    return Lesson(
        key, value["lesson"], value["text"], value["outcome"], value["source"], value.get("thread", ""), helped,
        len(outcomes) - helped, value.get("trust", "own"),
    )  # fmt: skip
