"""Who is at what: one run at a time in a thread, and some things only while there is none; for all who share a memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

ALL = "*"
"""Stands for every thread while something is forgotten, or an agent carried in or out."""
LOCK = "lock "
"""Begins the name of what is held for a moment, beside runs and ALL."""
WAITS = 60.0  # seconds for a lock


class ThreadBusy(RuntimeError):
    """The thread has a run under way."""


class Turns:
    """Names that are held, each by one. Threads may share it."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._holding = threading.Lock()

    def begin(self, name: str, holder: str = "") -> str:
        """Hold a name; returns what is in the way, or nothing if it is held now."""
        with self._holding:
            runs = [held for held in self._held if not held.startswith(LOCK)]
            rivals = [name] if name.startswith(LOCK) else runs if name == ALL else [ALL, name]
            found = next((rival for rival in rivals if rival in self._held), "")
            if not found:
                self._held[name] = holder
            return found

    def end(self, name: str) -> None:
        """Let it go; what is not held stays so."""
        with self._holding:
            self._held.pop(name, None)

    def end_all_of(self, holder: str) -> None:
        """Let go what one has held that is gone."""
        with self._holding:
            self._held = {name: each for name, each in self._held.items() if each != holder}


class Holds(Protocol):
    """A client that all who share its memory ask."""

    def begin(self, name: str) -> str: ...
    def end(self, name: str) -> None: ...


@contextmanager
def locked(client: Holds, name: str) -> Iterator[None]:
    """Hold a lock, waiting for it. Raises ThreadBusy if another does not let it go."""
    until = time.monotonic() + WAITS
    while client.begin(LOCK + name):
        if time.monotonic() > until:
            raise ThreadBusy(
                f"Another process has been at {name} for {WAITS:.0f} seconds: wait for its end, or stop it."
            )
        time.sleep(0.01)
    try:
        yield
    finally:
        client.end(LOCK + name)
