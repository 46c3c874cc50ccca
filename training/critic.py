"""The critic: a turn-wise advantage that sees the hidden reference (Zhou et al. 2025, section 4.1).

    A(o_t, a_t, c) = 1/L_t · Σ_l [log π_θ(a_t^l | c, o_t, a_t^<l) − log π_ref(a_t^l | o_t, a_t^<l)]
    loss           = −log σ(β Σ_t A(o_t⁺, a_t⁺, c) − β Σ_t A(o_t⁻, a_t⁻, c))

    python -m training stage runs/demo seed-0/critic

θ is the adapter, ref the same model without it. c stands in the system message, and only the agent's tokens count. The reference
sees c while the critic is trained, where that is a constant of each pair, and not while it scores: so does the published code. In
the paper's text it sees c in both; then all that the start policy can read in c cancels, which in our demonstration is most of what
there is to know of a question (`paper` in the ablations). The other ablations: no hidden information; no length normalisation; the
published code's mean over all tokens of the dialogue; a regression head, linear in the mean hidden state of each turn; no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from tasks.book import find_task
from tasks.trajectory import Trajectory
from training.fit import Fitting, fit
from training.messages import hidden_information, whole
from training.policy import NO_TURN, Message, Policy, Rendered, TooLong, turn_sums
from training.preference import Pair, Row, dpo_loss, log_ratios, pairs_with_reference


@dataclass(frozen=True, kw_only=True)
class Form:
    """Which critic it is."""

    hidden: bool = True
    """Whether it sees the reference."""
    normalise: Literal["turn", "none", "dialogue"] = "turn"
    """Mean over each turn's tokens; sum; or, as in the published code, the mean over all the agent's tokens of the dialogue."""
    reference_sees: bool = False
    """Whether the reference policy sees it too when candidates are scored."""
    head: Literal["log_ratio", "regression"] = "log_ratio"
    trained: bool = True
    """If not, the start policy itself is the critic: what it reads in c is all that it knows."""


@dataclass(frozen=True, kw_only=True)
class CriticSetting:
    """How the critic is trained (paper, table 5, but for lr)."""

    beta: float = 0.1
    nll: float = 0.01
    fitting: Fitting = field(default_factory=Fitting)


FORMS = {
    "default": Form(),
    "paper": Form(reference_sees=True),
    "no_hidden_information": Form(hidden=False),
    "no_length_normalisation": Form(normalise="none"),
    "released": Form(normalise="dialogue"),
    "regression_head": Form(head="regression"),
    "untrained": Form(trained=False),
}


def messages_for(form: Form, trajectory: Trajectory) -> list[Message]:
    """The whole dialogue as the critic reads it."""
    return shown_to(form, whole(trajectory), trajectory.task)


def shown_to(form: Form, messages: Sequence[Message], task: str) -> list[Message]:
    """Messages with the task's hidden reference, where the critic sees it. Raises BadTask."""
    return hidden_information(messages, find_task(task)) if form.hidden else list(messages)


def advantages(form: Form, ratios: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
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


def critic_loss(
    policy: Policy, form: Form, head: Head | None, pairs: Sequence[Pair], beta: float, nll: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """Bradley–Terry loss of the summed advantages, and nll times the negative log-likelihood of what was chosen."""
    rows = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    if head is not None:
        batch = policy.collate([row.rendered for row in rows])
        chosen, rejected = head(policy.model, batch).sum(1).chunk(2)
        likelihood = torch.zeros(())
    else:
        ratios, log_probs, batch = log_ratios(policy, rows)
        chosen, rejected = advantages(form, ratios, batch.turns).sum(1).chunk(2)
        sums, counts = turn_sums(log_probs[: len(pairs)], batch.turns[: len(pairs)])
        likelihood = -((sums / counts.clamp(min=1)).sum(1) / (counts > 0).sum(1)).mean()
    loss = dpo_loss(chosen, rejected, beta).mean() + nll * likelihood
    shown = {"accuracy": (chosen > rejected).float().mean().item(), "margin": (chosen - rejected).mean().item()}
    return loss, shown


def train_critic(
    policy: Policy, form: Form, head: Head | None, pairs: Sequence[tuple[Trajectory, Trajectory]], setting: CriticSetting,
    folder: Path,
) -> tuple[list[dict[str, float]], dict[str, int]]:  # fmt: skip
    """Train adapter and head; what was measured at each step, and what was left out. Raises TrainingFailed."""
    rendered, too_long = render_pairs(policy, form, pairs)
    micro = setting.fitting.micro_batch
    if head is None:
        rows = pairs_with_reference(policy, rendered, micro, "critic")
    else:
        rows = [Pair(Row(chosen), Row(rejected)) for chosen, rejected in rendered]
    history = fit(
        torch.nn.ModuleList([policy.model, *([head] if head else [])]), rows,
        lambda part: critic_loss(policy, form, head, part, setting.beta, setting.nll), setting.fitting, folder, "critic",
    )  # fmt: skip
    return history, {"pairs longer than the window": too_long}


@torch.inference_mode()
def turn_advantages(
    policy: Policy, form: Form, head: Head | None, rows: Sequence[Row], micro_batch: int
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


def render_pairs(
    policy: Policy, form: Form, pairs: Sequence[tuple[Trajectory, Trajectory]]
) -> tuple[list[tuple[Rendered, Rendered]], int]:
    """The pairs as the critic reads them, and how many were left out since one is longer than the window."""
    rendered, too_long = [], 0
    for chosen, rejected in pairs:
        try:
            rendered.append((policy.render(messages_for(form, chosen)), policy.render(messages_for(form, rejected))))
        except TooLong:
            too_long += 1
    return rendered, too_long


def save_head(head: Head | None, folder: Path) -> None:
    """Keep the regression head beside the adapter."""
    if head is not None:
        torch.save(head.state_dict(), folder / "head.pt")


def load_head(policy: Policy, form: Form, folder: Path | None = None) -> Head | None:
    """The regression head, new or saved; None for the log-ratio."""
    if form.head != "regression":
        return None
    head = Head(policy.model.config.hidden_size).to(policy.device)
    if folder is not None:
        head.load_state_dict(torch.load(folder / "head.pt", weights_only=True))
    return head


def without_hidden(form: Form) -> Form:
    """The same form as its reference policy reads it when candidates are scored."""
    return form if form.reference_sees else replace(form, hidden=False)
