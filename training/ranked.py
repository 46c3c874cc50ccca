"""Ranks candidates: the advantage of each reply that the start policy could have given, as the critic sees it.

    python -m training stage runs/demo seed-0/ranked

A reply is scored once, however often it was sampled.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from training.advantage import Head, load_head, shown_to, turn_advantages, without_hidden
from training.batch import NO_TURN, Rendered
from training.candidates import Candidate, Sampled, StoredTurn
from training.config import FORMS, CriticForm
from training.load import load_policy
from training.messages import with_reply
from training.policy import Policy, TooLong
from training.preference import ReferencedRow, with_reference
from training.stage import Job, Stage, Workspace, read_rows, write_result, write_rows


def score_candidates(
    critic: Policy, form: CriticForm, head: Head | None, sampled: Sequence[Sampled], micro_batch: int,
) -> list[StoredTurn]:  # fmt: skip
    """The advantage of each candidate."""
    rendered: list[Rendered] = []
    blind: list[Rendered] = []
    fitting = []
    for task, messages, said in sampled:
        try:
            rows = [
                [critic.render(with_reply(seen, text), only_last=True) for text in said]
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
    critic: Policy, form: CriticForm, head: Head | None, rendered: list[Rendered], blind: list[Rendered], micro_batch: int,
) -> list[ReferencedRow]:  # fmt: skip
    if head is not None:
        return [ReferencedRow(r) for r in rendered]
    rows = with_reference(critic, blind if not form.reference_sees else rendered, micro_batch, "candidates")
    if form.reference_sees:
        return rows
    return [ReferencedRow(seen, align_reference(row, seen)) for row, seen in zip(rows, rendered, strict=True)]


def align_reference(row: ReferencedRow, seen: Rendered) -> torch.Tensor:
    """Reference log-probabilities computed under another prompt, re-indexed to this prompt's reply tokens, [length - 1]."""
    assert row.reference is not None
    values = torch.zeros(len(seen.ids) - 1)
    said = row.reference[torch.tensor(row.rendered.turns[1:]) != NO_TURN]
    values[torch.tensor(seen.turns[1:]) != NO_TURN] = said
    return values


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The candidates with the critic's advantage."""
    recipe, form, trained = workspace.recipe_of(job), FORMS[job.variant.row.form], workspace.path(job.of("critic"))
    policy = load_policy(workspace.base(job.seed), trained, recipe.loading)
    head = load_head(policy, form, trained)
    rows = read_rows(workspace.path(job.of("candidates")) / "candidates.jsonl")
    sampled = [(row["task"], row["messages"], Counter(row["said"])) for row in rows]
    scored = score_candidates(policy, form, head, sampled, recipe.candidates.micro_batch)
    write_rows(part / "ranked.jsonl", [asdict(turn) for turn in scored])
    write_result(part, {"turns": len(scored), "left_out": {"turns longer than the window": len(sampled) - len(scored)}})


STAGE = Stage("ranked", make, needs=("critic", "candidates"))
