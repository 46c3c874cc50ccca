"""Pairs of trajectories of one task: the better first.

    python -m training statistics runs/demo/seed-0/collect/trajectories.jsonl

`released` is the rule of the published code: a task counts if its best dialogue is fully correct, and that one, the first of
them, is preferred to every one with a lower score. `margin` is for graded scores, such as those of pages: every two whose scores
differ by at least the margin (SWEET-RL, appendix: 0.1 for pages).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intervals import format_interval, interval
from tasks.trajectory import Trajectory, read_trajectories

SILENT = "dialogues in which the agent says nothing"


class NoPairs(ValueError):
    """Trajectories of which no two can be told apart; the message says what they have."""


@dataclass(frozen=True)
class Pairs:
    """What a rule made of trajectories."""

    pairs: list[tuple[Trajectory, Trajectory]]
    left_out: dict[str, int]
    """Trajectories, or tasks, without a part in it, by reason."""


def make_pairs(
    trajectories: Iterable[Trajectory], rule: Literal["released", "margin"] = "released", margin: float = 0.1
) -> Pairs:
    """The pairs of each task, in the order of the file. Raises NoPairs if there is none."""
    groups: dict[tuple[str, str], list[Trajectory]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for trajectory in trajectories:
        if trajectory.score is None:
            left_out["trajectories without a score"] += 1
        elif not trajectory.replies:
            left_out[SILENT] += 1
        else:
            groups[trajectory.task, trajectory.description].append(trajectory)
    pairs: list[tuple[Trajectory, Trajectory]] = []
    for group in groups.values():
        made = _released(group) if rule == "released" else _margin(group, margin)
        pairs += made
        if not made:
            left_out[_reason(group, rule)] += 1
    if not pairs:
        raise NoPairs(
            f"There is no pair in {sum(map(len, groups.values()))} trajectories of {len(groups)} tasks "
            f"({', '.join(f'{n} {reason}' for reason, n in left_out.items()) or 'none given'}): collect more samples for each "
            "task, easier tasks, or use the margin rule."
        )
    return Pairs(pairs, dict(left_out))


def _released(group: list[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    best = max(group, key=_score)
    return [(best, other) for other in group if _score(other) < _score(best)] if _score(best) >= 1 else []


def _margin(group: list[Trajectory], margin: float) -> list[tuple[Trajectory, Trajectory]]:
    return [(a, b) for a in group for b in group if _score(a) - _score(b) >= margin]


def _score(trajectory: Trajectory) -> float:
    return float(trajectory.score or 0.0)


def _reason(group: list[Trajectory], rule: str) -> str:
    scores = {_score(t) for t in group}
    if len(group) == 1:
        return "tasks with one dialogue"
    if len(scores) == 1:
        return "tasks whose scores are all equal"
    return "tasks that no dialogue solved" if rule == "released" else "tasks whose scores are closer than the margin"


def print_statistics(path: Path, margin: float | None = None) -> None:
    """Print what a file of trajectories has, and the pairs that it makes. Raises BadTrajectory, naming line and field."""
    rows = list(read_trajectories(path))
    scored = [_score(t) for t in rows if t.score is not None]
    turns = [len(t.replies) for t in rows]
    print(
        f"{len(rows)} trajectories of {len({t.task or t.description for t in rows})} tasks, {len(scored)} with a score"
    )
    if scored:
        print(f"score {_interval(scored)}, success {_interval([float(s >= 1) for s in scored])}")
    if turns:
        print(f"turns of the agent {_interval([float(n) for n in turns])}, most {max(turns)}")
    made = make_pairs(rows) if margin is None else make_pairs(rows, "margin", margin)
    print(f"{len(made.pairs)} pairs; without a part in them: {made.left_out or 'nothing'}")


def _interval(values: list[float]) -> str:
    return format_interval(interval(values))
