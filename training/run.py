"""All stages as one recipe: from nothing, or a model's name, to the table of zero-shot, rejection fine-tuning, multi-turn DPO and
SWEET-RL.

    python -m training run runs/demo                       # the recipe for two CPU cores, about 20 minutes
    python -m training run runs/llama --recipe llama.json  # your own

A stage is a folder; it is made as NAME.part and renamed when it is done. So a run that was killed anywhere and is started again
goes on with what is done, and gives the same numbers. Stages that do not need each other run side by side.
"""

import json
import os
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from graphlib import TopologicalSorter
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import portalocker
import torch
from accelerate import PartialState
from tqdm import tqdm

from training import actor, best_of, candidates, collect, critic, evaluate, mtdpo, ranked, report, rft, tiny
from training.recipe import Recipe
from training.stage import Job, Stage, Workspace

FILES = (tiny, collect, rft, mtdpo, critic, candidates, ranked, actor, evaluate, best_of)
STAGES: dict[str, Stage] = {file.STAGE.name: file.STAGE for file in FILES}


def plan(recipe: Recipe) -> dict[str, Job]:
    """Every stage of a recipe by name, each after those that it needs."""
    found: dict[str, Job] = {}

    def add(job: Job) -> None:
        for other in needed(recipe, job):
            add(other)
        found.setdefault(job.name, job)

    for seed in recipe.seeds:
        for samples in recipe.best_of:
            add(Job("best-of", seed, samples=samples))
        for variant in recipe.variants():
            add(Job("evaluate", seed, variant))
    return found


def needed(recipe: Recipe, job: Job) -> list[Job]:
    """What a stage needs."""
    found = []
    for need in STAGES[job.stage].needs:
        need = job.variant.row.method if need == "policy" else need
        if need not in ("start", "zero_shot"):
            found.append(job.of(need))
        elif recipe.base == "tiny":  # the demonstration's start policy is a stage itself
            found.append(Job("tiny", job.seed))
    return found


def run(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Make every stage that is not there yet, then the report. Raises what a stage raises; what was done stays done."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "`run` starts processes of its own: use `accelerate launch` with `stage`, for one stage at a time."
        )
    started = time.monotonic()
    recipe.check_held_out()
    folder.mkdir(parents=True, exist_ok=True)
    store_recipe(folder, recipe)
    todo = plan(recipe)
    done = {name for name in todo if (folder / name).is_dir()}
    order = TopologicalSorter({name: [n.name for n in needed(recipe, job)] for name, job in todo.items()})
    order.prepare()
    waiting: list[str] = []
    with (
        ProcessPoolExecutor(recipe.workers, get_context("spawn"), begin, (os.getpid(),)) as pool,
        tqdm(total=len(todo), initial=len(done), desc="stages", disable=None) as bar,
    ):
        running: dict[Future[None], str] = {}
        try:
            while order.is_active():
                for name in order.get_ready():
                    if name in done:
                        order.done(name)
                    else:
                        waiting.append(name)
                while waiting and len(running) < recipe.workers:
                    name = waiting.pop(0)
                    running[pool.submit(make, folder, recipe, name)] = name
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    future.result()
                    order.done(name)
                    bar.update()
                    bar.set_postfix_str(name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(f"{len(todo)} stages; {time.monotonic() - started:.0f} s of this run.")
    return report.write(folder, recipe)


def make(folder: Path, recipe: Recipe, name: str) -> None:
    """Make one stage, unless it is there. Two runs never make one at a time.

    Under `accelerate launch` all processes work on it; the first one's files are kept.
    """
    whole, part = folder / name, folder / f"{name}.part"
    whole.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(recipe.threads)  # sums depend on it
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not whole.is_dir():
        part.mkdir(exist_ok=True)
        everyone = PartialState()
        scratch = part if everyone.is_main_process else folder / f"{name}.part-{everyone.process_index}"
        if not everyone.is_main_process:
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(part, scratch)  # with the checkpoint that all go on from
        everyone.wait_for_everyone()
        _fill(folder, recipe, name, scratch)
        everyone.wait_for_everyone()
        if everyone.is_main_process:
            finish(part, whole)
        else:
            shutil.rmtree(scratch)
        return
    lock = folder / ".locks" / name.replace("/", ".")
    lock.parent.mkdir(exist_ok=True)
    with portalocker.Lock(str(lock), timeout=24 * 3600):
        if whole.is_dir():
            return
        part.mkdir(exist_ok=True)
        _fill(folder, recipe, name, part)
        finish(part, whole)


def _fill(folder: Path, recipe: Recipe, name: str, part: Path) -> None:
    job = plan(recipe)[name]
    STAGES[job.stage].make(Workspace(folder, recipe), job, part)


def finish(part: Path, whole: Path) -> None:
    """A stage is done: what it went on from goes, and it has its name."""
    (part / "checkpoint.pt").unlink(missing_ok=True)
    os.replace(part, whole)


def begin(parent: int) -> None:
    """Set a worker up: it ends with its parent, whatever ended that."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


LINES = ("seeds", "rows", "best_of", "workers")
"""What says which stages there are, and nothing of what they do."""


def store_recipe(folder: Path, recipe: Recipe) -> None:
    """Store what the folder is made with; a recipe that asks for other lines of the table goes on with the stages that are there.
    Raises ValueError if they were made with something else.
    """
    path = folder / "recipe.json"
    text = recipe.to_json()
    if path.exists():
        kept = json.loads(Recipe.from_json(path.read_text(encoding="utf-8"), str(path)).to_json())
        other = [name for name, value in json.loads(text).items() if value != kept[name] and name not in LINES]
        if other:
            raise ValueError(
                f"{folder} was made with another recipe ({', '.join(other)}): use another folder, or {path}."
            )
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
