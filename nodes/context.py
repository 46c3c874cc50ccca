"""What the contexts of all machines have in common: whose run it is, its model and settings, and how fields are checked."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from langchain_core.language_models import BaseChatModel
from pydantic.json_schema import SkipJsonSchema

from settings import Settings

STATE_VERSION = 2
"""Of the form of every machine's state: a run of another version is migrated, or refused."""
EXTRA_SUPERSTEPS = 20  # graph steps of a run that no budget counts


class TaskInput(TypedDict):
    """The input of the machines that solve a task."""

    task: str


@dataclass(kw_only=True)
class RunContext:
    """What a caller sets for a run of any machine. Raises ValueError, naming the field, for a value that cannot work."""

    ROUNDS: ClassVar[str] = "max_steps"
    """The field that bounds the machine's rounds."""

    agent: str = "palimpsest"
    """Whose memory and lessons: letters, digits, - and _. Agents never see each other's."""
    model: str | SkipJsonSchema[BaseChatModel] = ""
    """Name of a model at the endpoint, or a chat model; empty: as the settings say."""
    settings: SkipJsonSchema[Settings | None] = None
    """Endpoints, keys and folders; the runtime gives its own. None: those of the environment."""

    def __post_init__(self) -> None:
        check_agent(self.agent)

    @property
    def supersteps(self) -> int:
        """LangGraph's recursion limit for a run, above what the machine's own budget allows."""
        return EXTRA_SUPERSTEPS + 4 * int(getattr(self, self.ROUNDS))


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
