"""The two native back ends of Linux: a pre-forked worker under Landlock, seccomp and limits, with or without bubblewrap."""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any, Literal

from sandbox.lockdown import SMALLEST_LANDLOCK, landlock_version
from sandbox.thread_limit import ThreadGate
from sandbox.wire import Bounds, Ending, read_frame, receive_descriptor, receive_ending, send_request, write_frame

HERE = Path(__file__).resolve().parent
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
OTHER_PACKAGES = "-packages"  # how folders beside the standard library end in which other packages lie
SETUP_SECONDS = 30.0
HEAD_START = 0.01  # seconds in which most programs end: until then nobody is woken for each of their lines
ENVIRONMENT = {
    "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8",
    "LD_BIND_NOW": "1",  # else each child looks up anew what it calls in libraries
}  # fmt: skip

Backend = Literal["bubblewrap", "landlock", "wasm"]


class WorkerDied(RuntimeError):
    """A worker ended or did not answer: a fault of the machine, never a verdict on a program."""


class CannotRun(RuntimeError):
    """The machine does not have what a back end needs; the message says what."""


class Worker:
    """A process that runs programs one at a time; it ends when its socket closes."""

    def __init__(self, command: list[str], setup: dict[str, Any], *, asks: bool) -> None:
        """`command` gets the number of its end of the socket; `asks`: whether it asks before threads are started."""
        self._socket, theirs = _pair()
        self._opener = os.getpid()
        self._said: str | None = None
        self._busy = threading.RLock()
        self.process = subprocess.Popen(
            [*command, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=ENVIRONMENT, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._told = select.poll()
        self._told.register(self._socket, select.POLLIN)
        self._gate: ThreadGate | None = None
        listener = self._set_up(setup, asks)
        if listener is not None:
            self._gate = ThreadGate(listener)
            self._told.register(listener, select.POLLIN)

    def _set_up(self, setup: dict[str, Any], asks: bool) -> int | None:
        """Where the kernel asks. Raises WorkerDied."""
        try:
            self._socket.settimeout(SETUP_SECONDS)
            write_frame(self._socket, setup)
            answer = read_frame(self._socket)
            listener = receive_descriptor(self._socket) if asks and answer is not None else None
        except (OSError, ValueError) as error:
            raise WorkerDied(f"The sandbox's worker did not answer: {error}. {self.close()}") from error
        if answer is None:
            raise WorkerDied(f"The sandbox's worker ended: {self.close() or 'it said nothing'}")
        return listener

    def run(self, bounds: Bounds, program: bytes, most_bytes: int) -> tuple[Ending, bytes]:
        """Run one packed program: how it ended, and what it wrote. Raises WorkerDied.

        Past `most_bytes` nothing more is read, and the reason is flood.
        """
        raw, flood = bytearray(), False
        with self._busy, contextlib.ExitStack() as stack:
            try:
                ours, theirs = map(stack.enter_context, socket.socketpair())
                ours.setblocking(False)
                rest = memoryview(program)[ours.send(program) :]
                if self._gate:
                    self._gate.begin()
                send_request(self._socket, bounds, theirs.fileno())
                theirs.close()
                if rest or not self._ends_soon():
                    seconds = 3 * bounds.wall + 60.0  # a worker ends every program long before
                    flood = self._talk(ours, rest, raw, most_bytes, seconds)
                ending = receive_ending(self._socket)
                if ending is None:
                    raise OSError("it ended")
                flood = flood or _read_all(ours, raw, most_bytes)
            except (OSError, ValueError) as error:
                raise WorkerDied(f"The sandbox's worker did not answer: {error}. {self.close()}") from error
        return (ending._replace(reason="flood") if flood else ending), bytes(raw)

    def _ends_soon(self) -> bool:
        """Whether the worker tells of the end within the head start."""
        deadline = time.monotonic() + HEAD_START
        while events := self._told.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            if self._hears(dict(events)):
                return True
        return False

    def _hears(self, events: dict[int, int]) -> bool:
        """Answer what the kernel asks; whether the worker has something to tell."""
        if self._gate and self._gate.listener in events:
            self._gate.answer()
        return self._socket.fileno() in events

    def _talk(self, ours: socket.socket, rest: memoryview, raw: bytearray, most_bytes: int, seconds: float) -> bool:
        """Send what is left of a program and read what it writes, until the worker tells of its end; whether it was a flood."""
        deadline = time.monotonic() + seconds
        flood = False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if self._gate:
            poll.register(self._gate.listener, select.POLLIN)
        poll.register(ours, select.POLLIN | (select.POLLOUT if rest else 0))
        while True:
            left = deadline - time.monotonic()
            events = dict(poll.poll(1000 * left)) if left > 0 else {}
            if not events:
                raise TimeoutError("no answer in time")
            state = events.get(ours.fileno(), 0)
            if state & select.POLLOUT and rest:
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    rest = rest[ours.send(rest) :]
                if not rest:
                    poll.modify(ours, select.POLLIN)
            if state & ~select.POLLOUT:
                flood = _read_all(ours, raw, most_bytes)
                if flood or state & (select.POLLHUP | select.POLLERR):
                    poll.unregister(ours)
                    if flood:
                        ours.shutdown(socket.SHUT_RDWR)
            if self._hears(events):
                return flood

    def close(self) -> str:
        """End the worker; what it last wrote on standard error. Closing twice is closing once; in a forked process, nothing.

        A thread that runs a program in it finds it dead, and is waited for.
        """
        if os.getpid() != self._opener:
            return ""
        if self._said is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        with self._busy:
            if self._said is None:
                self._socket.close()
                if self._gate:
                    self._gate.close()
                assert self.process.stderr is not None
                with self.process.stderr as stderr:
                    self._said = str(stderr.read()[-500:].decode(errors="replace").strip())
                self.process.wait()
            return self._said


def _pair() -> tuple[socket.socket, socket.socket]:
    """Connected sockets whose numbers are none of the standard ones: these are the worker's own, also if ours are closed."""
    ends = []
    for end in socket.socketpair():
        ends.append(end if end.fileno() > 2 else socket.socket(fileno=fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3)))
        if end is not ends[-1]:
            end.close()
    return ends[0], ends[1]


def _read_all(channel: socket.socket, raw: bytearray, most_bytes: int) -> bool:
    """Read what is there; whether it was more than `most_bytes`."""
    while len(raw) <= most_bytes:
        try:
            part = channel.recv(1 << 16)
        except (BlockingIOError, ConnectionResetError):
            return False
        if not part:
            return False
        raw += part
    return True


def has_native() -> bool:
    """Whether this machine's kernel has what the native back ends need."""
    return sys.platform == "linux" and landlock_version() >= SMALLEST_LANDLOCK


def start_native(kind: Backend) -> Worker:
    """A worker of the back end `bubblewrap` or `landlock`. Raises CannotRun or WorkerDied."""
    if not has_native():
        raise CannotRun("This machine has no Linux kernel with Landlock 4 or newer (Linux 6.7).")
    python = os.path.realpath(sys.executable)
    command = [python, "-P", "-s", "-S", "-B", str(HERE / "zygote.py")]
    if kind == "bubblewrap":
        command = [*_bubblewrap(python), *command]
        library = _library()  # the kernel copies each rule for each program: here one or two are enough
    else:
        library = [entry for entry in _library_entries() if not entry.endswith(OTHER_PACKAGES)]
    return Worker(command, {"readable": library}, asks=True)


def _library() -> list[str]:
    """The folders of the standard library, also of one in a virtual environment."""
    base = {"installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    return list(dict.fromkeys(sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")))


def _library_entries() -> list[str]:
    return [str(entry) for folder in _library() for entry in Path(folder).iterdir()]


def _bubblewrap(python: str) -> list[str]:
    """An empty root with Python, its library and the system's, read-only; no network, no other process, no capability."""
    binary = shutil.which("bwrap")
    if binary is None:
        raise CannotRun("bubblewrap is not installed (apt install bubblewrap).")
    paths = [python, *_library(), *map(str, Path(sys.base_prefix, "lib").glob("*.so*"))]
    hidden = [entry for entry in _library_entries() if entry.endswith(OTHER_PACKAGES) and not os.path.islink(entry)]
    binds = []
    for path in dict.fromkeys([*SYSTEM_LIBRARIES, *paths, *hidden, str(HERE)]):
        if os.path.islink(path) and path in SYSTEM_LIBRARIES:
            binds += ["--symlink", os.readlink(path), path]
        elif path in hidden:
            binds += ["--perms", "0111", "--tmpfs", path]
        elif os.path.exists(path):
            binds += ["--ro-bind", path, path]
    for path in ["/", *hidden]:
        binds += ["--remount-ro", path]
    return [
        binary, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL",
        "--hostname", "sandbox", *binds, "--chdir", "/", "--",
    ]  # fmt: skip
