"""Dialogues as tensors: rendered rows, padded batches of them, and what a model says of their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

NO_TURN = -1


@dataclass(frozen=True)
class Rendered:
    """A dialogue as the model sees it."""

    ids: tuple[int, ...]
    turns: tuple[int, ...]
    """For each token the number of the agent's turn that it is of, from 0; NO_TURN for tokens that are not the agent's. A turn
    ends with its end-of-turn token, which the agent says too."""


@dataclass(frozen=True)
class Batch:
    """Padded rows, [rows, length] each."""

    ids: torch.Tensor
    seen: torch.Tensor
    """1 where there is a token, 0 for padding."""
    positions: torch.Tensor
    turns: torch.Tensor
    """Number of the agent's turn, NO_TURN elsewhere."""


def collate(
    rows: Sequence[Rendered], pad: int, device: torch.device, side: Literal["left", "right"] = "right"
) -> Batch:
    """Rows of one length: what is padded has no position, no turn, and is not attended to."""
    length = max(len(row.ids) for row in rows)

    def padded(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        made = [
            [*v, *[fill] * (length - len(v))] if side == "right" else [*[fill] * (length - len(v)), *v] for v in values
        ]
        return torch.tensor(made, device=device)

    seen = padded([[1] * len(row.ids) for row in rows], 0)
    return Batch(
        ids=padded([row.ids for row in rows], pad),
        seen=seen,
        positions=(seen.cumsum(1) - 1).clamp(min=0),
        turns=padded([row.turns for row in rows], NO_TURN),
    )


def token_log_probs(model: Any, batch: Batch) -> torch.Tensor:
    """log π(token | all before it), [rows, length - 1], of the tokens from the second on."""
    from trl.trainer.utils import selective_log_softmax

    out = model(input_ids=batch.ids, attention_mask=batch.seen, position_ids=batch.positions, use_cache=False)
    found: torch.Tensor = selective_log_softmax(out.logits[:, :-1].float(), batch.ids[:, 1:])
    return found


def turn_sums(values: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of token values over each of the agent's turns, and how many tokens each has: two tensors of [rows, turns].

    `values` and `turns` are [rows, length]; a row with fewer turns has 0 tokens in the others.
    """
    most = int(turns.max()) + 1
    if most < 1:
        raise ValueError("No token of these rows is the agent's.")
    at = torch.where(turns == NO_TURN, most, turns)
    sums = values.new_zeros(len(values), most + 1).scatter_add(1, at, values)
    counts = values.new_zeros(len(values), most + 1).scatter_add(1, at, torch.ones_like(values))
    return sums[:, :most], counts[:, :most]
