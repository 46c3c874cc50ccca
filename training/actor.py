"""The actor: DPO on single turns whose pairs the critic chose, without hidden information (Zhou et al. 2025, section 4.2).

loss = −log σ(β′ log π_φ/π_ref (a⁺ | o_t) − β′ log π_φ/π_ref (a⁻ | o_t)) + nll · NLL(a⁺)

python -m training stage runs/demo seed-0/sweet
"""

from collections.abc import Sequence
from pathlib import Path

from training.candidates import ActorPair
from training.mtdpo import Preference, fit_pairs
from training.policy import Policy, TooLong


def train_actor(
    policy: Policy, pairs: Sequence[ActorPair], preference: Preference, folder: Path
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Train the adapter; what was measured at each step, and what was left out. Raises TrainingFailed."""
    rendered, too_long = [], 0
    for messages, chosen, rejected in pairs:
        number = sum(m["role"] == "assistant" for m in messages)
        try:
            first, second = (
                policy.render([*messages, {"role": "assistant", "content": text}], only=number)
                for text in (chosen, rejected)
            )
        except TooLong:
            too_long += 1
        else:
            rendered.append((first, second))
    return fit_pairs(policy, rendered, preference, folder, "actor"), {"pairs longer than the window": too_long}
