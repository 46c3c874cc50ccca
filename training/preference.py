"""Learning from pairs: what is common to the critic, the actor and multi-turn DPO.

A row is a rendered dialogue with the reference policy's log-probabilities of it, which are computed once, before training: the
reference does not change, and so a step takes one pass of the model and no second copy of it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from tqdm import tqdm

from tasks.dialogue import Message
from training.batch import NO_TURN, Batch, Rendered, token_log_probs
from training.policy import Policy, TooLong


@dataclass(frozen=True)
class ReferencedRow:
    """A dialogue, or one turn after what was before it."""

    rendered: Rendered
    reference: torch.Tensor | None = None
    """log π_ref of the tokens from the second on, [length - 1]."""


@dataclass(frozen=True)
class Pair:
    """Two rows of which the first is preferred."""

    chosen: ReferencedRow
    rejected: ReferencedRow


def render_pairs(
    policy: Policy, pairs: Sequence[tuple[Sequence[Message], Sequence[Message]]], only_last: bool = False
) -> tuple[list[tuple[Rendered, Rendered]], dict[str, int]]:
    """The pairs of dialogues as the policy reads them, and how many were left out. `only_last`: the last turn is learnt from."""
    rendered = []
    for chosen, rejected in pairs:
        with suppress(TooLong):
            rendered.append((policy.render(chosen, only_last), policy.render(rejected, only_last)))
    return rendered, {"pairs longer than the window": len(pairs) - len(rendered)}


@torch.inference_mode()
def with_reference(policy: Policy, rows: Sequence[Rendered], micro_batch: int, name: str) -> list[ReferencedRow]:
    """The rows with the reference policy's log-probabilities."""
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].ids))  # rows of like length share a batch
    done: dict[int, ReferencedRow] = {}
    with policy.reference():
        for at in tqdm(range(0, len(order), micro_batch), desc=f"{name}: reference", disable=None):
            part = order[at : at + micro_batch]
            batch = policy.collate([rows[n] for n in part])
            values = token_log_probs(policy.model, batch).cpu()
            for n, own, there in zip(part, values, followed(batch).cpu(), strict=True):
                done[n] = ReferencedRow(rows[n], own[there])
    return [done[n] for n in range(len(rows))]


def followed(batch: Batch) -> torch.Tensor:
    """[rows, length - 1]: where a token from the second on stands, on whichever side the padding is."""
    return (batch.seen[:, 1:] * batch.seen[:, :-1]).bool()


def pairs_with_reference(
    policy: Policy, pairs: Sequence[tuple[Rendered, Rendered]], micro_batch: int, name: str
) -> list[Pair]:
    """The pairs, each row of which has its reference; a row that stands in many pairs is computed once."""
    rows = list(dict.fromkeys(row for pair in pairs for row in pair))
    by_dialogue = dict(zip(rows, with_reference(policy, rows, micro_batch, name), strict=True))
    return [Pair(by_dialogue[chosen], by_dialogue[rejected]) for chosen, rejected in pairs]


def log_ratios(policy: Policy, rows: Sequence[ReferencedRow]) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """(log π/π_ref, log π, the batch without its first column): [rows, length - 1] each, 0 where the token is not the agent's."""
    batch = policy.collate([row.rendered for row in rows])
    now = token_log_probs(policy.model, batch)
    reference = torch.zeros_like(now)
    for row, values, there in zip(rows, reference, followed(batch), strict=True):
        assert row.reference is not None, "rows are made by with_reference"
        values[there] = row.reference.to(now.device)
    turns = batch.turns[:, 1:]
    said = turns != NO_TURN
    return (now - reference) * said, now * said, replace(batch, turns=turns)


def dpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """−log σ(β·(chosen − rejected)) of summed log-ratios, [pairs] each: Rafailov et al. 2023, equation 7; SWEET-RL, section 4.2."""
    return -logsigmoid(beta * (chosen - rejected))


def direct_preference(
    policy: Policy, pairs: Sequence[Any], beta: float, nll: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """DPO + nll · (negative log-likelihood of what was chosen), on the agent's tokens alone; and its metrics."""
    rows = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    ratios, log_probs, batch = log_ratios(policy, rows)
    chosen, rejected = ratios.sum(1).chunk(2)
    said = (batch.turns != NO_TURN)[: len(pairs)]
    likelihood = -(log_probs[: len(pairs)].sum(1) / said.sum(1)).mean()  # over a row's tokens, then over the rows
    loss = dpo_loss(chosen, rejected, beta).mean() + nll * likelihood
    metrics = {
        "accuracy": (chosen > rejected).float().mean().item(), "margin": (chosen - rejected).mean().item(),
        "chosen": chosen.mean().item(), "rejected": rejected.mean().item(), "nll": likelihood.item(),
    }  # fmt: skip
    return loss, metrics
