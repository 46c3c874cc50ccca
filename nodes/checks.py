"""What every context checks of its fields, in the same words."""

import re
from typing import Any

STATE_VERSION = 2
"""Of the form of every machine's state: a run of another version is migrated, or refused."""
EXTRA_SUPERSTEPS = 20  # graph steps of a run that no budget counts


def supersteps(budget: int) -> int:
    """LangGraph's recursion limit for a run of at most `budget` rounds."""
    return EXTRA_SUPERSTEPS + 4 * budget


def check_agent(agent: str) -> None:
    """Raise ValueError unless `agent` can name an agent."""
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", agent) and agent != "langgraph"
    check(bool(fits), "agent", agent, "use up to 64 letters, digits, - and _, beginning with a letter or digit")


def check_positive(context: object, *names: str) -> None:
    """Raise ValueError unless each of these fields is above 0."""
    for name in names:
        check(getattr(context, name) > 0, name, getattr(context, name), "use a number above 0")


def check(holds: bool, name: str, value: Any, advice: str) -> None:
    """Raise ValueError, naming the context's field, its value and what to do, unless `holds`."""
    if not holds:
        raise ValueError(f"Context.{name}={value!r} cannot work: {advice}.")
