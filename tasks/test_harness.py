"""Runs beside unit tests inside the sandbox, as a module of its own: stand-ins for the functions under test, and what came of
each assertion. tasks/unit_tests.py sends its text there, with what the program's own process has answered so far.
"""

import builtins
import copy
import datetime
import decimal
import fractions
import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

MOST_ASKED = 200  # calls that one round brings
MOST_ITEMS = 2_000  # of an iterator, in either direction
MOST_EXPLAINED = 40  # failures that are told with what came instead
DEPTH = 50
ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, datetime.date, datetime.datetime, datetime.time,
    datetime.timedelta, decimal.Decimal, fractions.Fraction,
)  # fmt: skip

answers: dict[str, Any] = {}
"""By key of the call: the kind of answer, its value, and the arguments as the call left them."""
answered: dict[str, int] = {}
"""How many of these each call has."""
missing: list[list[Any]] = []
"""Calls without an answer yet: key, name, arguments, named arguments, and which of them are iterators."""
seen: list[int] = []
"""Number of each assertion that was reached; -1 - number for one that failed."""
explained: list[list[Any]] = []
crash: list[str] = []
"""What ended the tests."""
exceptions: dict[str, type[Exception]] = {}
"""The program's own exception classes, as the tests know them."""

_asked: set[str] = set()
_counts: dict[str, int] = {}
sys.set_int_max_str_digits(0)


class NoAnswer(Exception):
    """The program gave no plain data, or was to be given what is none."""


class Missing(BaseException):
    """The program has not answered this call yet."""


def stand_in(name: str) -> Callable[..., Any]:
    """What the tests call in place of the program's function."""

    def function(*args: Any, **kwargs: Any) -> Any:
        iterators: list[Any] = []
        sent = tuple(_sent(value, n, iterators) for n, value in enumerate(args))
        named = {key: _sent(value, key, iterators) for key, value in kwargs.items()}
        call = repr((name, sent, named, iterators))
        number = _counts[call] = _counts.get(call, 0) + 1
        key = f"{call}#{number}"
        if key not in answers:
            # A loop that goes on without an answer asks the same again and again: few of these at first.
            soon = number <= 2 * answered.get(call, 0) + 1
            if soon and key not in _asked and len(missing) < MOST_ASKED:
                _asked.add(key)
                missing.append([key, name, copy.deepcopy(sent), copy.deepcopy(named), iterators])
            raise Missing
        kind, value, after, after_named = copy.deepcopy(answers[key])
        for mine, theirs in zip(args, after, strict=False):
            _restore(mine, theirs)
        for key_, theirs in after_named.items():
            _restore(kwargs[key_], theirs)
        if kind == "value":
            return value
        if kind == "iterator":
            return iter(value)
        if kind == "long iterator":
            return _beginning(value)
        raise _exception(kind, value)

    function.__name__ = name
    return function


def _sent(value: Any, place: int | str, iterators: list[Any]) -> Any:
    """An argument as plain data: an iterator by its items."""
    if hasattr(type(value), "__next__"):
        value = list(itertools.islice(value, MOST_ITEMS + 1))
        if len(value) > MOST_ITEMS:
            raise NoAnswer(f"an argument with more than {MOST_ITEMS} items")
        iterators.append(place)
    if not _plain(value, 0):
        raise NoAnswer("an argument that is no plain data")
    return value


def _plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in ATOMS:
        return True
    if depth > DEPTH:
        return False
    if kind in (list, tuple, set, frozenset) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return all(_plain(item, depth + 1) for item in value)
    return kind is dict and all(_plain(k, depth + 1) and _plain(v, depth + 1) for k, v in value.items())


def _restore(mine: Any, theirs: Any) -> None:
    """The program's changes of an argument in place, on the tests' own."""
    if isinstance(mine, list):
        mine[:] = theirs
    elif isinstance(mine, dict | set):
        mine.clear()
        mine.update(theirs)


def _beginning(items: list[Any]) -> Iterator[Any]:
    yield from items
    raise NoAnswer("more items than are looked at")


def define_exception(name: str, base: str) -> type[Exception] | None:
    """A class of the program's, if its base is an exception: what the tests' `except name` takes."""
    above = exceptions.get(base) or _known_exception(base)
    if above is not None and name not in exceptions:
        exceptions[name] = type(name, (above,), {})
    return exceptions.get(name)


def _known_exception(name: str) -> type[Exception] | None:
    """A class of Python's own, or of a module of its library: `ValueError`, `json.decoder.JSONDecodeError`."""
    module, _, name = name.rpartition(".")
    found: Any = builtins
    if module:
        found = importlib.import_module(module) if module.partition(".")[0] in sys.stdlib_module_names else None
    exception_class = getattr(found, name, None)
    return exception_class if isinstance(exception_class, type) and issubclass(exception_class, Exception) else None


def _exception(names: list[str], arguments: list[Any]) -> Exception:
    """The exception that the program raised, from the names of its classes, its own first."""
    for base, name in itertools.pairwise(reversed(names)):
        if "." not in name:
            define_exception(name, base)
    exception_class = exceptions.get(names[0]) or _known_exception(names[0])
    if exception_class is None or issubclass(exception_class, StopIteration | StopAsyncIteration):
        return NoAnswer(f"{names[0]}: {arguments!r}")
    try:
        return exception_class(*arguments)
    except Exception:  # it takes other arguments than it keeps, as JSONDecodeError does
        error = exception_class.__new__(exception_class)
        error.args = tuple(arguments)
        return error


def holds(number: int) -> None:
    """The assertion holds."""
    seen.append(number)


def fails(number: int, reason: str) -> None:
    """The assertion does not hold."""
    seen.append(-1 - number)
    if len(explained) < MOST_EXPLAINED:
        explained.append([number, reason])


def got(value: Any) -> str:
    """What came in place of what was asserted."""
    return f"got {value!r:.200}"


def error_text(error: BaseException) -> str:
    """An exception in short."""
    return f"{type(error).__name__}: {error}"[:300]


def report() -> list[Any]:
    """What the parent reads."""
    return [missing, seen, explained, crash]
