"""Advantage, critic loss, DPO and likelihood against plain loops written from the equations, to 1e-5."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import stir
from tests.training.test_pairs import trajectory
from training.advantage import advantages, load_head, shown_to, turn_advantages, without_hidden
from training.batch import NO_TURN, Rendered, collate
from training.config import FORMS, CriticForm, LoadConfig
from training.critic import critic_loss
from training.load import load_policy
from training.messages import before_turn
from training.policy import Policy
from training.preference import Pair, direct_preference, dpo_loss, pairs_with_reference, with_reference
from training.ranked import score_candidates
from training.rft import likelihood_loss

TEXTS = [
    ["Which one?", "x = 1"],
    ["x = 2"],
    ["Is that right so far?", "Which one, the first or the second?", "I WANT TO ANSWER:\nx = 3 + 4"],
    ["Which one?", "Which one?", "no"],
    ["Let me see.", "I WANT TO ANSWER:\nx = 1"],
    ["What?", "yes"],
    ["a", "b", "c", "d"],
    ["x = 10"],
]


def rendered(policy: Policy, replies: list[str]) -> Rendered:
    messages = [{"role": "system", "content": "Be kind."}]
    for reply in replies:
        messages += [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": reply}]
    return policy.render(messages)


def plain_log_probs(policy: Policy, row: Rendered) -> list[float]:
    """log π of each token from the second on, one row at a time, without padding."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([row.ids])).logits[0].double()
    return [float(torch.log_softmax(logits[n], -1)[token]) for n, token in enumerate(row.ids[1:])]


def plain_turns(values: list[float], row: Rendered) -> dict[int, list[float]]:
    """Values of the tokens from the second on, by the agent's turn."""
    found: dict[int, list[float]] = {}
    for turn, value in zip(row.turns[1:], values, strict=True):
        if turn != NO_TURN:
            found.setdefault(turn, []).append(value)
    return found


def plain_ratios(policy: Policy, row: Rendered) -> dict[int, list[float]]:
    """log π/π_ref of the agent's tokens, by turn."""
    now = plain_log_probs(policy, row)
    with policy.reference():
        reference = plain_log_probs(policy, row)
    return plain_turns([a - b for a, b in zip(now, reference, strict=True)], row)


def plain_advantages(form: CriticForm, ratios: dict[int, list[float]]) -> list[float]:
    tokens = sum(len(r) for r in ratios.values())
    share = {"turn": None, "none": 1, "dialogue": tokens}[form.normalise]
    return [sum(ratios[turn]) / (share or len(ratios[turn])) for turn in sorted(ratios)]


@pytest.fixture
def pairs(policy: Policy) -> list[Pair]:
    rows = [rendered(policy, t) for t in TEXTS]
    made = pairs_with_reference(policy, list(zip(rows[::2], rows[1::2], strict=True)), 3, "test")
    stir(policy)
    return made


@pytest.fixture(params=["left", "right"])
def side(request: pytest.FixtureRequest, policy: Policy) -> None:
    """The side on which rows are padded."""
    policy.tokenizer.padding_side = request.param


