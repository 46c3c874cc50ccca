"""Best of N: at each turn the start policy says N things, and the critic, which sees the hidden reference, takes the best of them.

    python -m training stage runs/demo seed-0/best-of-4

It shows what the critic knows (Zhou et al. 2025, figure 3a). As it sees what the agent must not, it is no policy to be used.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from langchain_core.messages import AIMessage

from tasks.dialogue import Message
from training.candidates import sample_candidates
from training.chat import Answer
from training.collect import ResponderFactory
from training.config import FORMS, CriticForm, RolloutConfig
from training.evaluate import evaluate
from training.load import load_policy
from training.policy import Policy
from training.ranked import score_candidates
from training.stage import Job, Stage, Workspace, mean, write_result, write_rows


def best_of(
    start: Policy, critic: Policy, form: CriticForm, samples: int, rollouts: RolloutConfig, micro_batch: int
) -> ResponderFactory:
    """Responders that take the best of `samples` candidates."""

    def responder(tasks: Sequence[str], seed: int) -> Answer:
        calls = itertools.count()

        def answer(numbers: list[int], prompts: list[list[Message]]) -> list[AIMessage]:
            turns = [(tasks[number], prompt) for number, prompt in zip(numbers, prompts, strict=True)]
            sampled, _ = sample_candidates(
                start, turns, samples=samples, most=rollouts.most, rows=rollouts.rows, seed=seed * 1_009 + next(calls)
            )
            scored = score_candidates(critic, form, None, sampled, micro_batch)
            best = {repr((turn.task, turn.messages)): turn.ranked()[0].text for turn in scored}
            return [AIMessage(best.get(repr(turn), "")) for turn in turns]  # what does not fit the window says nothing

        return answer

    return responder


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """Held-out tasks with the best of several candidates at each turn, as the critic sees it."""
    recipe, start = workspace.recipe, workspace.start_policy(job.seed)
    judge = load_policy(workspace.base(job.seed), workspace.path(job.of("critic")), recipe.loading)
    rollouts = replace(recipe.rollouts, seed=1_000 + job.seed)
    responder = best_of(start, judge, FORMS["house"], job.samples, rollouts, recipe.candidates.micro_batch)
    name = f"best of {job.samples}, {job.seed}"
    rows = evaluate(start, recipe.test_sets()["held_out"], rollouts, part, name, responder)
    write_rows(part / "rows.jsonl", rows)
    write_result(part, {"success": mean([float(row["success"]) for row in rows])})


STAGE = Stage("best-of", make, needs=("critic",))
