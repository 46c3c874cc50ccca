"""Decisions that the description of a task may leave open, with their options, read from the tables of `tasks/own_*.toml`.

Each question and statement has several phrasings. Three splits: `train`; `test`, with other options in phrasings that are known;
and `rephrased`, with the options of `test` in the phrasings that are held out.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

OwnSplit = Literal["train", "test", "rephrased"]
SPLITS: tuple[OwnSplit, ...] = ("train", "test", "rephrased")


def phrasings(texts: tuple[str, ...], split: OwnSplit) -> tuple[str, ...]:
    """Those of a split, of which the last is held out."""
    return texts[-1:] if split == "rephrased" else texts[:-1]


class Option(NamedTuple):
    """One way to decide."""

    value: str
    code: str
    statements: tuple[str, ...]
    """The same in several phrasings."""

    def told_in(self, text: str) -> bool:
        """Whether one of its statements stands there."""
        return any(statement in text for statement in self.statements)


@dataclass(frozen=True)
class Decision:
    """What the description may leave open."""

    key: str
    questions: tuple[str, ...]
    """What somebody who wants to know it would ask, in several phrasings."""
    keywords: tuple[str, ...]
    options: tuple[Option, ...]
    shift: int = 0
    """1 where the first option belongs to the test split: numbers belong by their own parity, in steps."""

    def of_split(self, split: OwnSplit) -> list[Option]:
        """Its options of a split: `train` shares none with the others, nor with another family's decision of the same key."""
        return [o for n, o in enumerate(self.options) if (n + self.shift) % 2 == (split != "train")]


@dataclass(frozen=True)
class Family:
    """A function with its decisions; `source` has their codes at `<key>`."""

    name: str
    signature: str
    wish: str
    source: str
    decisions: tuple[Decision, ...]

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


def read_families() -> tuple[Family, ...]:
    """The families of `own_backend.toml`. Their order is a part of the tasks' ids."""
    tables = read_tables("own_backend.toml")
    return tuple(
        Family(**{**family, "decisions": tuple(decision_of(d, tables["shared"]) for d in family["decisions"])})
        for family in tables["family"]
    )


def read_tables(name: str) -> dict[str, Any]:
    """A file of this folder."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def decision_of(table: Mapping[str, Any], shared: Mapping[str, Any] = MappingProxyType({})) -> Decision:
    """The decision of a table: its options one by one, or one for each of `numbers` or `values`; or one that families share."""
    common = shared[table["use"]] if "use" in table else table
    shift = 0
    if "numbers" in common:
        values = range(*common["numbers"])
        shift = values.start // values.step % 2
        rows = [(str(n), str(n), str(n)) for n in values]
    elif "values" in common:
        rows = [(v, v, v) for v in common["values"]]
    else:
        rows = [(v, _of(code, table), words) for v, code, words in common["options"]]
    named = {"noun": table.get("noun", "")}
    options = [
        Option(value, code, tuple(text.format(value=words, **named) for text in common["statements"]))
        for value, code, words in rows
    ]
    questions = tuple(text.format(**named) for text in common["questions"])
    return Decision(common["key"], questions, tuple(common["keywords"].split()), tuple(options), shift)


def _of(code: str, table: Mapping[str, Any]) -> str:
    return code.replace("<of>", table.get("of", "")).replace("<limit>", table.get("limit", ""))