@pytest.mark.parametrize("name", ["house", "house_no_length_normalisation", "released"])
@pytest.mark.parametrize("size", [1, 4])
def test_advantage_and_critic_loss(policy: Policy, side: None, pairs: list[Pair], name: str, size: int) -> None:
    form, beta, nll = FORMS[name], 0.7, 0.3
    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    expected = [plain_advantages(form, plain_ratios(policy, row.rendered)) for row in rows]
    for found, wanted in zip(turn_advantages(policy, form, None, rows, size), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    for at in range(0, len(pairs), size):
        part = pairs[at : at + size]
        losses, likelihoods = [], []
        for n, pair in enumerate(part, start=at):
            margin = beta * (sum(expected[2 * n]) - sum(expected[2 * n + 1]))
            losses.append(math.log1p(math.exp(-margin)))
            turns = plain_turns(plain_log_probs(policy, pair.chosen.rendered), pair.chosen.rendered)
            likelihoods.append(-sum(sum(own) / len(own) for own in turns.values()) / len(turns))
        loss, shown = critic_loss(policy, form, None, part, beta, nll)
        assert float(loss) == pytest.approx((sum(losses) + nll * sum(likelihoods)) / len(part), rel=1e-5)
        right = [sum(expected[2 * n]) > sum(expected[2 * n + 1]) for n in range(at, at + len(part))]
        assert shown["accuracy"] == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize("size", [1, 4])
def test_direct_preference(policy: Policy, side: None, pairs: list[Pair], size: int) -> None:
    beta, nll = 0.1, 0.5
    for at in range(0, len(pairs), size):
        part, total = pairs[at : at + size], 0.0
        for pair in part:
            sums = [
                sum(sum(r) for r in plain_ratios(policy, row.rendered).values()) for row in (pair.chosen, pair.rejected)
            ]
            row = pair.chosen.rendered
            own = [p for p, t in zip(plain_log_probs(policy, row), row.turns[1:], strict=True) if t != NO_TURN]
            total += math.log1p(math.exp(-beta * (sums[0] - sums[1]))) - nll * sum(own) / len(own)
        loss, _ = direct_preference(policy, part, beta, nll)
        assert float(loss) == pytest.approx(total / len(part), rel=1e-5)


def test_a_pair_of_equals_is_held_by_its_likelihood_alone(policy: Policy, pairs: list[Pair]) -> None:
    def gradient(beta: float, nll: float) -> torch.Tensor:
        policy.model.zero_grad()
        loss, _ = direct_preference(policy, [Pair(pairs[0].chosen, pairs[0].chosen)], beta, nll)
        torch.autograd.backward(loss)
        return torch.cat([w.grad.flatten() for w in policy.model.parameters() if w.grad is not None])

    assert gradient(2.0, 0.0).abs().max() < 1e-5
    held = gradient(2.0, 0.5)
    assert held.abs().max() > 1e-3
    assert torch.allclose(held, gradient(0.0, 0.5), atol=1e-4)


def test_likelihood_over_all_tokens(policy: Policy) -> None:
    stir(policy)
    rows = [rendered(policy, t) for t in TEXTS]
    own = [p for row in rows for p, t in zip(plain_log_probs(policy, row), row.turns[1:], strict=True) if t != NO_TURN]
    assert float(likelihood_loss(policy, rows)[0]) == pytest.approx(-sum(own) / len(own), rel=1e-5)


def test_dpo_loss_by_hand() -> None:
    found = dpo_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0]), 2.0)
    torch.testing.assert_close(found, torch.tensor([math.log1p(math.exp(-2.0)), math.log(2.0)]))


def test_advantages_by_hand() -> None:
    ratios = torch.tensor([[0.0, 1.0, 3.0, 0.0, 4.0]])
    turns = torch.tensor([[NO_TURN, 0, 0, NO_TURN, 1]])
    assert advantages(FORMS["house"], ratios, turns).tolist() == [[2.0, 4.0]]
    assert advantages(FORMS["house_no_length_normalisation"], ratios, turns).tolist() == [[4.0, 4.0]]
    torch.testing.assert_close(advantages(FORMS["released"], ratios, turns), torch.tensor([[4 / 3, 4 / 3]]))


