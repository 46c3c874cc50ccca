"""The report of a run: a Markdown table with 95 % intervals over seeds and tasks, plots, and one JSON file.

Intervals are of the crossed bootstrap: seeds and held-out tasks are drawn with replacement, together. They cover what differs
between seeds: sampling and training; start policy and training tasks are the same in all. Two methods are compared on the same
seeds and tasks (paired).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intervals import Values, crossed_interval, format_interval
from training.recipe import Recipe, Variant
from training.stage import read_rows

LABELS = {
    "zero_shot": "zero-shot",
    "rft": "rejection fine-tuning",
    "mtdpo": "multi-turn DPO",
    "sweet": "SWEET-RL, house form",
}
COLUMNS = ("success", "score", "told", "useful", "wasted", "redundant", "turns", "tokens")
HEADERS = {
    "success": "success", "score": "tests passed", "told": "facts told", "useful": "useful questions", "wasted": "wasted",
    "redundant": "redundant", "turns": "turns", "tokens": "tokens a turn", "kl": "KL to start",
}  # fmt: skip


def gather(folder: Path, recipe: Recipe) -> dict[str, list[list[dict[str, Any]]]]:
    """Rows of the held-out dialogues: by variant, then seed. Raises ValueError if variants were measured on different tasks."""
    found = {v.name: read_seeds(folder, recipe, f"evaluate-{v.name}") for v in recipe.variants()}
    tasks = {tuple(row["task"] for row in rows) for seeds in found.values() for rows in seeds}
    if len(tasks) != 1:
        raise ValueError(f"{folder}: the methods were measured on different tasks; remove its evaluate- folders.")
    return found


def column(rows: list[list[dict[str, Any]]], name: str) -> Values:
    """[seeds, tasks]"""
    return np.array([[float(row[name] if row[name] is not None else np.nan) for row in seed] for seed in rows])


def label(variant: Variant) -> str:
    """Of a line of the table."""
    text = LABELS[variant.method]
    if variant.form != "house":
        text = f"SWEET-RL, {variant.form.replace('_', ' ')}"
    if variant.published_pairs:
        text += ", the paper's own pairs and weights"
    return f"{text}, {variant.fraction:.0%} of the data" if variant.fraction < 1 else text


def write(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Write report.json, report.md and the plots; what stands in the JSON."""
    found = gather(folder, recipe)
    table = {}
    for variant in recipe.variants():
        rows = found[variant.name]
        measured = {name: crossed_interval(column(rows, name)) for name in COLUMNS}
        stage = f"evaluate-{variant.name}"
        kls = [result["kl"] for result in read_results(folder, recipe, stage)]
        success = column(rows, "success").mean(axis=1)
        table[variant.name] = {
            "label": label(variant), **measured, "kl": sum(kls) / len(kls), "success of each seed": success.tolist(),
            "success by hidden decisions": by_hidden(rows),
            "other sets": {
                name: crossed_interval(column(read_seeds(folder, recipe, stage, f"{name}.jsonl"), "success"))
                for name in recipe.test_sets() if name != "held_out"
            },
        }  # fmt: skip
        if recipe.greedy:
            table[variant.name]["greedy"] = crossed_interval(
                column(read_seeds(folder, recipe, stage, "greedy.jsonl"), "success")
            )
    sweet = column(found["sweet"], "success")
    differences = {
        name: crossed_interval(sweet - column(rows, "success")) for name, rows in found.items() if name != "sweet"
    }
    result = {
        "table": table, "sweet minus": differences, "critic": critics(folder, recipe), "left out": left_out(folder, recipe),
        "best of": best_of(folder, recipe) if recipe.best_of else {}, "leak rate": leak_rates(folder, recipe),
        "recipe": {k: v for k, v in json.loads(recipe.to_json()).items() if k != "workers"},
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    text = markdown(result)
    (folder / "report.md").write_text(text, encoding="utf-8")
    plot(folder, recipe, result)
    print(text)
    return result


def read_seeds(folder: Path, recipe: Recipe, stage: str, file: str = "rows.jsonl") -> list[list[Any]]:
    """The rows of a stage, by seed."""
    return [read_rows(folder / f"seed-{seed}" / stage / file) for seed in recipe.seeds]


def read_results(folder: Path, recipe: Recipe, stage: str) -> list[dict[str, Any]]:
    """The result of a stage, by seed."""
    return [json.loads((folder / f"seed-{seed}" / stage / "result.json").read_text()) for seed in recipe.seeds]


def by_hidden(rows: list[list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Success by the number of hidden decisions."""
    hidden = np.array([row["hidden"] for row in rows[0]])
    success = column(rows, "success")
    return {str(n): crossed_interval(success[:, hidden == n]) for n in sorted(set(hidden.tolist()))}


def best_of(folder: Path, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Success with the best of N candidates at each turn; of one, the start policy itself."""
    found = {"1": crossed_interval(column(gather(folder, recipe)["zero_shot"], "success"))}
    for samples in recipe.best_of:
        rows = read_seeds(folder, recipe, f"best-of-{samples}")
        found[str(samples)] = crossed_interval(column(rows, "success"))
    return found


def critics(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """What the critics got right on tasks that they were not trained on, over the seeds."""
    found: dict[str, Any] = {}
    for variant in recipe.variants():
        if variant.method == "sweet" and not variant.published_pairs:
            measured = [result["validation"] for result in read_results(folder, recipe, variant.part("critic"))]
            found[variant.part("critic")] = {name: pooled([m[name] for m in measured]) for name in measured[0]}
    return found


def pooled(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over all that was measured, None of nothing, and of how many."""
    count = sum(m["n"] for m in measured)
    return {"mean": sum(m["mean"] * m["n"] for m in measured if m["n"]) / count if count else None, "n": count}


def leak_rates(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Share of the person's replies that gave code away, in each round of dialogues: those collected, and those of each variant."""
    found = {
        f"seed-{seed}/collect": result["leak_rate"]
        for seed, result in zip(recipe.seeds, read_results(folder, recipe, "collect"), strict=True)
    }
    for variant in recipe.variants():
        for seed, rows in zip(recipe.seeds, read_seeds(folder, recipe, f"evaluate-{variant.name}"), strict=True):
            replies = sum(row["turns"] - row["answered"] for row in rows)
            found[f"seed-{seed}/evaluate-{variant.name}"] = sum(row["leaks"] for row in rows) / max(1, replies)
    return found


def left_out(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """What the stages could not use, by stage and reason."""
    found = {}
    for seed in recipe.seeds:
        for path in sorted((folder / f"seed-{seed}").glob("*/result.json")):
            reasons = {k: v for k, v in json.loads(path.read_text()).get("left_out", {}).items() if v}
            if reasons:
                found[f"seed-{seed}/{path.parent.name}"] = reasons
    return found


def markdown(result: dict[str, Any]) -> str:
    """The report as a person reads it."""
    recipe, table = result["recipe"], result["table"]
    tasks = table["zero_shot"]["success"]["n"] // len(recipe["seeds"])
    lines = [
        f"# {recipe['base']}: {tasks} held-out tasks, {len(recipe['seeds'])} seeds, "
        f"temperature {recipe['rollouts']['temperature']:g}",
        "",
        "Mean [95 % interval over seeds and tasks].",
        "",
        f"| method | {' | '.join(HEADERS.values())} |{' success, greedy |' if recipe['greedy'] else ''}",
        f"|---|{'---|' * (len(HEADERS) + recipe['greedy'])}",
    ]
    for row in table.values():
        cells = [format_interval(row[name], 3 if name in ("success", "score", "told") else 1) for name in COLUMNS]
        greedy = f" {format_interval(row['greedy'], 3)} |" if recipe["greedy"] else ""
        lines.append(f"| {row['label']} | {' | '.join(cells)} | {row['kl']:.3f} |{greedy}")
    if others := table["zero_shot"]["other sets"]:
        lines += ["", "Success on other held-out sets:", ""]
        lines += [f"| method | {' | '.join(n.replace('_', ' ') for n in others)} |", f"|---|{'---|' * len(others)}"]
        for row in table.values():
            lines.append(
                f"| {row['label']} | {' | '.join(format_interval(v, 3) for v in row['other sets'].values())} |"
            )
    lines += ["", "Difference in success, paired by seed and task:", ""]
    for name, value in result["sweet minus"].items():
        lines.append(f"- SWEET-RL, house form − {table[name]['label']}: {format_interval(value, 3)}")
    lines += ["", "What the critic gets right on tasks that it was not trained on:", ""]
    for name, measured in result["critic"].items():
        parts = [f"{key} {v['mean']:.3f} (n = {v['n']})" for key, v in measured.items() if v["n"]]
        lines.append(f"- {name}: {', '.join(parts)}")
    leaks = result["leak rate"].values()
    lines += [
        "",
        f"The person gave code away in {max(leaks):.1%} of its replies, in the round of dialogues with the most.",
    ]
    if result["best of"]:
        lines += [
            "",
            "Success when the critic, which sees the reference, takes the best of N candidates at each turn:",
            "",
        ]
        lines += [f"- N = {samples}: {format_interval(value, 3)}" for samples, value in result["best of"].items()]
    return "\n".join(lines) + "\n"


def plot(folder: Path, recipe: Recipe, result: dict[str, Any]) -> None:
    """Write curves.png, hidden.png and, where the recipe has them, best-of.png and data.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def save(name: str, draw: Callable[[Any], None]) -> None:
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        draw(axes)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / name, dpi=150, metadata={"Software": None})
        pyplot.close(figure)

    def curves(axes: Any) -> None:
        for stage in ("rft", "mtdpo", "critic", "sweet"):
            path = folder / f"seed-{recipe.seeds[0]}" / stage / "history.jsonl"
            losses = [row["loss"] for row in read_rows(path)]
            width = max(1, len(losses) // 20)
            smooth = np.convolve(losses, np.ones(width) / width, "valid")
            axes.plot(np.linspace(0, 1, len(smooth)), smooth, label="actor" if stage == "sweet" else stage)
        axes.set(xlabel="share of the stage's steps", ylabel="loss, moving mean", title=f"Seed {recipe.seeds[0]}")

    def hidden(axes: Any) -> None:
        for name, row in result["table"].items():
            if name in LABELS:
                points = row["success by hidden decisions"]
                errors(axes, list(map(int, points)), list(points.values()), row["label"])
        axes.set(xlabel="hidden decisions", ylabel="success", ylim=(0, None), title="Held-out tasks")
        axes.xaxis.get_major_locator().set_params(integer=True)

    def data(axes: Any) -> None:
        for method in ("rft", "mtdpo", "sweet"):
            shares = [*sorted(recipe.fractions), 1.0]
            rows = [result["table"][Variant(method=method, fraction=share).name] for share in shares]
            errors(axes, shares, [row["success"] for row in rows], LABELS[method])
        axes.set(xlabel="share of the collected tasks", ylabel="success", ylim=(0, None), title="Data")

    def best(axes: Any) -> None:
        points = result["best of"]
        errors(axes, list(map(int, points)), list(points.values()), "start policy, best of N by the critic")
        axes.set(xlabel="candidates at each turn", ylabel="success", ylim=(0, None), title="What the critic knows")
        axes.set_xscale("log", base=2)

    save("curves.png", curves)
    if recipe.best_of:
        save("best-of.png", best)
    save("hidden.png", hidden)
    if recipe.fractions:
        save("data.png", data)


def errors(axes: Any, xs: Sequence[float], points: Sequence[dict[str, float]], text: str) -> None:
    """Means with their intervals."""
    means = [p["mean"] for p in points]
    spread = [[p["mean"] - p["low"] for p in points], [p["high"] - p["mean"] for p in points]]
    axes.errorbar(xs, means, yerr=spread, marker="o", capsize=3, label=text)
