"""Answers as plain data: reads the sandbox's typed JSON, compares, and writes plain data as Python source.

>>> same(read_value(["t", [1, ["f", "inf"]]]), (1.0, math.inf))
True
"""

import datetime
import decimal
import fractions
import json
import math
from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from sandbox.guest import DEPTH, MOST_BYTES

LONGEST_LINE = 2 * MOST_BYTES

Value = Any
"""None, bool, int, float, complex, str, bytes, list, tuple, dict, set or frozenset of these, of exactly these types; and dates,
times, ranges, Decimal, Fraction and named tuples."""
_READ: dict[str, Callable[[str], Value]] = {
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda text: datetime.timedelta(*map(int, text.split())),
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "range": lambda text: range(*map(int, text.split())),
}
_ITSELF = frozenset({type(None), bool, int, float, str})
"""What JSON writes as it is: here whole numbers of up to 63 bits, and all finite floats."""
_CONTAINERS: dict[str, Callable[[list[Value]], Value]] = {"l": list, "t": tuple, "S": set, "F": frozenset}
LONGEST_TEXT = 1_000  # characters of such a value: a Fraction of 1e999999 would be made in full
MOST_FIELDS = 100  # of a named tuple
MOST_SLOW_KEYS = 200
"""Fractions and Decimals in one set, or as keys of one dict: made to have one hash, they are compared each with each, in Python."""


class Unreadable(ValueError):
    """Not typed JSON of plain data; the message says what it was."""


def read_value(typed: Any, depth: int = 0) -> Value:
    """The value of its typed JSON. Raises Unreadable for anything that is not exactly such."""
    if type(typed) in _ITSELF:
        return typed
    if type(typed) is not list or len(typed) < 2 or type(typed[0]) is not str or depth > DEPTH:
        raise Unreadable("an answer that is not typed JSON")
    tag, body = typed[0], typed[1]
    if tag == "!":
        raise Unreadable(str(body)[:200])
    try:
        if tag in _CONTAINERS:
            items = [item if type(item) in _ITSELF else read_value(item, depth + 1) for item in body]
            if tag in "SF":
                _check_keys(items)
            return _CONTAINERS[tag](items)
        if tag == "d":
            pairs = [(read_value(key, depth + 1), read_value(value, depth + 1)) for key, value in body]
            _check_keys([key for key, _ in pairs])
            return dict(pairs)
        if tag == "n":
            return _named_tuple(str(body), tuple(map(str, typed[2])))(*(read_value(v, depth + 1) for v in typed[3]))
        if tag == "i":
            return int(body, 16)
        if tag == "f":
            return float(body)
        if tag == "c":
            return complex(float(body), float(typed[2]))
        if tag == "b":
            return bytes.fromhex(body)
        if tag == "o":
            text = str(typed[2])
            if len(text) > LONGEST_TEXT or ("e" in text.lower() and body == "Fraction"):
                raise Unreadable(f"a {body:.20} too long to be compared")
            return _READ[body](text)
        raise Unreadable("an answer that is not typed JSON")
    except Unreadable:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Unreadable(f"an answer that is not typed JSON ({type(error).__name__})") from None


@lru_cache(maxsize=256)
def _named_tuple(name: str, fields: tuple[str, ...]) -> type[tuple[Any, ...]]:
    """Raises ValueError for what is no name, TypeError for too many fields."""
    if len(fields) > MOST_FIELDS:
        raise TypeError("too many fields")
    return namedtuple(name, fields)


def _check_keys(values: list[Value]) -> None:
    if sum(_slow(value) for value in values if type(value) not in _ITSELF) > MOST_SLOW_KEYS:
        raise Unreadable(f"more than {MOST_SLOW_KEYS} Fractions and Decimals as members of a set or keys of a dict")


def _slow(value: Value) -> int:
    kind = type(value)
    if isinstance(value, tuple | frozenset):
        return sum(map(_slow, value))
    return int(kind is decimal.Decimal or kind is fractions.Fraction)


def same(actual: Value, expected: Value) -> bool:
    """Python's own `==` on plain data: 1 equals 1.0, a tuple is no list. Neither side can bring an `__eq__` of its own."""
    try:
        return bool(actual == expected)
    except (RecursionError, decimal.InvalidOperation):  # a signalling NaN compares with nothing
        return False


def source(value: Value) -> str:
    """Plain data as a Python expression that gives it back. Raises TypeError for anything else."""
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value) if kind is not int else hex(value)  # hex: the decimal length of an int is bounded
    if kind is float:
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if kind in (datetime.datetime, datetime.date, datetime.time):
        return f"__import__('datetime').{kind.__name__}.fromisoformat({value.isoformat()!r})"
    if kind is datetime.timedelta:
        return f"__import__('datetime').timedelta({value.days}, {value.seconds}, {value.microseconds})"
    if kind is decimal.Decimal or kind is fractions.Fraction:
        return f"__import__({kind.__module__!r}).{kind.__name__}({str(value)!r})"
    if kind is range:
        return f"range({value.start}, {value.stop}, {value.step})"
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        made = f"__import__('collections').namedtuple({kind.__name__!r}, {kind._fields!r})"
        return f"{made}({', '.join(source(item) for item in value)})"
    if kind is complex:
        return f"complex({source(value.real)}, {source(value.imag)})"
    if kind is dict:
        return "{" + ", ".join(f"{source(k)}: {source(v)}" for k, v in value.items()) + "}"
    items = ", ".join(source(item) for item in value) if kind in (list, tuple, set, frozenset) else ""
    if kind is list:
        return f"[{items}]"
    if kind is tuple:
        return f"({items},)" if len(value) == 1 else f"({items})"
    if kind is set:
        return f"{{{items}}}" if value else "set()"
    if kind is frozenset:
        return f"frozenset([{items}])"
    raise TypeError(f"a value of type {kind.__name__} is no plain data")


def call_source(function: str, arguments: list[Value]) -> str:
    """A call with plain arguments as a Python expression.

    >>> call_source("f", [1, "a"])
    "f(0x1, 'a')"
    """
    return f"{function}({', '.join(source(a) for a in arguments)})"


def read_lines(raw: bytes) -> Iterator[tuple[int, list[Any]]]:
    """What a guest wrote: its whole JSON lines in their order, with their length; a line that is no JSON list is left out."""
    for line in raw.split(b"\n")[:-1]:
        if len(line) > LONGEST_LINE:  # of forged ones, whose keys may all collide
            continue
        try:
            parts = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if type(parts) is list and parts:
            yield len(line), parts
