"""Candidates: at each stored turn the start policy says several things, and the critic ranks them (Zhou et al. 2025, section 4.2).

    python -m training stage runs/demo seed-0/candidates

A reply that was sampled several times is scored once, and counts as often as it was sampled. A pair for the actor is a random one
of the upper half against a random one of the lower half; two of the same text or of the same advantage make none.

That is the paper's rule, and with it a small actor answers too early, or, where the reference sees c, never. Every dialogue has
exactly one answer: a constant added to the advantage of all answers cancels in the critic's loss, so the data do not say whether to
ask or to answer. And an answer's mean over its many tokens is nearly 0, whatever it says, while that of a question asked in vain is
below it. So with a margin like is compared with like: questions with questions, answers with answers, each as often as the start
policy says one, and a difference below the margin is none. Where there is none the pair is a sample of the start policy against
itself: DPO learns nothing from it, and the likelihood of what is chosen holds the actor where it was, above all in how often it
answers.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from tasks.answers import answer_in, split_reply
from tasks.trajectory import Trajectory
from training.critic import Form, Head, shown_to, turn_advantages, without_hidden
from training.generate import generate
from training.messages import before_turn
from training.policy import NO_TURN, Message, Policy, Rendered, TooLong
from training.preference import Row, with_reference

ActorPair = tuple[list[Message], str, str]
"""What the agent saw, and what it is to say rather than what."""


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
        for number in range(sum(turn.role == "agent" for turn in trajectory.turns)):
            messages = before_turn(trajectory, number)
            found.setdefault(repr((trajectory.task, messages)), (trajectory.task, messages))
    return list(found.values())


def sample_candidates(
    start: Policy, turns: Sequence[tuple[str, list[Message]]], *, samples: int, most: int, rows: int, seed: int
) -> list[tuple[str, list[Message], Counter[str]]]:
    """What the start policy says at each turn at temperature 1, with how often it says it; too long ones are left out."""
    made = []
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
        texts = [split_reply(start.tokenizer.decode(r, skip_special_tokens=True))[1] for r in replies]  # what is said
        for n, (task, messages, _) in enumerate(part):
            said = Counter(t for t in texts[n * samples : (n + 1) * samples] if t)
            if said:
                made.append((task, messages, said))
    return made


def score_candidates(
    critic: Policy, form: Form, head: Head | None, sampled: Sequence[tuple[str, list[Message], Counter[str]]],
    micro_batch: int,
) -> list[StoredTurn]:  # fmt: skip
    """The advantage of each candidate."""
    rendered: list[Rendered] = []
    blind: list[Rendered] = []
    fitting = []
    for task, messages, said in sampled:
        number = sum(m["role"] == "assistant" for m in messages)
        try:
            rows = [
                [critic.render([*seen, {"role": "assistant", "content": text}], only=number) for text in said]
                for seen in (shown_to(form, messages, task), shown_to(without_hidden(form), messages, task))
            ]
        except TooLong:
            continue
        rendered += rows[0]
        blind += rows[1]
        fitting.append((task, messages, said))
    rows_ = _rows(critic, form, head, rendered, blind, micro_batch)
    values = iter(turn_advantages(critic, form, head, rows_, micro_batch))
    return [
        StoredTurn(task, messages, [Candidate(text, count, next(values)[0]) for text, count in said.items()])
        for task, messages, said in fitting
    ]


def _rows(
    critic: Policy, form: Form, head: Head | None, rendered: list[Rendered], blind: list[Rendered], micro_batch: int
) -> list[Row]:
    if head is not None:
        return [Row(r) for r in rendered]
    rows = with_reference(critic, blind if not form.reference_sees else rendered, micro_batch, "candidates")
    if form.reference_sees:
        return rows
    return [Row(seen, _moved(row, seen)) for row, seen in zip(rows, rendered, strict=True)]


def _moved(row: Row, seen: Rendered) -> torch.Tensor:
    """A reference of another prompt, laid under the same reply of this one."""
    assert row.reference is not None
    values = torch.zeros(len(seen.ids) - 1)
    said = row.reference[torch.tensor(row.rendered.turns[1:]) != NO_TURN]
    values[torch.tensor(seen.turns[1:]) != NO_TURN] = said
    return values


def actor_pairs(
    turns: Sequence[StoredTurn], draws: int, seed: int, margin: float | None = None
) -> tuple[list[ActorPair], int]:
    """(messages, chosen, rejected) for the actor, `draws` times a turn; and the number of draws that prefer nothing.

    Without a margin the paper's rule, and those draws make no pair; with one, like against like, and they make a pair of equals.
    """
    rng = random.Random(seed)
    pairs: list[ActorPair] = []
    none = 0
    for turn in turns:
        ranked = turn.ranked()
        for _ in range(draws):
            some = ranked
            if margin is not None:
                drawn = rng.choice(ranked)
                some = [c for c in ranked if is_answer(c) == is_answer(drawn)]
            half = len(some) // 2
            if half:
                upper, lower = rng.choice(some[:half]), rng.choice(some[len(some) - half :])
                ahead = upper.advantage - lower.advantage
                if upper.text != lower.text and (ahead > 0 if margin is None else ahead >= margin):
                    pairs.append((turn.messages, upper.text, lower.text))
                    continue
            none += 1
            if margin is not None:
                pairs.append((turn.messages, drawn.text, drawn.text))
    return pairs, none


def is_answer(candidate: Candidate) -> bool:
    """Whether it ends the dialogue."""
    return answer_in(candidate.text) is not None
