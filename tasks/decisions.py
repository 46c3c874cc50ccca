"""Decisions that the description of a task may leave open, with their options; and what a family of tasks is."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


@dataclass(frozen=True)
class Option:
    """One way to decide."""

    value: str
    code: str
    statement: str


@dataclass(frozen=True)
class Decision:
    """What the description may leave open."""

    key: str
    question: str
    """What somebody who wants to know it would ask."""
    keywords: tuple[str, ...]
    options: tuple[Option, ...]
    shift: int = 0
    """1 where the first option belongs to the test split: numbers belong by their own parity, in steps."""

    def of_split(self, split: str) -> list[Option]:
        """Its options of a split: no option is in both, nor in that of another family's decision of the same key."""
        return [o for n, o in enumerate(self.options) if (n + self.shift) % 2 == SPLITS.index(split)]


@dataclass(frozen=True)
class Family:
    """A function with its decisions; `source` has their codes at `<key>`."""

    name: str
    signature: str
    wish: str
    decisions: tuple[Decision, ...]
    source: str
    draw: Callable[[random.Random], tuple[Any, ...]]
    """Arguments of one call."""

    @property
    def function(self) -> str:
        return self.signature.partition("(")[0].removeprefix("def ")

    def program(self, options: dict[str, Option], nudge: str = "") -> str:
        """The function's source with these options, by key of decision."""
        text = self.source.replace("<nudge>", nudge or "pass")
        for _ in range(2):  # a code may name another decision's
            for key, option in options.items():
                text = text.replace(f"<{key}>", option.code)
        return "\n".join(line for line in text.strip().split("\n") if line.strip() != "pass") + "\n"


def number(key: str, values: range, statement: str, question: str, keywords: str, code: str = "{n}") -> Decision:
    """A decision with many options, whose statement has `{n}`."""
    options = tuple(Option(str(n), code.format(n=n), statement.format(n=n)) for n in values)
    return Decision(key, question, tuple(keywords.split()), options, values.start // values.step % 2)


def choice(key: str, question: str, keywords: str, *options: tuple[str, str, str]) -> Decision:
    """A decision between named options: (value, code, statement)."""
    return Decision(key, question, tuple(keywords.split()), tuple(Option(*o) for o in options))


def rounding(of: str = "total") -> Decision:
    """How an amount is rounded."""
    return choice(
        "rounding",
        "How should the result be rounded?",
        "round rounding decimals precision precise whole integer cents half exact digits",
        ("down", f"math.floor({of})", "The result is rounded down to a whole number."),
        ("up", f"math.ceil({of})", "The result is rounded up to a whole number."),
        ("tenth", f"round({of}, 1)", "The result is rounded to one decimal."),
        ("hundredth", f"round({of}, 2)", "The result is rounded to two decimals."),
        ("down to 5", f"5 * math.floor({of} / 5)", "The result is rounded down to a multiple of 5."),
        ("up to 5", f"5 * math.ceil({of} / 5)", "The result is rounded up to a multiple of 5."),
        ("down to 10", f"10 * math.floor({of} / 10)", "The result is rounded down to a multiple of 10."),
        ("up to 10", f"10 * math.ceil({of} / 10)", "The result is rounded up to a multiple of 10."),
    )


def side(of: str, limit: str, key: str = "side") -> Decision:
    """Whether a limit itself counts."""
    return choice(
        key,
        "Does the limit itself already count?",
        "itself exactly exact inclusive include included equal boundary edge already count just greater least same limit",
        ("itself counts", f"{of} >= {limit}", "A value exactly at the limit already counts."),
        ("itself does not count", f"{of} > {limit}", "A value exactly at the limit does not count yet."),
        ("from one before", f"{of} >= {limit} - 1", "One less than the limit already counts."),
        ("from two after", f"{of} >= {limit} + 2", "It counts only from two above the limit on."),
    )


def invalid(of: str) -> Decision:
    """What is returned where the input makes no sense."""
    outcomes = ("-1", "None", "'invalid'", "0", "'error'", "-99", "[]", "'n/a'")
    told = (
        "minus one",
        "None",
        "the text invalid",
        "zero",
        "the text error",
        "minus ninety-nine",
        "an empty list",
        "the text n/a",
    )
    return choice(
        "invalid",
        "What should it return when the input is zero or negative?",
        "invalid negative zero below nonsense wrong bad error empty less none nobody time",
        *[
            (v, f"if {of}: return {v}", f"For zero or negative input it returns {t}.")
            for v, t in zip(outcomes, told, strict=True)
        ],
    )


MISSING = "missing none absent gap blank null without unknown skip no"


def missing(values: str) -> Decision:
    """What a None among the values stands for."""
    options: list[tuple[str, str, str]] = [
        ("left out", f"{values} = [v for v in {values} if v is not None]", "Missing values are left out."),
        ("zero", f"{values} = [0 if v is None else v for v in {values}]", "A missing value counts as zero."),
    ]
    for n in (10, 15, 20, 25, 30, 35):
        code = f"{values} = [{n} if v is None else v for v in {values}]"
        options.append((str(n), code, f"A missing value counts as {n}."))
    return choice("missing", "What happens with missing values?", MISSING, *options)


def missing_readings() -> Decision:
    """What a None among readings stands for, each of which has its hour."""
    options = [("passed over", "continue", "Missing readings are passed over; the later ones keep their hours.")]
    for n in (0, 12, 18, 24, 28, 32, 36):
        options.append((str(n), f"value = {n}", f"A missing reading counts as {n} degrees."))
    return choice("missing", "What happens with missing readings?", MISSING, *options)


def separator() -> Decision:
    """What stands between the parts of a text."""
    marks = (
        (", ", "a comma and a space"),
        (" | ", "a bar between spaces"),
        ("; ", "a semicolon and a space"),
        (" / ", "a slash between spaces"),
        ("-", "a hyphen"),
        (" > ", "a greater-than sign between spaces"),
        ("+", "a plus sign"),
        (" & ", "an ampersand between spaces"),
    )
    return choice(
        "separator",
        "What should separate the parts?",
        "separator separate join between delimiter comma dash hyphen colon character",
        *[(m, repr(m), f"The parts are separated by {t}.") for m, t in marks],
    )


def ties() -> Decision:
    """How equal scores are ordered."""
    return choice(
        "ties",
        "How are ties broken?",
        "tie tied equal same draw identical",
        ("alphabet", "item[0]", "Equal scores are ordered by name, from a to z."),
        ("shorter", "(len(item[0]), item[0])", "Of equal scores the shorter name comes first, then a to z."),
        ("last letter", "item[0][::-1]", "Equal scores are ordered by the name read backwards, from a to z."),
        ("longer", "(-len(item[0]), item[0])", "Of equal scores the longer name comes first, then a to z."),
    )
