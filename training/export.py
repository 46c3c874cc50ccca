"""Export a trained policy: a model folder with its card, to be served by whatever speaks the OpenAI API, or opened in process.

python -m training export runs/demo seed-0/sweet_house models/collaborator
"""

import shutil
from pathlib import Path
from typing import Any

from training.load import load_policy
from training.policy import PolicyFailed
from training.recipe import Recipe
from training.run import plan
from training.stage import Workspace, read_rows

CARD = Path(__file__).with_name("card.md").read_text(encoding="utf-8")


def export(folder: Path, stage: str, out: Path, adapter: bool = False) -> None:
    """Write the policy of a stage into `out`. Raises PolicyFailed if there is no such stage, FileExistsError if `out` is there."""
    trained = folder / stage
    if not (trained / "adapter_model.safetensors").exists():
        raise PolicyFailed(
            f"There is no trained policy in {trained}: use one such as seed-0/sweet_house, after the run."
        )
    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it, or name another folder.")
    recipe = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"), str(folder / "recipe.json"))
    base = Workspace(folder, recipe).base(plan(recipe)[stage].seed)
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if adapter:
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copy(trained / name, part / name)
    else:
        policy = load_policy(base, trained, recipe.loading)
        policy.model.merge_and_unload().save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        (part / "Modelfile").write_text("FROM .\n", encoding="utf-8")
    (part / "README.md").write_text(card(folder, stage, out, recipe, base, adapter), encoding="utf-8")
    part.rename(out)
    print(f"Written to {out}")


def card(folder: Path, stage: str, out: Path, recipe: Recipe, base: str, adapter: bool) -> str:
    """The model card: what it is made of, and how good it was seen to be."""
    seed, _, name = stage.partition("/")
    rows = folder / seed / f"evaluate-{name}" / "rows.jsonl"
    scores = "not measured"
    if rows.exists():
        done = read_rows(rows)
        tests, success = (sum(row[key] for row in done) / len(done) for key in ("score", "success"))
        scores = f"{tests:.3f} of the tests, {success:.3f} success on {len(done)} tasks"
    own = recipe.base == "tiny"
    return CARD.format(
        library="peft" if adapter else "transformers", based_on="" if own else f"base_model: {base}\n",
        name=out.name, folder=out, stage=stage, base="made from scratch by `training/tiny.py`" if own else base,
        licence=" (Apache-2.0)" if own else f" (its licence holds for this model too: {licence_of(base)})",
        **learnt_from(folder / seed, stage, recipe),
        seed=seed.removeprefix("seed-"), held_out=recipe.held_out.file or recipe.held_out.split,
        scores=scores, turns=recipe.rollouts.max_turns, recipe=recipe.to_json().strip(),
    )  # fmt: skip


def learnt_from(folder: Path, stage: str, recipe: Recipe) -> dict[str, Any]:
    """What the stage's trajectories really are: how many, about how many tasks, from where, and how good."""
    job = plan(recipe)[stage]
    rows = Workspace(folder.parent, recipe).collected(job)
    return {
        "dialogues": len(rows), "tasks": len({t.task for t in rows}),
        "train": recipe.trajectories or recipe.train.file or recipe.train.split,
        "success": sum(bool(t.success) for t in rows) / max(1, len(rows)),
    }  # fmt: skip


def licence_of(base: str) -> str:
    """What the base's own card says."""
    path = Path(base) / "README.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("license:")]
    return named[0] if named else "see its card"
