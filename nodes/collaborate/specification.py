"""What a language model that plays the person knows: requirements in words, and never the reference, which it so cannot give away.

Our own tasks have them as facts. Of any other task a model writes them once, from the reference; sentences that are not plain words
are taken out, and what is left is stored for every later run.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from settings import Settings
from tasks.colbench import Task
from tasks.person import RESAMPLES, leak_in

WRITER = """\
You write down what a person wants who cannot program. You are shown the {what} that they want. List every requirement that \
follows from it, one short sentence a line: limits, numbers, exact texts, the order of steps, what happens in special cases. Use \
plain words as that person would. Write no code, no formulas, no names of variables, no tags, and no symbols such as = or <."""
WHAT = {"backend": "function", "frontend": "web page"}
CAREFUL = "Some of your lines were not plain words. Write all lines again without code, formulas and symbols."
QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”")
NO_WORDS = re.compile(
    r"[=<>{}\[\]`\\*^#]|\w_\w|\w\((?!s\))|\b[a-z]+\.[a-z]{2,}|\w [%/+-]{1,2} \w|\b(?:def|elif|lambda)\b|\breturn \w\b|:\s*\d+px"
    r"|\b(?:bg|text|rounded|grid|font|p[xytblr]?|m[xytblr]?)-\w+"
)
"""What a sentence of plain words does not have outside of quotation marks."""


def specification(task: Task, ask: Callable[[list[BaseMessage]], str], settings: Settings) -> str:
    """The requirements of a task, one a line; `ask` has a model write them where nobody has yet. Raises ValueError if it writes
    none, and what `ask` raises.
    """
    if task.facts:
        return "\n".join(fact.statement for fact in (*task.stated, *task.facts))
    mark = hashlib.sha256(f"{task.kind}\n{task.description}\n{task.ground_truth}".encode()).hexdigest()[:24]
    path = settings.folder / "specifications" / f"{mark}.txt"
    if not path.is_file():
        _store(_written(task, ask), path)
    return path.read_text(encoding="utf-8")


def _written(task: Task, ask: Callable[[list[BaseMessage]], str]) -> str:
    """The lines of a model that are plain words, of the first reply that has no others; else of the one with the most.

    Raises ValueError if there is none.
    """
    shown = f"The request:\n{task.description}\n\nThe {WHAT[task.kind]}:\n{task.ground_truth}"
    prompt: list[BaseMessage] = [SystemMessage(WRITER.format(what=WHAT[task.kind])), HumanMessage(shown)]
    best: list[str] = []
    for attempt in range(RESAMPLES):
        lines = [line.strip() for line in ask([*prompt, HumanMessage(CAREFUL)] if attempt else prompt).splitlines()]
        lines = [line for line in lines if line]
        plain = [line for line in lines if is_plain(line, task.ground_truth)]
        best = max(best, plain, key=len)
        if plain and plain == lines:
            break
    if not best:
        raise ValueError(
            "The model that plays the person wrote down no requirement in plain words: use a more able one."
        )
    return "\n".join(best)


def is_plain(line: str, reference: str) -> bool:
    """Whether a line is words, and none of the reference's code."""
    return not NO_WORDS.search(QUOTED.sub("", line)) and not leak_in(line, reference)


def _store(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
