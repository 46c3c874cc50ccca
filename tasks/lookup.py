"""Finds a task by its id, so that no state and no checkpoint holds what is hidden.

`own-backend/train/3/17`, `own-backend/rephrased/3/17` and `own-frontend/test/4/2` are made anew from their seed; `NAME/7` is row 7
of `tasks/NAME.jsonl` in Palimpsest's home, where `store_file` and `store_tasks` put it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from settings import Settings
from tasks.colbench import BadTask, Task, read_tasks, task_of, write_tasks
from tasks.own_backend import make_task
from tasks.own_frontend import make_page

OWN = re.compile(r"own-(backend|frontend)/(train|test|rephrased)/([0-9]{1,2})/([0-9]{1,9})")
KEPT = re.compile(r"([\w.-]{1,100})/([0-9]{1,9})")


def find_task(task_id: str, settings: Settings) -> Task:
    """The task of that id. Raises BadTask, saying what an id looks like."""
    if own := OWN.fullmatch(task_id):
        kind, split, difficulty, seed = own.groups()
        make = make_task if kind == "backend" else make_page
        return _made(make, split, int(difficulty), int(seed))
    kept = KEPT.fullmatch(task_id)
    folder = settings.folder / "tasks"
    path = folder / f"{kept[1]}.jsonl" if kept else None
    if kept is None or path is None or not path.is_file():
        raise BadTask(
            f"There is no task {task_id!r:.120}: use own-backend/train/3/17, own-frontend/test/4/2, or NAME/7 for row 7 of the "
            f"file NAME.jsonl in {folder}."
        )
    tasks = _read(path, path.stat().st_mtime_ns)
    if int(kept[2]) >= len(tasks):
        raise BadTask(f"{path} has {len(tasks)} tasks, counted from 0: there is no row {kept[2]}.")
    return tasks[int(kept[2])]


def store_file(path: Path, settings: Settings, limit: int | None = None) -> list[str]:
    """Put a file of tasks where `find_task` finds them; the ids of the first `limit`, which are the same for any limit.

    Raises BadTask, naming file, line and field.
    """
    return store_tasks(read_tasks(path), path.stem, settings)[:limit]


def store_tasks(tasks: Iterable[Task], name: str, settings: Settings) -> list[str]:
    """Store tasks under a name and a mark of what they say: another file of that name takes nothing from this one."""
    rows = [json.dumps(task.to_row(), sort_keys=True) for task in tasks]
    mark = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:8]
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name)[:60] or 'tasks'}-{mark}"
    path = settings.folder / "tasks" / f"{stem}.jsonl"
    ids = [f"{stem}/{n}" for n in range(len(rows))]
    if not path.exists():
        write_tasks((task_of({**json.loads(row), "task_id": id}, id) for row, id in zip(rows, ids, strict=True)), path)
    return ids


@lru_cache(maxsize=20_000)
def _made(make: Callable[[Any, int, int], Task], split: str, difficulty: int, seed: int) -> Task:
    try:
        task = make(split, difficulty, seed)
    except ValueError as error:
        raise BadTask(f"There is no such task: {error}") from error
    return task


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> list[Task]:
    return read_tasks(path)
