"""The inside of the sandbox: runs one program, makes its calls, and writes each answer as typed JSON. Needs only the
standard library, since it runs alone: in the child of a pre-forked worker, and in CPython-WASI.

Everything here shares a process with the program, which may change any of it: the parent believes nothing it reads.
"""

import builtins
import contextlib
import datetime
import decimal
import fractions
import importlib
import io
import json
import random
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

MODULE = "program"
COMMON = """
abc bisect calendar collections collections.abc contextlib copy dataclasses datetime decimal enum fractions functools heapq
io itertools json math numbers operator os random re statistics string struct textwrap time types typing
""".split()
"""What a native worker has loaded. The rest is read when it is imported: each library of C makes every fork slower."""
LOADED = """
abc array ast asyncio base64 binascii bisect bz2 calendar cmath codecs collections collections.abc colorsys configparser
contextlib copy csv ctypes dataclasses datetime decimal difflib email enum errno fnmatch fractions functools gettext glob
graphlib gzip hashlib heapq hmac html html.parser http inspect io ipaddress itertools json keyword locale logging lzma math
numbers operator os pathlib pickle platform pprint queue random re reprlib secrets shlex shutil sqlite3 stat statistics
string struct tempfile textwrap threading time timeit token tokenize traceback types typing unicodedata unittest
unittest.mock urllib urllib.parse uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo
""".split()
"""What the component for WebAssembly has; it cannot import anything else."""
MOST_BYTES = 64_000
DEPTH = 100
MESSAGE_CHARACTERS = 300
NAME_CHARACTERS = 60
MOST_BASES = 8
FRAMES = 10  # of ours, below a program's own
MOST_BYTES_OF_A_CALL = 16 * NAME_CHARACTERS
"""What a call writes, at most, beside what `room` counts: its number, and an exception's name."""

_BASES: tuple[type[Any], ...] = (int, float, complex, str, bytes, tuple, list, dict, set, frozenset)
_WRITTEN_AS: dict[type[Any], type[Any]] = {
    **{base: base for base in (*_BASES, bool, types.NoneType)},
    Counter: dict, OrderedDict: dict, defaultdict: dict, bytearray: bytes,
}  # fmt: skip
_TAGS: dict[type[Any], str] = {list: "l", tuple: "t", set: "S", frozenset: "F"}

_EXACT_TEXT: dict[type[Any], Callable[[Any], str]] = {
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}",
    decimal.Decimal: decimal.Decimal.__str__,
    fractions.Fraction: fractions.Fraction.__str__,
    range: lambda value: f"{value.start} {value.stop} {value.step}",
}
"""Values of the standard library that have an exact text."""

quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii
"""A text as JSON."""


class Unwritable(Exception):
    """A value that has no typed JSON; its text is the reason."""


