"""Candidates: at each stored turn the start policy says several things (Zhou et al. 2025, section 4.2).

    python -m training stage runs/demo seed-0/candidates

A reply that was sampled several times stands once, and counts as often as it was sampled.

Departures from the paper:
1. So many turns as the recipe's share of the replies allows, at random of all collected dialogues; the paper takes 10 % of these.
2. Thoughts are cut off before a reply counts.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from models.thoughts import split_thoughts
from tasks.answers import split_reply
from tasks.dialogue import Message
from tasks.trajectory import Trajectory
from training.generate import generate
from training.messages import before_turn
from training.policy import Policy, TooLong
from training.stage import Job, Stage, Workspace, write_result, write_rows

Sampled = tuple[str, list[Message], Counter[str]]
"""Task, what the agent saw, and how often each reply was sampled there."""


@dataclass(frozen=True)
class Candidate:
    """One thing that the start policy could have said."""

    text: str
    count: int
    """How often it was sampled."""
    advantage: float


@dataclass(frozen=True)
class StoredTurn:
    """A turn of a stored dialogue, with what could have been said there."""

    task: str
    messages: list[Message]
    """What the agent saw; without hidden information."""
    candidates: list[Candidate]

    def ranked(self) -> list[Candidate]:
        """Every sample, best first; equal ones by their text."""
        rows = sorted(self.candidates, key=lambda c: (-c.advantage, c.text))
        return [c for c in rows for _ in range(c.count)]


def stored_turns(trajectories: Sequence[Trajectory]) -> list[tuple[str, list[Message]]]:
    """Task and what the agent saw, of every turn; a prefix that several dialogues share stands once."""
    found: dict[str, tuple[str, list[Message]]] = {}
    for trajectory in trajectories:
        for number in range(len(trajectory.replies)):
            messages = before_turn(trajectory, number)
            found.setdefault(repr((trajectory.task, messages)), (trajectory.task, messages))
    return list(found.values())


def sample_candidates(
    start: Policy, turns: Sequence[tuple[str, list[Message]]], *, samples: int, most: int, rows: int, seed: int
) -> tuple[list[Sampled], dict[str, int]]:
    """What the start policy says at each turn at temperature 1; and how many turns were left out, by reason."""
    made: list[Sampled] = []
    fitting = []
    for task, messages in turns:
        try:
            fitting.append((task, messages, start.prompt(messages)))
        except TooLong:
            continue
    at_once = max(1, rows // samples)
    for at in tqdm(range(0, len(fitting), at_once), desc="candidates", disable=None):
        part = fitting[at : at + at_once]
        prompts = [ids for _, _, ids in part for _ in range(samples)]
        replies = generate(start, prompts, most=most, temperature=1.0, seed=seed * 1_000_003 + 500_000 + at)
        texts = [said_in(start.tokenizer.decode(r, skip_special_tokens=True)) for r in replies]
        for n, (task, messages, _) in enumerate(part):
            said = Counter(t for t in texts[n * samples : (n + 1) * samples] if t)
            if said:
                made.append((task, messages, said))
    too_long = len(turns) - len(fitting)
    left_out = {"turns longer than the window": too_long, "turns whose replies are all empty": len(fitting) - len(made)}
    return made, left_out


def said_in(reply: str) -> str:
    """What the person is told, without thoughts."""
    return split_reply(split_thoughts(reply)[1])[1]


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """What the start policy would say at stored turns."""
    policy, recipe = workspace.start_policy(job.seed), workspace.recipe_of(job)
    turns = stored_turns(workspace.collected(job))
    random.Random(job.seed).shuffle(turns)
    turns = turns[: workspace.candidates_allowed(job) // recipe.candidates.samples]
    sampled, left_out = sample_candidates(
        policy, turns, samples=recipe.candidates.samples, most=recipe.rollouts.most, rows=recipe.rollouts.rows,
        seed=job.seed,
    )  # fmt: skip
    write_rows(part / "candidates.jsonl", [{"task": t, "messages": m, "said": dict(said)} for t, m, said in sampled])
    write_result(part, {"turns": len(turns), "left_out": left_out})


STAGE = Stage("candidates", make, needs=("collect",))
