"""What a policy reads: the chat messages of a trajectory, the same as its graph showed, with or without the hidden information.

What is learnt is what is said: thoughts are not in later prompts, and so neither in the replies that are trained.

Departures: (1) the critic reads the single facts that a description leaves open, besides the reference, where a task has them.
"""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from tasks.colbench import Task
from tasks.dialogue import Message, prompt_of
from tasks.kinds import ENVIRONMENTS
from tasks.trajectory import Trajectory

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
HIDDEN = "Hidden information, which the assistant of this dialogue did not see:"


def plain(messages: Sequence[BaseMessage]) -> list[Message]:
    """LangChain's messages as chat templates take them."""
    return [{"role": ROLES[m.type], "content": m.text} for m in messages]


def hidden_information(messages: Sequence[Message], task: Task) -> list[Message]:
    """The dialogue with what the person knows inside the system message, as a critic sees it: the single facts that the
    description leaves open, where a task has them, and the reference.
    """
    system, *rest = messages
    hidden = "\n".join([*(fact.statement for fact in task.facts), task.ground_truth])
    return [{"role": "system", "content": f"{system['content']}\n\n{HIDDEN}\n{hidden}"}, *rest]


def before_turn(trajectory: Trajectory, number: int) -> list[Message]:
    """What the agent saw before its turn of that number, from 0."""
    instructions = ENVIRONMENTS[trajectory.kind].instructions
    said = trajectory.turns[: 2 * number]
    return prompt_of(instructions, trajectory.description, trajectory.examples, said, trajectory.max_turns)


def whole(trajectory: Trajectory) -> list[Message]:
    """The whole dialogue, its last turn the agent's answer. Raises ValueError if the agent says nothing in it."""
    if not trajectory.replies:
        raise ValueError("A dialogue in which the agent says nothing has nothing to learn from.")
    return with_reply(before_turn(trajectory, len(trajectory.replies) - 1), trajectory.replies[-1])


def with_reply(messages: Sequence[Message], reply: str) -> list[Message]:
    """The dialogue with the agent's reply at its end."""
    return [*messages, {"role": "assistant", "content": reply}]
