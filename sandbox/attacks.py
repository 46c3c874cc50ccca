"""The attack suite: programs that try to read, write, talk, kill, starve, crash or cheat, with what each would have to do to win.

Each, in attacks.txt, is a heading `#: group name [essential] [allowed:BACKEND]` and a program. It
wins if `attack()` returns text with BROKE or
the decoy's token, if the decoy was touched, or if the worker, the time, the memory or the next program suffered.
"""

import contextlib
import os
import platform
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.outcome import Limits, SandboxFailed
from sandbox.python import Sandbox

WALL_SECONDS = 40.0
PARENT_SECONDS = 0.6  # of CPU, of the thread that asked
CALLS = 3
GROWTH_BYTES = 200 << 20
AFTERWARDS = ("def f(a, b):\n    return sorted([a, b])", ["f(2, 1)"], [1, 2])

PRELUDE = """
import os, sys, time
def syscall(x86, arm, *arguments):
    import ctypes, platform
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = x86 if platform.machine() == "x86_64" else arm
    return libc.syscall(number, *[a if isinstance(a, (bytes, type(None))) or hasattr(a, "_type_") or hasattr(a, "_length_")
                                  else ctypes.c_long(a) for a in arguments])
def won(result):
    return "BROKE %r" % (result,) if result is not None and result != -1 else "held"
"""


@dataclass(frozen=True)
class Attack:
    """One program of the suite."""

    name: str
    group: str
    code: str
    essential: bool = False
    """Among those of the start-up self-test."""
    allowed: str = ""
    """The back end on which this one is known to succeed, and tolerated."""


def _parse(text: str) -> list[Attack]:
    attacks = []
    for part in text.split("\n#: ")[1:]:
        head, _, body = part.partition("\n")
        group, name, *marks = head.split()
        allowed = next((m.removeprefix("allowed:") for m in marks if m.startswith("allowed:")), "")
        attacks.append(Attack(name, group, PRELUDE + body, "essential" in marks, allowed))
    return attacks


ATTACKS = _parse("\n" + (Path(__file__).parent / "attacks.txt").read_text(encoding="utf-8"))
ESSENTIAL = [attack for attack in ATTACKS if attack.essential]


class Decoy:
    """What the attacks aim at: a secret in a file, in the environment and in the parent, listeners, a bystander process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = f"token{secrets.token_hex(12)}"
        self.secret = folder / "secret.txt"
        self.secret.write_text(self.token)
        self.secret.chmod(0o600)
        (folder / "link").symlink_to(self.secret)
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.unix.listen()
        self.listeners = [self.tcp, self.udp, self.unix]
        if sys.platform == "linux":
            self.abstract = socket.socket(socket.AF_UNIX)
            self.abstract.bind(f"\0{self.token}")
            self.abstract.listen()
            self.listeners.append(self.abstract)
        for listener in self.listeners:
            listener.setblocking(False)
        sleeper = "import time; time.sleep(600)"
        environment = {**os.environ, "PALIMPSEST_DECOY_SECRET": self.token}
        self.bystander = subprocess.Popen([sys.executable, "-I", "-c", sleeper, self.token], env=environment)
        self.before = self._state()

    def close(self) -> None:
        """Take it down."""
        self.bystander.kill()
        self.bystander.wait()
        for listener in self.listeners:
            listener.close()

    def fill(self, code: str, kind: str) -> str:
        """The attack's program with this decoy's names."""
        for name, value in (
            ("SECRET", str(self.secret)), ("HOME", str(self.folder)), ("TOKEN", self.token), ("KIND", kind),
            ("PORT", str(self.tcp.getsockname()[1])), ("UDP", str(self.udp.getsockname()[1])),
            ("PARENT", str(os.getpid())), ("PROJECT", str(Path(__file__).resolve().parent.parent)),
            ("HOSTNAME", platform.node()), ("CALLS", str(CALLS)),
        ):  # fmt: skip
            code = code.replace(f"@{name}@", value)
        return code

    def touched(self) -> str:
        """What has been done to the decoy; empty if nothing."""
        now = self._state()
        if now != self.before:
            return f"the decoy was changed: {sorted(set(now) ^ set(self.before))[:3]}"
        for place in (Path("/tmp"), Path("/dev/shm"), Path.cwd()):  # noqa: S108
            if any(place.glob(f"*{self.token}*")):
                return f"a file was left in {place}"
        if self.bystander.poll() is not None:
            return "the bystander was killed"
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                listener.recv(1) if listener is self.udp else listener.accept()
                return "a listener was reached"
        return ""

    def _state(self) -> list[tuple[str, int, int, float]]:
        entries = sorted(self.folder.iterdir())
        return [(e.name, e.lstat().st_mode, e.lstat().st_size, e.lstat().st_mtime) for e in entries]


@contextmanager
def open_decoy() -> Iterator[Decoy]:
    """A decoy in a new folder, its token in this process's environment while it stands."""
    with tempfile.TemporaryDirectory() as folder:
        decoy = Decoy(Path(folder))
        outer = os.environ.pop("PALIMPSEST_DECOY_SECRET", None)  # of a decoy that this one stands within
        os.environ["PALIMPSEST_DECOY_SECRET"] = decoy.token
        try:
            yield decoy
        finally:
            del os.environ["PALIMPSEST_DECOY_SECRET"]
            if outer is not None:
                os.environ["PALIMPSEST_DECOY_SECRET"] = outer
            decoy.close()


def run_attack(attack: Attack, sandbox: Sandbox, decoy: Decoy) -> str:
    """How the attack won, in words; empty if the sandbox held."""
    restarts, begun, memory, spent = sandbox.restarts, time.monotonic(), _peak(), time.thread_time()
    try:
        sandbox.run(f"EXPECTED = {decoy.token!r}", [repr(decoy.token)])  # another's program, with what it knows
        outcome = sandbox.run(decoy.fill(attack.code, sandbox.kind), ["attack()"] * CALLS, Limits(cpu_seconds=0.3))
        after = sandbox.run(AFTERWARDS[0], AFTERWARDS[1])
    except SandboxFailed as error:
        return f"it killed its workers: {error}"
    took, answer = time.monotonic() - begun, outcome.answers[0]
    evidence = repr(answer.value) + answer.error + answer.message + outcome.output + outcome.error
    # Its own source holds the token where it names files; only text that the decoy alone has is evidence.
    if "BROKE" in repr(answer.value) and attack.group != "hack":
        return f"it says {repr(answer.value)[:80]}"
    if "BROKE" in repr(answer.value)[:8]:
        return f"it says {repr(answer.value)[:80]}"
    if decoy.token in evidence and decoy.token not in decoy.fill(attack.code, sandbox.kind):
        return "it has read the secret"
    if answer.equals(decoy.token):
        return "its answer was taken for the right one"
    if touched := decoy.touched():
        return touched
    if not after.answers[0].equals(AFTERWARDS[2]):
        return f"the next program got {after.answers[0]}"
    if sandbox.restarts > restarts and not (sandbox.kind == "wasm" and outcome.exit_reason == "idle"):
        return "it ended its worker"
    if took > WALL_SECONDS:
        return f"it took {took:.1f} s"
    if time.thread_time() - spent > PARENT_SECONDS:
        return f"the parent worked for {time.thread_time() - spent:.1f} s"
    if _peak() - memory > GROWTH_BYTES:
        return f"the parent grew by {(_peak() - memory) >> 20} MB"
    return ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
