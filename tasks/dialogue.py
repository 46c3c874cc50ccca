"""A dialogue between agent and person: the one form of its turns that nodes, pages and training share, and the prompt it makes."""

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from tasks.answers import MARKER

LAST = f"This is your last turn. Reply with `{MARKER}` and the whole result after it."

Message = dict[str, str]
"""A message of a prompt: its role (system, user, assistant) and its content."""


class Turn(TypedDict):
    """One thing that was said. Agent and person speak in turn; the description is the person's turn before the first."""

    role: Literal["agent", "person"]
    content: str
    thought: str
    """Of the agent: what the person does not see."""
    leak: str
    """Of a simulated person: which kind of code of the reference it gave away, after several tries."""


def said_by(role: Literal["agent", "person"], turns: Sequence[Turn]) -> list[str]:
    """What one side said, in its order."""
    return [turn["content"] for turn in turns if turn["role"] == role]


def prompt_of(
    instructions: str, description: str, examples: str, turns: Sequence[Turn], max_turns: int
) -> list[Message]:
    """The prompt of the agent's next turn: instructions (they name `{turns}`), description, examples, and what was said."""
    shown = f"\n\nExamples:\n{examples}" if examples else ""
    prompt: list[Message] = [
        {"role": "system", "content": instructions.format(turns=max_turns)},
        {"role": "user", "content": f"{description}{shown}"},
    ]
    prompt += [{"role": "assistant" if t["role"] == "agent" else "user", "content": t["content"]} for t in turns]
    if len(said_by("agent", turns)) >= max_turns - 1:
        prompt[-1] = {**prompt[-1], "content": f"{prompt[-1]['content']}\n\n[{LAST}]"}
    return prompt
