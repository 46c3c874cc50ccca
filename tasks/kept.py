"""What a person agrees to keep as training data, in a folder of Palimpsest's home: collaborations, and choices between two."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import Settings
from tasks.trajectory import BadTrajectory, Trajectory, read_trajectories, trajectory_of
from text import read_rows

COLLABORATIONS, PREFERENCES = "collaborations.jsonl", "preferences.jsonl"


@dataclass(frozen=True)
class KeptData:
    """The folder `trajectories` of a home."""

    settings: Settings

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.settings.folder / "trajectories"

    def may_keep(self) -> bool | None:
        """Whether the person has agreed; None before they were asked."""
        try:
            return bool(json.loads((self.folder / "consent.json").read_text(encoding="utf-8"))["agreed"])
        except FileNotFoundError:
            return None

    def agree(self, agreed: bool) -> None:
        """Keep the person's answer, which is asked for once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "consent.json").write_text(json.dumps({"agreed": agreed}), encoding="utf-8")

    def keep(self, trajectory: Trajectory, run: str) -> None:
        """Keep a collaboration under the id of its run: once, however often it is called.

        Raises PermissionError without consent.
        """
        path = self.folder / COLLABORATIONS
        kept = read_trajectories(path) if path.exists() else ()
        if all(row.extra.get("run") != run for row in kept):
            self._append(path, {**trajectory.to_row(), "extra": {**trajectory.extra, "run": run}})

    def keep_preference(self, chosen: Trajectory, rejected: Trajectory) -> None:
        """Append a choice between two trajectories of one task. Raises PermissionError without consent, and ValueError."""
        if chosen.task != rejected.task or chosen.description != rejected.description:
            raise ValueError(
                f"A pair needs two trajectories of one task, not of {chosen.task!r} and {rejected.task!r}."
            )
        row = {"task": chosen.task, "chosen": chosen.to_row(), "rejected": rejected.to_row()}
        self._append(self.folder / PREFERENCES, row)

    def _append(self, path: Path, row: dict[str, Any]) -> None:
        if not self.may_keep():
            raise PermissionError("The person has not agreed that collaborations are kept.")
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_preferences(path: Path) -> Iterator[tuple[Trajectory, Trajectory]]:
    """(chosen, rejected) of each row of a file of choices. Raises BadTrajectory, naming file and line."""
    return read_rows(path, lambda row: (trajectory_of(row["chosen"]), trajectory_of(row["rejected"])), BadTrajectory)
