"""An embedded memory for all processes of a user on this machine: the first that opens it owns it, and serves the others.

They find the owner by a file beside the memory, and prove to each other that they have read its key. When the owner ends, however
it ends, one of the others takes its place; a request that it had not answered is sent again, and each is such that twice is once.
"""

import itertools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client as connect
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from memory.edge import EdgeClient, MemoryDamaged, MemoryInUse
from memory.wire import from_wire, to_wire

OWNER = "owner.json"
METHODS = frozenset(
    "begin end count scroll facet query_batch_points retrieve upsert update_vectors set_payload delete_payload delete flush "
    "rewrite create_payload_index delete_payload_index create_vector_name indexed_fields version".split()
)
ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (MemoryDamaged, RuntimeError, TypeError, ValueError)
}
TAKES_OVER_IN = 20.0  # seconds
GONE = (OSError, EOFError, AuthenticationError, AssertionError)
"""What a connection raises to an owner that has ended, or to somebody else; the last is multiprocessing's."""


class SharedEdge:
    """EdgeClient's methods, here or in the process that has the memory open. Threads may share it.

    Raises MemoryInUse if a process has the memory open that serves nobody, and what EdgeClient raises.
    """

    has_files = True
    """Whether its files are on this machine, and can be written anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._choosing = threading.RLock()
        self._asking = threading.Lock()
        self._numbers = itertools.count()
        self._held: set[str] = set()
        self._owned: _Owned | None = None
        self._owner: Connection[bytes, bytes] | None = None
        self._is_closed = False
        self._find_owner()

    @property
    def is_shared(self) -> bool:
        """Whether other processes have written to the memory since it was opened here."""
        return self._owned is None or self._owned.has_served

    @property
    def is_owner(self) -> bool:
        """Whether it is open in this process."""
        return self._owned is not None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """EdgeClient's method of that name, here or there."""
        if name not in METHODS:
            raise AttributeError(name)
        return partial(self._call, name)

    def begin(self, name: str) -> str:
        """As Turns has it, for all processes."""
        found = str(self._call("begin", name))
        if not found:
            self._held.add(name)
        return found

    def end(self, name: str) -> None:
        """As Turns has it."""
        self._held.discard(name)
        self._call("end", name)

    def close(self) -> None:
        """Let go of the memory, so that another process can own it; a second call does nothing."""
        with self._choosing:
            self._is_closed = True
            owned, owner = self._owned, self._owner
            self._owner = None
        if owner is not None:
            owner.close()
        if owned is not None:
            owned.close()

    # ---- asking --------------------------------------------------------------------------------------------------------

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        while True:
            owned, owner = self._owned, self._owner
            if owned is not None:
                return getattr(owned.client, name)(*arguments, **options)
            if self._is_closed:
                raise RuntimeError(f"The memory in {self._folder} is closed.")
            if owner is None:
                continue  # another thread has just become the owner
            try:
                return self._ask(owner, name, arguments, options)
            except GONE:
                self._find_owner(gone=owner)

    def _ask(self, owner: "Connection[bytes, bytes]", name: str, arguments: Any, options: Any) -> Any:
        sent = {option: to_wire(value) for option, value in options.items()}
        number = next(self._numbers)
        request = json.dumps({"number": number, "call": name, "arguments": to_wire(arguments), "options": sent})
        with self._asking:
            owner.send_bytes(request.encode())
            answer = json.loads(owner.recv_bytes())
            while answer["number"] != number:  # of a request whose thread was interrupted before it read it
                answer = json.loads(owner.recv_bytes())
        if "error" in answer:
            kind, message = answer["error"]
            raise ERRORS.get(kind, RuntimeError)(message)
        return from_wire(answer["result"])

    def _find_owner(self, gone: "Connection[bytes, bytes] | None" = None) -> None:
        """Become the owner, or find it; in the place of one that is gone, with what is held here held there too."""
        with self._choosing:
            if self._is_closed or self._owner is not gone:
                return  # another thread has found it
            until = time.monotonic() + TAKES_OVER_IN
            while True:
                try:
                    self._owned, self._owner = _Owned(self._folder), None
                    break
                except MemoryInUse:
                    if self._connected():
                        break
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.05)
            for name in list(self._held):
                if self._call("begin", name):
                    raise RuntimeError(
                        f"Another process has begun {name} when the owner of the memory had ended: try again."
                    )

    def _connected(self) -> bool:
        """Whether the owner has answered: its file is believed only if its number stands in the memory's lock, for the port of one
        that was killed may be anybody's.
        """
        try:
            told = json.loads((self._folder / OWNER).read_text())
            if (self._folder / "lock").read_text().strip() != str(told["process"]):
                return False
            self._owner = _prompt(connect(("127.0.0.1", told["port"]), authkey=bytes.fromhex(told["key"])))
        except (*GONE, ValueError):
            return False
        return True


