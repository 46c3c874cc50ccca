"""How well a critic tells good turns from bad ones, on our own tasks, where it is known which they are.

At the same turn of a held-out dialogue: a question about something open against one about what the description tells (wasted) and
one that was answered before (redundant); the right program against one with a single decision wrong.
"""

import random
from collections.abc import Sequence
from typing import Literal

from tasks.answers import MARKER
from tasks.book import find_task
from tasks.colbench import Task
from tasks.families import FAMILIES, Decision, Family, Option
from tasks.trajectory import Trajectory
from training.messages import before_turn
from training.policy import Message

Contrast = Literal["useful > wasted", "useful > redundant", "right > wrong"]


def contrasts(trajectories: Sequence[Trajectory], seed: int) -> list[tuple[Contrast, str, list[Message], str, str]]:
    """(contrast, task, what the agent saw, the better reply, the worse one), of every turn that allows one."""
    rng = random.Random(seed)
    found: list[tuple[Contrast, str, list[Message], str, str]] = []
    for trajectory in trajectories:
        if not trajectory.task.startswith("own-backend/"):
            continue
        task = find_task(trajectory.task)
        family = FAMILIES[int(trajectory.task.rpartition("/")[2]) % len(FAMILIES)]
        hidden = {fact.key for fact in task.facts}
        for number in range(sum(turn.role == "agent" for turn in trajectory.turns)):
            messages = before_turn(trajectory, number)
            heard = "\n".join(m["content"] for m in messages[2:] if m["role"] == "user")
            known = {fact.key for fact in task.facts if fact.statement in heard}
            open_ = [d for d in family.decisions if d.key in hidden - known]
            told = [d for d in family.decisions if d.key not in hidden]
            again = [d for d in family.decisions if d.key in known]
            if open_ and told:
                found.append(("useful > wasted", task.task_id, messages, *_questions(rng, open_, told)))
            if open_ and again:
                found.append(("useful > redundant", task.task_id, messages, *_questions(rng, open_, again)))
            if not open_:
                right, wrong = _programs(rng, task, family)
                found.append(("right > wrong", task.task_id, messages, right, wrong))
    return found


def _questions(rng: random.Random, good: list[Decision], bad: list[Decision]) -> tuple[str, str]:
    return rng.choice(good).question, rng.choice(bad).question


def _programs(rng: random.Random, task: Task, family: Family) -> tuple[str, str]:
    """The right answer, and one with a hidden decision wrong."""
    values = {fact.key: fact.value for fact in task.facts}
    options: dict[str, Option] = {
        d.key: next(
            o
            for o in d.options
            if o.value == values.get(d.key) or (d.key not in values and o.statement in task.description)
        )
        for d in family.decisions
    }
    wrong = rng.choice([d for d in family.decisions if d.key in values])
    other = rng.choice([o for o in wrong.of_split(task.split) if o != options[wrong.key]])
    right = family.program(options)
    return f"{MARKER}\n{right}".strip(), f"{MARKER}\n{family.program({**options, wrong.key: other})}".strip()
