"""What a policy reads: the chat messages of a trajectory, the same as its graph showed, with or without the hidden information.

What is learnt is what is said: thoughts are not in later prompts, and so neither in the replies that are trained.
"""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from nodes.collaborate.propose import dialogue
from nodes.collaborate.state import Turn
from tasks.colbench import Task
from tasks.trajectory import Trajectory
from training.policy import Message

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
    known = "\n".join([*(fact.statement for fact in task.facts), task.ground_truth])
    return [{"role": "system", "content": f"{system['content']}\n\n{HIDDEN}\n{known}"}, *rest]


def before_turn(trajectory: Trajectory, number: int) -> list[Message]:
    """What the agent saw before its turn of that number, from 0."""
    at = [n for n, turn in enumerate(trajectory.turns) if turn.role == "agent"][number]
    said = [Turn(role=t.role, content=t.content, thought=t.thought, leak=t.leak) for t in trajectory.turns[:at]]
    shown = dialogue(trajectory.kind, trajectory.description, trajectory.examples, said, trajectory.max_turns)
    return plain(shown)


def reply_of(trajectory: Trajectory, number: int) -> Message:
    """The agent's turn of that number, as the person and later prompts have it."""
    turn = [t for t in trajectory.turns if t.role == "agent"][number]
    return {"role": "assistant", "content": turn.content}


def whole(trajectory: Trajectory) -> list[Message]:
    """The whole dialogue, its last turn the agent's answer."""
    last = sum(t.role == "agent" for t in trajectory.turns) - 1
    return [*before_turn(trajectory, last), reply_of(trajectory, last)]