class _Owned:
    """The memory, open in this process, and the server of the others."""

    def __init__(self, folder: Path) -> None:
        self.client = EdgeClient(folder)
        self.has_served = False
        self._file = folder / OWNER
        self._key = secrets.token_bytes(32)
        self._listener = Listener(("127.0.0.1", 0), backlog=64)
        self._open = True
        self._connections: set[Connection[bytes, bytes]] = set()
        told = {"port": self._listener.address[1], "key": self._key.hex(), "process": os.getpid()}
        self._file.unlink(missing_ok=True)
        with os.fdopen(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(told, file)
        threading.Thread(target=self._accept, daemon=True, name="memory owner").start()

    def close(self) -> None:
        """Send the others away, then close the memory: whoever is first has it next."""
        if not self._open:
            return
        self._open = False
        self._file.unlink(missing_ok=True)
        with suppress(OSError):
            connect(self._listener.address).close()  # nothing else wakes what waits for a connection
        self._listener.close()
        for connection in list(self._connections):
            _hang_up(connection)
        self.client.close()

    def _accept(self) -> None:
        while self._open:
            try:
                connection = self._listener.accept()
            except OSError:  # closed, or no more files can be opened just now
                time.sleep(0.05)
                continue
            if self._open:
                threading.Thread(target=self._serve, args=(connection,), daemon=True, name="memory client").start()

    def _serve(self, connection: "Connection[bytes, bytes]") -> None:
        holder = secrets.token_hex(8)
        self.has_served = True  # before the other can have written anything
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            self._connections.add(_prompt(connection))
            while self._open:
                request = json.loads(connection.recv_bytes())
                answer = {"number": request["number"], **self._answer(request, holder)}
                connection.send_bytes(json.dumps(answer).encode())
        except GONE:
            pass  # it has ended, or does not know the key
        finally:
            self._connections.discard(connection)
            self.client.end_all_of(holder)
            connection.close()

    def _answer(self, request: dict[str, Any], holder: str) -> dict[str, Any]:
        name, arguments = request["call"], from_wire(request["arguments"])
        options = {option: from_wire(value) for option, value in request["options"].items()}
        if name not in METHODS:
            return {"error": ["ValueError", f"A memory has no method {name!r}."]}
        if name == "begin":
            options["holder"] = holder
        try:
            return {"result": to_wire(getattr(self.client, name)(*arguments, **options))}
        except BaseException as error:  # Edge's panics are no Exceptions; the one who asked is told
            return {"error": [type(error).__name__, str(error)]}


def _prompt(connection: "Connection[bytes, bytes]") -> "Connection[bytes, bytes]":
    """The connection, which sends small parts at once."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _hang_up(connection: "Connection[bytes, bytes]") -> None:
    """End a connection on which a thread is waiting: closing alone would not wake it."""
    with suppress(OSError), socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.shutdown(socket.SHUT_RDWR)
