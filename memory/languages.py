"""Which languages an agent's memories are in, so that the words of a query are counted as theirs are."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from qdrant_client import models

from memory.points import LANGUAGE


class Languages:
    """The languages, other than English, by agent: read once, with those that are written since. Threads may share it."""

    def __init__(self) -> None:
        self._of: defaultdict[str, set[str]] = defaultdict(set)
        self._read: set[str] = set()
        self._guard = threading.Lock()

    def note(self, points: Sequence[models.PointStruct]) -> None:
        """Before points are written, so that no search misses their language."""
        for point in points:
            payload = point.payload or {}
            if payload["tags"][-1].startswith(LANGUAGE):
                with self._guard:
                    self._of[payload["agent"]].add(payload["tags"][-1].removeprefix(LANGUAGE))

    def of(self, agent: str, read_tags: Callable[[], Iterable[str]], *, is_shared: bool) -> list[str]:
        """Those of an agent's memories; `is_shared`: other processes write to them too, so they are read each time."""
        if is_shared or agent not in self._read:
            read = {tag.removeprefix(LANGUAGE) for tag in read_tags() if tag.startswith(LANGUAGE)}
            with self._guard:
                self._of[agent] |= read
                self._read.add(agent)
        with self._guard:
            return sorted(self._of[agent])
