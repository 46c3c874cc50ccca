"""Best of N: at each turn the start policy says N things, and the critic, which sees the hidden reference, takes the best of them.

    python -m training stage runs/demo seed-0/best-of-4

It shows what the critic knows (Zhou et al. 2025, figure 3a). As it sees what the agent must not, it is no policy to be used.
"""

from collections.abc import Sequence

from langchain_core.messages import AIMessage

from training.candidates import sample_candidates, score_candidates
from training.chat import Answer
from training.collect import Rollouts, Voice
from training.critic import Form
from training.policy import Message, Policy


def best_of(start: Policy, critic: Policy, form: Form, samples: int, rollouts: Rollouts, micro_batch: int) -> Voice:
    """Who answers with the best of `samples` candidates."""

    def voice(tasks: Sequence[str], seed: int) -> Answer:
        calls = iter(range(10**12))

        def answer(numbers: list[int], prompts: list[list[Message]]) -> list[AIMessage]:
            turns = [(tasks[number], prompt) for number, prompt in zip(numbers, prompts, strict=True)]
            sampled = sample_candidates(
                start, turns, samples=samples, most=rollouts.most, rows=rollouts.rows, seed=seed * 1_009 + next(calls)
            )
            scored = score_candidates(critic, form, None, sampled, micro_batch)
            best = {repr((turn.task, turn.messages)): turn.ranked()[0].text for turn in scored}
            return [AIMessage(best.get(repr(turn), "")) for turn in turns]  # what does not fit the window says nothing

        return answer

    return voice