def load(names: list[str]) -> None:
    """Import what programs import, before the door closes behind them. What this Python was built without, they do without."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def prepare() -> None:
    """Make what the one program of this process finds, as it is in a fresh interpreter."""
    global _output, _module
    builtins.__dict__.update(exit=sys.exit, quit=sys.exit)  # as an interpreter has them
    random.seed(0)
    sys.setrecursionlimit(1_000 + FRAMES)
    _output = Output()
    _module = sys.modules[MODULE] = types.ModuleType(MODULE)


def run(code: str, calls: list[str], start: int, output_characters: int, emit: Callable[[str], None]) -> None:
    """Run `code` as a module, then evaluate `calls[start:]` in it; `emit(line)` gets JSON lines as they are known.

    Lines: ["ready"] once the module has run; [n, "R", value] or [n, "E", exception, message, line, arguments, classes] for
    call n; ["failed", exception, message, line, arguments, classes] if the module raised; ["output", text] for what was printed
    since the last.
    """
    output, module = _output, _module
    sys.stdout = sys.stderr = output
    output.left = output_characters
    room, room_for_errors = [MOST_BYTES], [MOST_BYTES]
    try:
        exec(compile(code.removeprefix("\ufeff"), f"<{MODULE}>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except BaseException as error:
        output.drain(emit)
        emit(f'["failed",{_describe_error(error, room_for_errors)}]\n')
        return
    output.drain(emit)
    emit('["ready"]\n')
    for number in range(start, len(calls)):
        try:
            value = eval(compile(calls[number], f"<call {number}>", "eval", dont_inherit=True), module.__dict__)  # noqa: S307
            answer = f'[{number},"R",{encode(value, room)}]\n'
        except Unwritable as error:
            answer = f'[{number},"R",["!",{quoted(str(error))}]]\n'
        except BaseException as error:
            answer = f'[{number},"E",{_describe_error(error, room_for_errors)}]\n'
        if output.parts:
            output.drain(emit)
        emit(answer)


def encode(value: Any, room: list[int], depth: int = 0) -> str:
    """Typed JSON of a value of exact builtin types. Raises Unwritable.

    A subclass that compares as its base does (an IntEnum) is written as its base, read by the base's own
    methods. `room` holds the bytes that are left for all answers together.
    """
    kind = type(value)
    base = _WRITTEN_AS.get(kind) or _base(kind)
    if base is str:
        text = value if kind is str else "".join(str.__iter__(value))
        if len(text) > room[0]:
            _reserve(room, len(text))
        text = quoted(text)
    elif base is int:
        bits = int.bit_length(value)
        if bits > 4 * MOST_BYTES:
            _reserve(room, MOST_BYTES)
        text = int.__repr__(value) if bits < 64 else f'["i","{int.__format__(value, "x")}"]'
    elif base is float:
        text = float.__repr__(value)
        if float.__sub__(value, value) != 0:
            text = f'["f","{text}"]'
    elif base is bool or base is types.NoneType:
        text = "true" if value else "null" if value is None else "false"
    elif base is complex:
        text = f'["c","{float.__repr__(value.real)}","{float.__repr__(value.imag)}"]'
    elif base is bytes:
        if len(value) > room[0]:
            _reserve(room, len(value))
        text = f'["b","{bytes(value).hex()}"]'
    elif base is None:
        return _encode_other(value, kind, room, depth)
    else:
        return _encode_container(value, base, room, depth + 1)
    return _reserved(room, text)


def _encode_container(value: Any, base: type[Any], room: list[int], depth: int) -> str:
    if depth > DEPTH:
        raise Unwritable(f"a value nested more than {DEPTH} deep")
    _reserve(room, 8)
    parts = []
    if base is dict:
        _reserve(room, 2 * dict.__len__(value))
        for key, item in dict.items(value):
            parts.append(f"[{encode(key, room, depth)},{encode(item, room, depth)}]")
        return f'["d",[{",".join(parts)}]]'
    for item in base.__iter__(value):
        parts.append(encode(item, room, depth))
    fields = getattr(type(value), "_fields", None) if base is tuple else None
    if type(fields) is tuple and len(fields) == len(parts):  # a named tuple
        named = ",".join(quoted(str(name)) for name in fields)
        return _reserved(room, f'["n",{quoted(type(value).__name__)},[{named}],[{",".join(parts)}]]')
    return f'["{_TAGS[base]}",[{",".join(parts)}]]'


def _encode_other(value: Any, kind: type[Any], room: list[int], depth: int) -> str:
    """A value of the standard library that has an exact text."""
    if kind in _EXACT_TEXT:
        return _reserved(room, f'["o","{kind.__name__}",{quoted(_EXACT_TEXT[kind](value))}]')
    raise Unwritable(f"a value of type {kind.__name__:.60}")


def _base(kind: type[Any]) -> type[Any] | None:
    for base in _BASES:
        if issubclass(kind, base) and kind.__eq__ is base.__eq__:
            return base
    return None


def _reserve(room: list[int], size: int) -> None:
    if size >= room[0]:
        raise Unwritable(f"more than {MOST_BYTES} bytes of answers")
    room[0] -= size


def _reserved(room: list[int], text: str) -> str:
    """The text, with a comma behind it, counted."""
    _reserve(room, len(text) + 1)
    return text


def _describe_error(error: BaseException, room: list[int]) -> str:
    """An exception's name, message, line in the program, plain arguments and the names of its classes; all may be the program's
    own code, and raise.

    `room` holds the bytes that are left for messages and arguments of all calls together; what has none left is not told.
    """
    name, message, line, arguments, classes = "Exception", '""', 0, "null", "[]"
    with contextlib.suppress(BaseException):
        name = f"{type(error).__name__:.{NAME_CHARACTERS}}"
    with contextlib.suppress(BaseException):
        message = _reserved(room, quoted(str(error)[:MESSAGE_CHARACTERS]))
    with contextlib.suppress(BaseException):
        at = error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename == f"<{MODULE}>":
                line = at.tb_lineno
            at = at.tb_next
    with contextlib.suppress(BaseException):
        arguments = _reserved(room, encode(list(error.args), [MESSAGE_CHARACTERS]))
    with contextlib.suppress(BaseException):
        classes = _reserved(room, json.dumps(_classes_of(type(error))))
    return f"{quoted(name)},{message},{line},{arguments},{classes}"


def _classes_of(kind: type[BaseException]) -> list[str]:
    """The exception's class and its bases that are exceptions, up to the first of Python's own; a module's with its name."""
    names: list[str] = []
    for base in kind.__mro__[:MOST_BASES]:
        if issubclass(base, BaseException):
            own = base.__module__ in (MODULE, "builtins")
            names.append((base.__name__ if own else f"{base.__module__}.{base.__name__}")[:NAME_CHARACTERS])
            if base.__module__ == "builtins":
                break
    return names


class Output(io.TextIOBase):
    """Keeps the first characters of what is printed."""

    def __init__(self) -> None:
        self.left = 0
        self.parts: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        kept = text[: self.left]
        if kept:
            self.parts.append(kept)
            self.left -= len(kept)
        return len(text)

    def drain(self, emit: Callable[[str], None]) -> None:
        if self.parts:
            emit(f'["output",{quoted("".join(self.parts))}]\n')
            self.parts.clear()


_output = Output()
_module = types.ModuleType(MODULE)
