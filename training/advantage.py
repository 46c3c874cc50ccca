"""The advantage of a turn, as a critic of some form sees it (Zhou et al. 2025, section 4.1); critic.py trains it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tasks.dialogue import Message
from tasks.lookup import find_task
from tasks.trajectory import Trajectory
from training.batch import NO_TURN, turn_sums
from training.config import CriticForm
from training.home import home
from training.messages import hidden_information, whole
from training.policy import Policy
from training.preference import ReferencedRow, log_ratios


def messages_for(form: CriticForm, trajectory: Trajectory) -> list[Message]:
    """The whole dialogue as the critic reads it."""
    return shown_to(form, whole(trajectory), trajectory.task)


def shown_to(form: CriticForm, messages: Sequence[Message], task: str) -> list[Message]:
    """Messages with the task's hidden reference, where the critic sees it. Raises BadTask."""
    return hidden_information(messages, find_task(task, home())) if form.hidden else list(messages)


def without_hidden(form: CriticForm) -> CriticForm:
    """The same form as its reference policy reads it when candidates are scored."""
    return form if form.reference_sees else replace(form, hidden=False)


def advantages(form: CriticForm, ratios: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """A of each turn, [rows, turns], 0 for turns that a row has not; from log-ratios and turn numbers of [rows, length]."""
    sums, counts = turn_sums(ratios, turns)
    if form.normalise == "none":
        return sums
    if form.normalise == "dialogue":
        return sums / counts.sum(1, keepdim=True)
    return sums / counts.clamp(min=1)


class Head(torch.nn.Module):
    """The regression head: A of a turn is linear in the mean of the last hidden states of its tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, 1, bias=False)
        torch.nn.init.zeros_(self.linear.weight)

    def forward(self, model: Any, batch: Any) -> torch.Tensor:
        """[rows, turns]."""
        out = model(
            input_ids=batch.ids, attention_mask=batch.seen, position_ids=batch.positions, use_cache=False,
            output_hidden_states=True,
        )  # fmt: skip
        values = self.linear(out.hidden_states[-1].float()).squeeze(-1)
        sums, counts = turn_sums(values, batch.turns)
        return sums / counts.clamp(min=1)


@torch.inference_mode()
def turn_advantages(
    policy: Policy, form: CriticForm, head: Head | None, rows: Sequence[ReferencedRow], micro_batch: int
) -> list[list[float]]:
    """A of each of the agent's turns that the rows mark, one list a row."""
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].rendered.ids))
    found: dict[int, list[float]] = {}
    for at in range(0, len(order), micro_batch):
        part = [rows[n] for n in order[at : at + micro_batch]]
        if head is not None:
            batch = policy.collate([r.rendered for r in part])
            values = head(policy.model, batch)
        else:
            ratios, _, batch = log_ratios(policy, part)
            values = advantages(form, ratios, batch.turns)
        for n, row, own in zip(order[at : at + micro_batch], part, values.tolist(), strict=True):
            found[n] = [own[turn] for turn in sorted(set(row.rendered.turns) - {NO_TURN})]
    return [found[n] for n in range(len(rows))]


def load_head(policy: Policy, form: CriticForm, folder: Path | None = None) -> Head | None:
    """The regression head, new or saved; None for the log-ratio."""
    if form.head != "regression":
        return None
    head = Head(policy.model.config.hidden_size).to(policy.device)
    if folder is not None:
        head.load_state_dict(torch.load(folder / "head.pt", weights_only=True))
    return head


def save_head(head: Head | None, folder: Path) -> None:
    """Keep the regression head beside the adapter."""
    if head is not None:
        torch.save(head.state_dict(), folder / "head.pt")
