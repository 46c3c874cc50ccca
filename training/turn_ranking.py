"""How well a critic tells good turns from bad ones, on our own tasks, where it is known which they are.

At the same turn of a held-out dialogue: a question about something open against one about what the description tells (wasted) and
one that was answered before (redundant); the right program against one with a single decision wrong.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from tasks.answers import MARKER
from tasks.colbench import Task
from tasks.decisions import Decision, Family, Option, OwnSplit, phrasings
from tasks.dialogue import Message
from tasks.families import FAMILIES
from tasks.lookup import find_task
from tasks.trajectory import Trajectory
from training.advantage import Head, messages_for, turn_advantages
from training.config import CriticForm
from training.home import home
from training.messages import before_turn
from training.pairs import NoPairs, make_pairs
from training.policy import Policy
from training.preference import ReferencedRow, render_pairs, with_reference
from training.ranked import score_candidates
from training.recipe import Recipe
from training.stage import first_of_each_task

Contrast = Literal["useful > wasted", "useful > redundant", "right > wrong"]


def contrasts(trajectories: Sequence[Trajectory], seed: int) -> list[tuple[Contrast, str, list[Message], str, str]]:
    """(contrast, task, what the agent saw, the better reply, the worse one), of every turn that allows one."""
    rng = random.Random(seed)
    found: list[tuple[Contrast, str, list[Message], str, str]] = []
    for trajectory in trajectories:
        if not trajectory.task.startswith("own-backend/"):
            continue
        task = find_task(trajectory.task, home())
        family = FAMILIES[int(trajectory.task.rpartition("/")[2]) % len(FAMILIES)]
        hidden = {fact.key for fact in task.facts}
        for number in range(len(trajectory.replies)):
            messages = before_turn(trajectory, number)
            heard = "\n".join(m["content"] for m in messages[2:] if m["role"] == "user")
            uncovered = {fact.key for fact in task.facts if fact.statement in heard}
            open_ = [d for d in family.decisions if d.key in hidden - uncovered]
            stated = [d for d in family.decisions if d.key not in hidden]
            again = [d for d in family.decisions if d.key in uncovered]
            if open_ and stated:
                found.append(("useful > wasted", task.task_id, messages, *_questions(rng, open_, stated)))
            if open_ and again:
                found.append(("useful > redundant", task.task_id, messages, *_questions(rng, open_, again)))
            if not open_:
                right, wrong = _programs(rng, task, family)
                found.append(("right > wrong", task.task_id, messages, right, wrong))
    return found


def _questions(rng: random.Random, good: list[Decision], bad: list[Decision]) -> tuple[str, str]:
    better, worse = (rng.choice(phrasings(rng.choice(some).questions, "train")) for some in (good, bad))
    return better, worse


def _programs(rng: random.Random, task: Task, family: Family) -> tuple[str, str]:
    """The right answer, and one with a hidden decision wrong."""
    values = {fact.key: fact.value for fact in (*task.facts, *task.stated)}
    options: dict[str, Option] = {
        d.key: next(o for o in d.options if o.value == values.get(d.key)) for d in family.decisions
    }
    hidden = {fact.key for fact in task.facts}
    wrong = rng.choice([d for d in family.decisions if d.key in hidden])
    split: OwnSplit = task.split or "train"
    other = rng.choice([o for o in wrong.of_split(split) if o != options[wrong.key]])
    right = family.program(options)
    return f"{MARKER}\n{right}".strip(), f"{MARKER}\n{family.program({**options, wrong.key: other})}".strip()


def validate(
    policy: Policy, form: CriticForm, head: Head | None, held_out: Sequence[Trajectory], recipe: Recipe, seed: int
) -> dict[str, list[float]]:
    """Verdicts of pairs and, with own tasks, of turns: whether the better one has the higher advantage (`ahead`)."""
    micro = recipe.critic.fitting.micro_batch
    try:
        pairs = make_pairs(held_out, recipe.pairing, recipe.margin).pairs
    except NoPairs:
        pairs = []
    fitting, _ = render_pairs(
        policy, [(messages_for(form, better), messages_for(form, worse)) for better, worse in pairs]
    )
    rows = [row for pair in fitting for row in pair]
    # As in training, the reference sees what the critic sees; for the contrasts as where candidates are scored.
    scored_rows = (
        [ReferencedRow(r) for r in rows] if head is not None else with_reference(policy, rows, micro, "validation")
    )
    sums = [sum(a) for a in turn_advantages(policy, form, head, scored_rows, micro)]
    measured = {"pairs": [ahead(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]}
    verdicts: dict[str, list[float]] = {"useful > wasted": [], "useful > redundant": [], "right > wrong": []}
    found = contrasts(first_of_each_task(held_out), seed)
    sampled = [(task, messages, Counter([better, worse])) for _, task, messages, better, worse in found]
    scored = {
        repr((turn.task, turn.messages, [c.text for c in turn.candidates])): turn.candidates
        for turn in score_candidates(policy, form, head, sampled, micro)
    }
    for contrast, task, messages, better, worse in found:
        if both := scored.get(repr((task, messages, [better, worse]))):  # not those longer than the window
            verdicts[contrast].append(ahead(both[0].advantage, both[1].advantage))
    return {**measured, **verdicts}


def ahead(better: float, worse: float) -> float:
    """1 if the better is ranked above the worse, half if they are equal: what guessing would give."""
    return (float(better > worse) + float(better >= worse)) / 2
