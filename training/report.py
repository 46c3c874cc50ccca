"""The report of a run: a Markdown table with 95 % intervals over seeds and tasks, plots, and one JSON file.

Intervals are of the crossed bootstrap: seeds and held-out tasks are drawn with replacement, together. What differs between seeds is
the start policy, its corpus, the training tasks, the dialogues and the order of training; with few seeds they are still somewhat
too narrow (Cameron, Gelbach and Miller 2008). Two rows are compared on the same seeds and tasks (paired).
"""

import json
import platform
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intervals import Values, crossed_interval, format_interval, interval
from training.recipe import Recipe
from training.stage import read_rows

COLUMNS = ("success", "score", "told", "useful", "wasted", "redundant", "turns", "tokens")
HEADERS = {
    "success": "success", "score": "tests passed", "told": "facts told", "useful": "useful questions", "wasted": "wasted",
    "redundant": "redundant", "turns": "turns", "tokens": "tokens a turn", "kl": "KL to start",
    "late_entropy": "entropy, late / first turn",
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


def write(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Write report.json, report.md and the plots; what stands in the JSON."""
    found = gather(folder, recipe)
    table = {}
    for variant in recipe.variants():
        rows = found[variant.name]
        measured = {name: crossed_interval(column(rows, name)) for name in COLUMNS}
        stage = f"evaluate-{variant.name}"
        results = read_results(folder, recipe, stage)
        means = {name: sum(result[name] for result in results) / len(results) for name in ("kl", "late_entropy")}
        success = column(rows, "success").mean(axis=1)
        table[variant.name] = {
            "label": variant.label, **measured, **means, "success of each seed": success.tolist(),
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
    successes = {name: column(rows, "success") for name, rows in found.items()}
    differences = {
        better: {
            other: crossed_interval(successes[better] - successes[other]) for other in recipe.rows if other != better
        }
        for better in recipe.rows
    }
    result = {
        "table": table, "differences": differences, "critic": critics(folder, recipe), "left out": left_out(folder, recipe),
        "best of": best_of(folder, recipe) if recipe.best_of else {}, "leak rate": leak_rates(folder, recipe),
        "cpu": cpu(),
        "recipe": {k: v for k, v in json.loads(recipe.to_json()).items() if k != "workers"},
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    text = markdown(result)
    (folder / "report.md").write_text(text, encoding="utf-8")
    plot(folder, recipe, result)
    print(text)
    return result


def cpu() -> str:
    """Which kind of processor this machine has."""
    known = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", known.read_text()) if known.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


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
    found = {}
    if "zero_shot" in recipe.rows:
        found["1"] = crossed_interval(column(gather(folder, recipe)["zero_shot"], "success"))
    for samples in recipe.best_of:
        rows = read_seeds(folder, recipe, f"best-of-{samples}")
        found[str(samples)] = crossed_interval(column(rows, "success"))
    return found


def critics(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """What the critics got right on tasks that they were not trained on, over the seeds."""
    found: dict[str, Any] = {}
    for variant in recipe.variants():
        stage = f"critic-{variant.name}"
        if variant.row.method == "sweet":
            measured = [result["validation"] for result in read_results(folder, recipe, stage)]
            verdicts = {name: [v for m in measured for v in m[name]] for name in measured[0]}
            found[stage] = {name: interval(values) for name, values in verdicts.items() if values}
    return found


def leak_rates(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Share of the person's replies that gave code away, in each round of dialogues: those collected, and those of each variant."""
    found = {}
    for seed in recipe.seeds:
        collected = folder / f"seed-{seed}" / "collect" / "result.json"
        if collected.exists():  # not for zero-shot alone
            found[f"seed-{seed}/collect"] = json.loads(collected.read_text())["leak_rate"]
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
    tasks = next(iter(table.values()))["success"]["n"] // len(recipe["seeds"])
    lines = [
        f"# {recipe['base']}: {tasks} held-out tasks, {len(recipe['seeds'])} seeds, "
        f"temperature {recipe['rollouts']['temperature']:g}, {max(recipe['replies']):,} replies for training",
        "",
        f"Made on {result['cpu']}; on another kind of CPU the same seeds give other numbers.",
        "",
        "Mean [95 % interval over seeds and tasks].",
        "",
        f"| method | {' | '.join(HEADERS.values())} |{' success, greedy |' if recipe['greedy'] else ''}",
        f"|---|{'---|' * (len(HEADERS) + recipe['greedy'])}",
    ]
    for row in table.values():
        cells = [format_interval(row[name], 3 if name in ("success", "score", "told") else 1) for name in COLUMNS]
        greedy = f" {format_interval(row['greedy'], 3)} |" if recipe["greedy"] else ""
        lines.append(f"| {row['label']} | {' | '.join(cells)} | {row['kl']:.3f} | {row['late_entropy']:.2f} |{greedy}")
    if others := next(iter(table.values()))["other sets"]:
        lines += ["", "Success on other held-out sets:", ""]
        lines += [f"| method | {' | '.join(n.replace('_', ' ') for n in others)} |", f"|---|{'---|' * len(others)}"]
        for row in table.values():
            lines.append(
                f"| {row['label']} | {' | '.join(format_interval(v, 3) for v in row['other sets'].values())} |"
            )
    lines += ["", "Difference in success to the row at the left, paired by seed and task:", ""]
    names = list(result["differences"])
    lines += [f"| minus | {' | '.join(table[n]['label'] for n in names)} |", f"|---|{'---|' * len(names)}"]
    for other in names:
        cells = [format_interval(result["differences"][n][other], 3) if n != other else "–" for n in names]
        lines.append(f"| {table[other]['label']} | {' | '.join(cells)} |")
    if result["critic"]:
        lines += ["", "What the critic gets right on tasks that it was not trained on:", ""]
    for name, measured in result["critic"].items():
        parts = [f"{key} {format_interval(v, 3)} (n = {v['n']})" for key, v in measured.items()]
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
    """Write curves.png, hidden.png and, where the recipe has them, best-of.png and replies.png."""
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
        for stage in [name for name in recipe.rows if name != "zero_shot"]:
            path = folder / f"seed-{recipe.seeds[0]}" / stage / "history.jsonl"
            losses = [row["loss"] for row in read_rows(path)] or [0.0]  # nothing was preferred, nothing learnt
            width = max(1, len(losses) // 20)
            smooth = np.convolve(losses, np.ones(width) / width, "valid")
            axes.plot(np.linspace(0, 1, len(smooth)), smooth, label=stage)
        axes.set(xlabel="share of the stage's steps", ylabel="loss, moving mean", title=f"Seed {recipe.seeds[0]}")

    def hidden(axes: Any) -> None:
        for name in recipe.rows:
            row = result["table"][name]
            points = row["success by hidden decisions"]
            errors(axes, list(map(int, points)), list(points.values()), row["label"])
        axes.set(xlabel="hidden decisions", ylabel="success", ylim=(0, None), title="Held-out tasks")
        axes.xaxis.get_major_locator().set_params(integer=True)

    def replies(axes: Any) -> None:
        budgets = sorted(recipe.replies)
        for name in recipe.rows:
            names = [name if n == budgets[-1] or name == "zero_shot" else f"{name}-{n}" for n in budgets]
            rows = [result["table"][n] for n in names]
            errors(axes, budgets, [row["success"] for row in rows], result["table"][name]["label"])
        axes.set(xlabel="replies generated for training", ylabel="success", ylim=(0, None), title="Held-out tasks")

    def best(axes: Any) -> None:
        points = result["best of"]
        errors(axes, list(map(int, points)), list(points.values()), "start policy, best of N by the critic")
        axes.set(xlabel="candidates at each turn", ylabel="success", ylim=(0, None), title="What the critic knows")
        axes.set_xscale("log", base=2)

    save("curves.png", curves)
    if recipe.best_of:
        save("best-of.png", best)
    save("hidden.png", hidden)
    if len(recipe.replies) > 1:
        save("replies.png", replies)


def errors(axes: Any, xs: Sequence[float], points: Sequence[dict[str, float]], text: str) -> None:
    """Means with their intervals."""
    means = [p["mean"] for p in points]
    spread = [[p["mean"] - p["low"] for p in points], [p["high"] - p["mean"] for p in points]]
    axes.errorbar(xs, means, yerr=spread, marker="o", capsize=3, label=text)
