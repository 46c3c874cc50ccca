"""The stages of a recipe: each reads the folders before it, and fills its own."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tasks.book import find_task
from tasks.trajectory import Trajectory, read_trajectories
from training import actor as actor_
from training import critic as critic_
from training import mtdpo as mtdpo_
from training import rft as rft_
from training.best_of import best_of
from training.candidates import (
    Candidate,
    StoredTurn,
    actor_pairs,
    sample_candidates,
    score_candidates,
    stored_turns,
)
from training.collect import collect, take
from training.evaluate import divergence, evaluate
from training.pairs import NoPairs, make_pairs
from training.policy import Policy, load_policy
from training.preference import Row, with_reference
from training.recipe import Recipe, Variant
from training.report import read_rows
from training.tiny import make_tiny
from training.turn_ranking import contrasts


def tiny(folder: Path, recipe: Recipe, part: Path) -> None:
    """The start policy of the demonstration."""
    later = {find_task(id).ground_truth for id in (*recipe.train.ids(), *recipe.held_out.ids())}
    history = make_tiny(recipe.tiny, recipe.train.difficulties, recipe.rollouts.max_turns, part, later)
    write_history(part, history)


def collect_(folder: Path, recipe: Recipe, seed: int, part: Path) -> None:
    """Dialogues of the start policy about the training tasks, or those of a file."""
    if recipe.trajectories:
        made = take(Path(recipe.trajectories))
        write_rows(part / "trajectories.jsonl", [t.to_row() for t in made])
        scored = [t for t in made if t.score is not None]
        write_json(part, summary(scored) | {"left_out": {"trajectories without a score": len(made) - len(scored)}})
        return
    policy = load_policy(base_of(folder, recipe), loading=recipe.loading, merged=True)
    rollouts = replace(recipe.rollouts, seed=seed)
    made = collect(policy, recipe.train.ids(), recipe.samples, rollouts, part / "trajectories.jsonl", f"collect {seed}")
    write_json(part, summary(made))


def summary(rows: Sequence[Trajectory]) -> dict[str, float]:
    """How good dialogues are."""
    count = max(1, len(rows))
    success, tests = sum(bool(t.success) for t in rows) / count, sum(t.score or 0 for t in rows) / count
    return {"dialogues": len(rows), "success": success, "tests": tests}


def rft(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """The baseline of rejection fine-tuning."""
    policy = fresh(folder, recipe, seed)
    rows = collected(folder, seed, variant.fraction)
    history, left_out = rft_.train_rft(policy, rows, replace(recipe.rft, seed=seed), part)
    finish(policy, part, history, left_out)


def mtdpo(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """The baseline of multi-turn DPO."""
    policy = fresh(folder, recipe, seed)
    pairs = make_pairs(collected(folder, seed, variant.fraction), recipe.pairing, recipe.margin)
    setting = replace(recipe.mtdpo, fitting=replace(recipe.mtdpo.fitting, seed=seed))
    history, left_out = mtdpo_.train_mtdpo(policy, pairs.pairs, setting, part)
    finish(policy, part, history, {**pairs.left_out, **left_out})


def critic(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """The critic, and how well it ranks what it was not trained on."""
    form, policy = critic_.FORMS[variant.form], fresh(folder, recipe, seed)
    head = critic_.load_head(policy, form)
    rows = collected(folder, seed, variant.fraction)
    held = held_back(rows, recipe.validation)
    pairs = make_pairs([t for t in rows if t.task not in held], recipe.pairing, recipe.margin)
    setting = replace(recipe.critic, fitting=replace(recipe.critic.fitting, seed=seed))
    history: list[dict[str, float]] = []
    left_out: dict[str, int] = {}
    if form.trained:
        history, left_out = critic_.train_critic(policy, form, head, pairs.pairs, setting, part)
    critic_.save_head(head, part)
    measured = validate(policy, form, head, [t for t in rows if t.task in held], recipe, seed)
    finish(policy, part, history, {**pairs.left_out, **left_out}, measured)


def candidates(folder: Path, recipe: Recipe, seed: int, part: Path) -> None:
    """What the start policy would say at stored turns."""
    policy = load_policy(base_of(folder, recipe), loading=recipe.loading, merged=True)
    rows = collected(folder, seed)
    turns = stored_turns(asked_at(rows, recipe))
    sampled = sample_candidates(
        policy,
        turns,
        samples=recipe.candidates.samples,
        most=recipe.rollouts.most,
        rows=recipe.rollouts.rows,
        seed=seed,
    )
    write_rows(part / "candidates.jsonl", [{"task": t, "messages": m, "said": dict(said)} for t, m, said in sampled])
    write_json(part, {"turns": len(turns), "left_out": {"turns longer than the window": len(turns) - len(sampled)}})


def asked_at(rows: Sequence[Trajectory], recipe: Recipe) -> list[Trajectory]:
    """The dialogues at whose turns the start policy is asked: a share of all, at most one of each task."""
    return firsts(rows)[: max(1, math.ceil(len(rows) * recipe.candidates.dialogues))]


def ranked(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """The candidates with the critic's advantage."""
    form, at = critic_.FORMS[variant.form], folder / f"seed-{seed}"
    trained = at / variant.part("critic")
    policy = load_policy(base_of(folder, recipe), trained, recipe.loading)
    head = critic_.load_head(policy, form, trained)
    tasks = {t.task for t in asked_at(collected(folder, seed, variant.fraction), recipe)}
    rows = [row for row in read_rows(at / "candidates" / "candidates.jsonl") if row["task"] in tasks]
    sampled = [(row["task"], row["messages"], Counter(row["said"])) for row in rows]
    scored = score_candidates(policy, form, head, sampled, recipe.candidates.micro_batch)
    write_rows(part / "ranked.jsonl", [asdict(turn) for turn in scored])
    write_json(part, {"turns": len(scored), "left_out": {"turns longer than the window": len(sampled) - len(scored)}})


