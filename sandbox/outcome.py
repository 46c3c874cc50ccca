"""What a program may use, and what became of it."""

from dataclasses import dataclass, field
from typing import Literal

from sandbox.native import Backend
from sandbox.values import Value, same

MOST_CODE = 1 << 20  # characters of a program with its calls

ExitReason = Literal["done", "failed", "cpu", "idle", "flood", "crash", "refused"]
"""How a program ended: `failed` = its module raised, `idle` = it slept or waited too long, `flood` = it wrote too much,
`refused` = too long."""


class SandboxUnavailable(RuntimeError):
    """No back end, or not the one asked for, passes its self-test here; the message says why, and what to do."""


class SandboxFailed(RuntimeError):
    """Workers died again and again under one program: a fault of the machine, never a verdict on the program."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use, all its calls together. Raises ValueError, naming the field."""

    cpu_seconds: float = 0.5
    """CPU time in all. On wasm: instructions, 1e10 a second; CPython there takes about three times as many seconds."""
    idle_seconds: float = 2.0
    """Longest sleep in one piece. In bits, it may sleep ten times the sum of this and `cpu_seconds`."""
    memory_mb: int = 512
    """Address space, the interpreter's own included: 30 MB."""
    output_characters: int = 4_000
    """How much of what it prints is kept."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("cpu_seconds", 0.01, 60.0),
            ("idle_seconds", 0.1, 60.0),
            ("memory_mb", 64, 4096),
            ("output_characters", 0, 100_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"Limits.{name}={getattr(self, name)!r} cannot work: use {least} to {most}.")


@dataclass(frozen=True)
class Answer:
    """What one call gave: a value, or the name and message of what went wrong."""

    value: Value = None
    error: str = ""
    """Empty for a value; else the exception's name, `not plain data`, or an `ExitReason`."""
    message: str = ""
    line: int = 0
    """Where in the program the exception came from; 0 where that is not known."""
    arguments: list[Value] | None = None
    """The exception's own, if they are plain data."""
    classes: tuple[str, ...] = ()
    """Of the exception: its class and those that it derives from, up to the first of Python's own, such as ValueError."""

    @property
    def where(self) -> str:
        """The line, for a reader."""
        return f" (line {self.line})" if self.line else ""

    def equals(self, expected: Value) -> bool:
        """Whether it is a value equal to `expected` (sandbox.values.same)."""
        return not self.error and same(self.value, expected)


@dataclass(frozen=True)
class Outcome:
    """What became of one program."""

    answers: list[Answer]
    """One for each call, in their order."""
    exit_reason: ExitReason
    error: str = ""
    """Of the module, where it raised: `Name: message`."""
    output: str = ""
    """The first of what it printed. Untrusted text."""
    loaded: bool = False
    """Whether its module ran to its end, at least once, before calls were made."""
    cpu_seconds: float = field(default=0.0, compare=False)
    backend: Backend = field(default="landlock", compare=False)

    def feedback(self) -> str:
        """What a programmer would be told of the program's end; empty if it ended well."""
        messages = {
            "failed": f"The program raised {self.error}",
            "cpu": "The program used up its CPU time: an endless loop, or too slow.",
            "idle": "The program slept too long.",
            "flood": "The program wrote too much.",
            "crash": "The program ended its own process.",
            "refused": f"The program is longer than {MOST_CODE} characters.",
        }
        return messages.get(self.exit_reason, "")
