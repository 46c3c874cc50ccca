"""`python -m training run FOLDER`: the whole recipe; `stage FOLDER NAME`: one stage; `tune`, `export`, `statistics`: see --help."""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    whole = commands.add_parser("run", help="every stage of a recipe that is not there yet, and the report")
    one = commands.add_parser("stage", help="one stage, after those that it needs")
    for command in (whole, one):
        command.add_argument("folder", type=Path)
        command.add_argument("--recipe", type=Path, help="a JSON file; default: the folder's, or the demonstration")
    one.add_argument("name", help="such as seed-0/critic-sweet_house")
    tuned = commands.add_parser("tune", help="choose the settings of each row on tasks of the train split")
    tuned.add_argument("folder", type=Path)
    tuned.add_argument("--recipe", type=Path, help="a JSON file; default: the demonstration")
    tuned.add_argument("--tries", type=int, default=6, help="settings of each row")
    tuned.add_argument("--to", type=Path, default=Path("docs/tuning.md"), help="where every try is written down")
    exported = commands.add_parser("export", help="a trained policy as a model folder with its card")
    exported.add_argument("folder", type=Path, help="of the run")
    exported.add_argument("name", help="such as seed-0/sweet_house")
    exported.add_argument("out", type=Path)
    exported.add_argument("--adapter", action="store_true", help="the LoRA adapter alone, not merged into the base")
    listed = commands.add_parser("statistics", help="what a file of trajectories has, and the pairs it makes")
    listed.add_argument("file", type=Path)
    listed.add_argument("--margin", type=float, help="use the margin rule")
    arguments = parser.parse_args()
    try:
        _do(arguments)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _do(arguments: argparse.Namespace) -> None:
    if arguments.command == "statistics":
        from training.pairs import print_statistics

        print_statistics(arguments.file, arguments.margin)
        return
    if arguments.command == "export":
        from training.export import export

        export(arguments.folder, arguments.name, arguments.out, adapter=arguments.adapter)
        return
    from training.recipe import Recipe
    from training.run import make, needed, plan, run, store_recipe

    kept = arguments.folder / "recipe.json"
    path = arguments.recipe or (kept if kept.exists() and arguments.command != "tune" else None)
    recipe = Recipe.from_json(path.read_text(encoding="utf-8"), str(path)) if path else Recipe()
    if arguments.command == "run":
        run(arguments.folder, recipe)
        return
    if arguments.command == "tune":
        from training.tune import tune

        tune(arguments.folder, recipe, arguments.tries, arguments.to)
        return
    stages = plan(recipe)
    if arguments.name not in stages:
        raise ValueError(f"There is no stage {arguments.name!r}: use one of {', '.join(stages)}.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        needs = [job.name for job in needed(recipe, stages[arguments.name])]
        missing = [name for name in needs if not (arguments.folder / name).is_dir()]
        if missing:
            raise ValueError(f"{missing[0]} is not there yet: make it first, without `accelerate launch`.")
        make(arguments.folder, recipe, arguments.name)
        return
    recipe.check_held_out()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    store_recipe(arguments.folder, recipe)
    wanted = {arguments.name}
    for name, job in reversed(stages.items()):  # what a stage needs stands before it
        if name in wanted:
            wanted |= {other.name for other in needed(recipe, job)}
    for name in stages:
        if name in wanted:
            make(arguments.folder, recipe, name)


if __name__ == "__main__":
    main()