def actor(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """The policy that SWEET-RL is for."""
    turns = [
        StoredTurn(row["task"], row["messages"], [Candidate(**c) for c in row["candidates"]])
        for row in read_rows(folder / f"seed-{seed}" / variant.part("ranked") / "ranked.jsonl")
    ]
    pairs, none = actor_pairs(turns, recipe.candidates.draws, seed, None if variant.plain else recipe.candidates.margin)
    policy = fresh(folder, recipe, seed)
    setting = replace(
        recipe.actor, **(PLAIN if variant.plain else {}), fitting=replace(recipe.actor.fitting, seed=seed)
    )
    history, left_out = actor_.train_actor(policy, pairs, setting, part)
    finish(policy, part, history, {"draws that prefer nothing": none, **left_out})


PLAIN: dict[str, Any] = {"beta": 0.1, "nll": 0.01}
"""The paper's weights of the actor (table 5)."""


def evaluate_(folder: Path, recipe: Recipe, seed: int, variant: Variant, part: Path) -> None:
    """Held-out tasks, at temperature 1 and, if the recipe says so, 0."""
    adapter = None if variant.method == "zero_shot" else folder / f"seed-{seed}" / variant.name
    merged = load_policy(base_of(folder, recipe), adapter, recipe.loading, merged=True)
    tasks, rollouts = recipe.held_out.ids(), replace(recipe.rollouts, seed=1_000 + seed)
    rows = evaluate(merged, tasks, rollouts, part, f"{variant.name} {seed}")
    write_rows(part / "rows.jsonl", rows)
    if recipe.greedy:
        (part / "greedy").mkdir(exist_ok=True)
        write_rows(
            part / "greedy.jsonl",
            evaluate(
                merged, tasks, replace(rollouts, temperature=0.0), part / "greedy", f"{variant.name} {seed}, greedy"
            ),
        )
    kl = 0.0
    if adapter is not None:
        policy = load_policy(base_of(folder, recipe), adapter, recipe.loading)
        kl = divergence(policy, list(read_trajectories(part / "trajectories.jsonl")), recipe.rft.micro_batch)
    write_json(part, {"kl": kl})


def best_of_(folder: Path, recipe: Recipe, seed: int, samples: int, part: Path) -> None:
    """Held-out tasks with the best of several candidates at each turn, as the critic sees it."""
    form, trained = critic_.FORMS["default"], folder / f"seed-{seed}" / "critic"
    start = load_policy(base_of(folder, recipe), loading=recipe.loading, merged=True)
    judge = load_policy(base_of(folder, recipe), trained, recipe.loading)
    rollouts = replace(recipe.rollouts, seed=1_000 + seed)
    voice = best_of(start, judge, form, samples, rollouts, recipe.candidates.micro_batch)
    rows = evaluate(start, recipe.held_out.ids(), rollouts, part, f"best of {samples}, {seed}", voice)
    write_rows(part / "rows.jsonl", rows)
    write_json(part, {"success": mean([float(row["success"]) for row in rows])})


def validate(
    policy: Policy, form: critic_.Form, head: critic_.Head | None, held: Sequence[Trajectory], recipe: Recipe, seed: int
) -> dict[str, Any]:
    """Pair accuracy, and with own tasks how often the better turn has the higher advantage."""
    micro = recipe.critic.fitting.micro_batch
    measured: dict[str, Any] = {}
    try:
        pairs = make_pairs(held, recipe.pairing, recipe.margin).pairs
    except NoPairs:
        pairs = []
    rendered, _ = critic_.render_pairs(policy, form, pairs)
    rows = [row for pair in rendered for row in pair]
    # As in training, the reference sees what the critic sees; for the contrasts as where candidates are scored.
    known = [Row(r) for r in rows] if head is not None else with_reference(policy, rows, micro, "validation")
    sums = [sum(a) for a in critic_.turn_advantages(policy, form, head, known, micro)]
    measured["pairs"] = mean([ahead(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)])
    verdicts: dict[str, list[float]] = {"useful > wasted": [], "useful > redundant": [], "right > wrong": []}
    found = contrasts(firsts(held), seed)
    sampled = [(task, messages, Counter([better, worse])) for _, task, messages, better, worse in found]
    scored = {
        repr((turn.task, turn.messages, [c.text for c in turn.candidates])): turn.candidates
        for turn in score_candidates(policy, form, head, sampled, micro)
    }
    for contrast, task, messages, better, worse in found:
        if both := scored.get(repr((task, messages, [better, worse]))):  # not those longer than the window
            verdicts[contrast].append(ahead(both[0].advantage, both[1].advantage))
    return {**measured, **{contrast: mean(values) for contrast, values in verdicts.items()}}


def ahead(better: float, worse: float) -> float:
    """1 if the better is ranked above the worse, half if they are equal: what guessing would give."""
    return (float(better > worse) + float(better >= worse)) / 2


def mean(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, None of nothing, and of how many."""
    return {"mean": sum(values) / len(values) if values else None, "n": len(values)}


def held_back(rows: Sequence[Trajectory], share: float) -> set[str]:
    """The last tasks, which the critic is measured on."""
    tasks = list(dict.fromkeys(t.task for t in rows))
    return set(tasks[len(tasks) - round(share * len(tasks)) :])


def firsts(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The first dialogue of each task."""
    found: dict[str, Trajectory] = {}
    for trajectory in rows:
        found.setdefault(trajectory.task, trajectory)
    return list(found.values())


def collected(folder: Path, seed: int, fraction: float = 1.0) -> list[Trajectory]:
    """The trajectories of a seed, of the first tasks."""
    rows = list(read_trajectories(folder / f"seed-{seed}" / "collect" / "trajectories.jsonl"))
    tasks = list(dict.fromkeys(t.task for t in rows))
    kept = set(tasks[: max(1, round(fraction * len(tasks)))])
    return [t for t in rows if t.task in kept]


def base_of(folder: Path, recipe: Recipe) -> str:
    """The start policy's folder, or its name on the hub."""
    return str(folder / "tiny") if recipe.base == "tiny" else recipe.base


def fresh(folder: Path, recipe: Recipe, seed: int) -> Policy:
    """The start policy with a new adapter."""
    return load_policy(base_of(folder, recipe), loading=replace(recipe.loading, seed=seed))


def finish(
    policy: Policy, part: Path, history: list[dict[str, float]], left_out: dict[str, int],
    measured: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write the adapter, what was measured, and what was left out."""
    policy.model.save_pretrained(part)
    write_history(part, history)
    write_json(part, {"left_out": left_out, **({"validation": measured} if measured else {})})


def write_history(part: Path, history: list[dict[str, float]]) -> None:
    """What was measured at each step."""
    write_rows(part / "history.jsonl", history)


def write_json(part: Path, values: dict[str, Any]) -> None:
    """A stage's result."""
    (part / "result.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