def test_the_gradient_is_of_the_adapter_and_of_the_agents_tokens(policy: Policy, pairs: list[Pair]) -> None:
    seen: list[torch.Tensor] = []

    def keep(module: Any, arguments: Any, kwargs: Any, out: Any) -> None:
        out.logits.retain_grad()
        seen.append(out.logits)

    handle = policy.model.register_forward_hook(keep, with_kwargs=True)
    losses: list[Callable[[], torch.Tensor]] = [
        lambda: critic_loss(policy, FORMS["house"], None, pairs, 1.0, 0.1)[0],
        lambda: direct_preference(policy, pairs, 0.1, 0.1)[0],
        lambda: likelihood_loss(policy, [row.rendered for p in pairs for row in (p.chosen, p.rejected)])[0],
    ]
    for loss in losses:
        seen.clear()
        policy.model.zero_grad()
        torch.autograd.backward(loss())
        rows = [p.chosen.rendered for p in pairs] + [p.rejected.rendered for p in pairs]
        if loss is losses[2]:
            rows = [row.rendered for p in pairs for row in (p.chosen, p.rejected)]
        said = collate(rows, 0, policy.device).turns[:, 1:] != NO_TURN
        assert seen[0].grad is not None
        moved = seen[0].grad[:, :-1].abs().sum(-1) > 0
        assert torch.equal(moved, said)
        for name, weight in policy.model.named_parameters():
            assert (weight.grad is not None) == ("lora_" in name), name
    handle.remove()


def test_the_regression_head(policy: Policy, pairs: list[Pair]) -> None:
    form = FORMS["house_regression_head"]
    head = load_head(policy, form)
    assert head is not None
    torch.nn.init.normal_(head.linear.weight)
    row = pairs[0].chosen.rendered
    hidden = policy.model(torch.tensor([row.ids]), output_hidden_states=True).hidden_states[-1][0]
    wanted = [
        float(head.linear(hidden[[n for n, t in enumerate(row.turns) if t == turn]].mean(0)))
        for turn in sorted(set(row.turns) - {NO_TURN})
    ]
    rows = [pair.chosen for pair in pairs]
    assert turn_advantages(policy, form, head, rows, 4)[0] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    torch.autograd.backward(critic_loss(policy, form, head, pairs, 1.0, 0.0)[0])
    assert head.linear.weight.grad is not None


def test_a_reference_is_computed_once_for_a_row(policy: Policy) -> None:
    rows = [rendered(policy, t) for t in TEXTS[:2]]
    made = pairs_with_reference(policy, [(rows[0], rows[1]), (rows[0], rows[1])], 8, "test")
    assert made[0].chosen is made[1].chosen
    alone = with_reference(policy, rows[:1], 1, "test")[0]
    assert alone.reference is not None
    assert made[0].chosen.reference is not None
    torch.testing.assert_close(made[0].chosen.reference, alone.reference)


@pytest.mark.parametrize("name", ["house", "published", "released", "house_no_hidden_information"])
def test_candidates_are_scored_after_what_was_said(policy: Policy, name: str) -> None:
    stir(policy)
    form, task = FORMS[name], "own-backend/train/4/1"
    messages = before_turn(trajectory(1.0, replies=("Which one?", "x = 1")), 1)
    texts = ["x = 1", "Which one, the first or the second?"]
    turn = score_candidates(policy, form, None, [(task, messages, Counter(texts))], 8)[0]
    assert [c.text for c in turn.candidates] == texts
    assert turn.messages == messages
    for candidate in turn.candidates:
        reply = {"role": "assistant", "content": candidate.text}
        seen = policy.render([*shown_to(form, messages, task), reply], only_last=True)
        blind = policy.render([*shown_to(without_hidden(form), messages, task), reply], only_last=True)
        now = plain_turns(plain_log_probs(policy, seen), seen)[1]
        with policy.reference():
            reference = plain_turns(plain_log_probs(policy, blind), blind)[1]
        assert len(now) == len(reference)
        assert candidate.advantage == pytest.approx((sum(now) - sum(reference)) / len(now), rel=1e-4, abs=1e-5)
    assert (blind.ids == seen.ids) == (name in ("published", "house_no_hidden_information"))


def test_activations_computed_again_give_the_same_gradient(policy: Policy, base: Path, pairs: list[Pair]) -> None:
    other = stir(load_policy(base, loading=LoadConfig(rank=4, alpha=8, recompute=True)))
    found = []
    for one in (policy, other):
        one.model.train()
        torch.autograd.backward(critic_loss(one, FORMS["house"], None, pairs, 1.0, 0.1)[0])
        found.append([weight.grad for weight in one.model.parameters() if weight.requires_grad])
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right)
