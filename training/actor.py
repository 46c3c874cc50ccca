"""The actor: DPO on single turns whose pairs the critic chose, without hidden information (Zhou et al. 2025, section 4.2).

loss = −log σ(β′ log π_φ/π_ref (a⁺ | o_t) − β′ log π_φ/π_ref (a⁻ | o_t)) + nll · NLL(a⁺)

python -m training stage runs/demo seed-0/sweet_house

The paper's pairs (`published_pairs`): a random candidate of the upper half against a random one of the lower half; two of the same
text or the same advantage make none.

Departures of the house's pairs (`house_pairs`):
1. With the paper's rule a small actor answers too early. Every dialogue has exactly one answer, so a constant added to the
   advantage of all answers cancels in the critic's loss: the data do not say whether to ask or to answer. So questions are compared
   with questions and answers with answers, each as often as the start policy says one.
2. A difference in advantage below the margin is none.
3. A draw that prefers nothing makes a pair of a sample with itself: DPO learns nothing from it, and the likelihood of what is
   chosen holds the actor where it was, above all in how often it answers.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.answers import answer_in
from tasks.dialogue import Message
from training.candidates import Candidate, StoredTurn
from training.messages import with_reply
from training.mtdpo import fit_pairs
from training.stage import Job, Stage, Workspace, finish_policy, read_rows

ActorPair = tuple[list[Message], str, str]
"""What the agent saw, and what it is to say rather than what."""
PUBLISHED_BETA, PUBLISHED_NLL = 0.1, 0.01
"""The paper's weights of the actor (table 5)."""


def published_pairs(turns: Sequence[StoredTurn], draws: int, seed: int) -> tuple[list[ActorPair], int]:
    """Pairs by the paper's rule, `draws` times a turn; and the number of draws that made none."""
    rng = random.Random(seed)
    pairs: list[ActorPair] = []
    none = 0
    for turn in turns:
        for _ in range(draws):
            drawn = _draw(rng, turn.ranked())
            if drawn is None or drawn[0].advantage <= drawn[1].advantage:
                none += 1
            else:
                pairs.append((turn.messages, drawn[0].text, drawn[1].text))
    return pairs, none


def house_pairs(turns: Sequence[StoredTurn], draws: int, seed: int, margin: float) -> tuple[list[ActorPair], int]:
    """Pairs of like replies, `draws` times a turn, and how many draws prefer nothing; those make pairs of equals.

    `margin` is in standard deviations of the turn's advantages.
    """
    rng = random.Random(seed)
    pairs: list[ActorPair] = []
    none = 0
    for turn in turns:
        ranked = turn.ranked()
        least = margin * statistics.pstdev(c.advantage for c in ranked)
        for _ in range(draws):
            own = rng.choice(ranked)
            drawn = _draw(rng, [c for c in ranked if is_answer(c) == is_answer(own)])
            if drawn is None or drawn[0].advantage - drawn[1].advantage < least:
                none += 1
                drawn = own, own
            pairs.append((turn.messages, drawn[0].text, drawn[1].text))
    return pairs, none


def _draw(rng: random.Random, ranked: Sequence[Candidate]) -> tuple[Candidate, Candidate] | None:
    """One of the upper half and one of the lower, if they differ."""
    half = len(ranked) // 2
    if not half:
        return None
    upper, lower = rng.choice(ranked[:half]), rng.choice(ranked[len(ranked) - half :])
    return (upper, lower) if upper.text != lower.text else None


def is_answer(candidate: Candidate) -> bool:
    """Whether it ends the dialogue."""
    return answer_in(candidate.text) is not None


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The policy that SWEET-RL is for."""
    recipe = workspace.recipe_of(job)
    settings = recipe.candidates
    turns = [
        StoredTurn(row["task"], row["messages"], [Candidate(**c) for c in row["candidates"]])
        for row in read_rows(workspace.path(job.of("ranked")) / "ranked.jsonl")
    ]
    config = replace(recipe.actor, fitting=replace(recipe.actor.fitting, seed=job.seed))
    if job.variant.row.published_pairs:
        pairs, none = published_pairs(turns, settings.draws, job.seed)
        config = replace(config, beta=PUBLISHED_BETA, nll=PUBLISHED_NLL)
    else:
        pairs, none = house_pairs(turns, settings.draws, job.seed, settings.margin)
    policy = workspace.new_policy(job.seed)
    dialogues = [(with_reply(seen, chosen), with_reply(seen, rejected)) for seen, chosen, rejected in pairs]
    history: list[dict[str, float]] = []
    left_out: dict[str, int] = {}
    if pairs:  # an untrained critic in the paper's form prefers nothing: the actor stays the start policy
        history, left_out = fit_pairs(policy, dialogues, config, part, "actor", only_last=True)
    finish_policy(policy, part, history, {"draws that prefer nothing": none, **left_out})


STAGE = Stage("sweet", make, needs=("ranked",))
