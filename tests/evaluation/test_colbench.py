"""ColBench from the command line: a run that is killed and resumed, ends in the report of an unbroken one."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evaluation.__main__ import main
from evaluation.colbench import win_rate
from evaluation.mutations import KINDS
from tasks.colbench import write_tasks
from tasks.own_backend import make_task
from tasks.own_frontend import make_page
from tests.models.fake_openai import fake_openai, writes

ROOT = Path(__file__).parent.parent.parent


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evaluation", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip


def finish(*arguments: str, **environment: str) -> str:
    """What a benchmark prints, run in this process: one of its own takes seconds to begin."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(shown):
        patched.setattr(sys, "argv", ["evaluation", *arguments])
        for name, value in environment.items():
            patched.setenv(name, value)
        main()
    return shown.getvalue()


def report(path: Path) -> dict[str, Any]:
    return {k: v for k, v in json.loads(path.read_text()).items() if k not in ("time", "command", "spent")}


@pytest.mark.parametrize("count", [25])
def test_killed_twice_and_resumed_it_reports_the_same(tmp_path: Path, count: int) -> None:
    ask = ["colbench", "--split", "own-backend/test", "--count", str(count), "--agent", "asking", "--vagueness", "0.3", "--forgetfulness", "0.1"]  # fmt: skip
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    shown = finish(*ask, "--out", str(whole))
    rows = tmp_path / "broken.rows.jsonl"
    for part in (3, 6):
        process = start(*ask, "--out", str(broken), "--resume")
        while process.poll() is None and (not rows.exists() or len(rows.read_text().splitlines()) < part * count // 5):
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(rows.read_text().splitlines()) < 2 * count
    again = finish(*ask, "--out", str(broken), "--resume")
    assert again.replace("broken", "whole") == shown
    assert json.dumps(report(broken)) == json.dumps(report(whole))
    names = [tmp_path / f"{n}.trajectories.jsonl" for n in ("whole", "broken")]
    assert names[0].read_text() == names[1].read_text()
    assert len(names[0].read_text().splitlines()) == count
    assert not (tmp_path / "broken.unfinished").exists()
    assert (
        report(whole)["table"]["dialogue"]["success"]["mean"]
        > 0.6
        > report(whole)["table"]["single_turn"]["success"]["mean"]
    )


def test_against_endpoints_it_counts_pays_once_and_resumes(tmp_path: Path) -> None:
    tasks = [make_task("test", 3, n) for n in range(2)]
    write_tasks(tasks, tmp_path / "two.jsonl")
    right = [writes(f"I WANT TO ANSWER:\n```python\n{t.ground_truth}\n```") for t in tasks]
    ask = [
        "colbench",
        "--file",
        str(tmp_path / "two.jsonl"),
        "--agent",
        "fake",
        "--concurrency",
        "1",
        "--price",
        "1",
        "2",
    ]
    out = ["--out", str(tmp_path / "e.json")]
    with fake_openai() as agent, fake_openai() as person:
        to = {"OPENAI_BASE_URL": agent.url, "PALIMPSEST_PERSON_URL": person.url, "PALIMPSEST_PERSON_KEY": "other"}
        agent.turns = [
            writes("What first?"),
            {"status": 401, "body": "{}"},
            {"status": 401, "body": "{}"},
            right[0],
            {"status": 401, "body": "{}"},
        ]
        person.turns = [writes("It is a secret."), writes("It is a secret.")]
        process = start(*ask, *out, "--person", "model", "--person-model", "human-like", **to)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "not finished" in errors
        assert "--resume" in errors
        before = len(agent.requests)
        agent.turns = [right[0], right[1], right[1]]
        shown = finish(*ask, *out, "--resume", "--person", "model", "--person-model", "human-like", **to)
        assert len(agent.requests) == before + 3
        assert {r["model"] for r in person.requests} == {"human-like"}
        assert {r["temperature"] for r in person.requests} == {0.0}
    assert "1.000 [1.000, 1.000]" in shown
    assert report(tmp_path / "e.json")["table"]["dialogue"]["turns"]["mean"] == 1.5


def test_a_win_rate_needs_the_same_tasks(tmp_path: Path) -> None:
    ask = ["colbench", "--split", "own-backend/train", "--count", "6"]
    finish(*ask, "--agent", "guessing", "--out", str(tmp_path / "a.json"))
    shown = finish(
        *ask,
        "--agent",
        "asking",
        "--out",
        str(tmp_path / "b.json"),
        "--opponent",
        str(tmp_path / "a.trajectories.jsonl"),
    )
    rate = re.search(r"Win rate .*: ([\d.]+)", shown)
    assert rate
    assert float(rate[1]) > 0.9
    process = start(
        *ask,
        "--first",
        "50",
        "--agent",
        "asking",
        "--out",
        str(tmp_path / "c.json"),
        "--opponent",
        str(tmp_path / "a.trajectories.jsonl"),
    )
    assert "needs the same tasks" in process.communicate()[1]
    assert process.returncode == 1


def test_files_and_own_tasks_are_measured(tmp_path: Path) -> None:
    write_tasks([*(make_task("test", 3, n) for n in range(6)), make_page("test", 4, 1)], tmp_path / "mixed.jsonl")
    shown = finish("colbench-file", "--file", str(tmp_path / "mixed.jsonl"), "--out", str(tmp_path / "m.json"))
    assert "References that score 1.0: 6 of 6" in shown
    assert all(kind in shown for kind in KINDS)
    assert "two_differences" in shown
    shown = finish(
        "own-tasks",
        "--backend",
        "12",
        "--frontend",
        "2",
        "--check",
        "4",
        "--to",
        str(tmp_path / "own"),
        "--out",
        str(tmp_path / "o.json"),
    )
    assert "both splits have: 0" in shown
    assert len((tmp_path / "own" / "own-backend-train-3.jsonl").read_text().splitlines()) == 6
    measured = report(tmp_path / "o.json")["splits"]
    assert measured["backend test"]["truth"]["mean"] == measured["frontend test"]["asking"]["mean"] == 1.0


def test_a_run_over_a_file_can_be_resumed_with_more_tasks(tmp_path: Path) -> None:
    write_tasks([make_task("test", 3, n) for n in range(3)], tmp_path / "three.jsonl")
    ask = ["colbench", "--file", str(tmp_path / "three.jsonl"), "--agent", "repeating", "--turns", "2"]
    finish(*ask, "--count", "1", "--out", str(tmp_path / "m.json"))
    finish(*ask, "--count", "3", "--out", str(tmp_path / "m.json"), "--resume")
    assert report(tmp_path / "m.json")["tasks"] == 3
    assert len((tmp_path / "m.rows.jsonl").read_text().splitlines()) == 7


def test_a_task_that_cannot_be_scored_is_left_out_and_named(tmp_path: Path) -> None:
    good = [json.dumps(t.to_row()) for t in (make_task("test", 3, n) for n in range(2))]
    bad = json.dumps(
        {**json.loads(good[0]), "ground_truth": "import torch_is_not_here\n" + json.loads(good[0])["ground_truth"]}
    )
    (tmp_path / "mixed.jsonl").write_text("\n".join([good[0], bad, good[1]]))
    shown = finish(
        "colbench",
        "--file",
        str(tmp_path / "mixed.jsonl"),
        "--agent",
        "repeating",
        "--turns",
        "2",
        "--out",
        str(tmp_path / "m.json"),
    )
    assert re.search(r"Left out, for its reference cannot be scored here: mixed-\w+/1", shown)
    assert report(tmp_path / "m.json")["tasks"] == 2


def a_row(task: str, score: float, **extra: float) -> dict[str, Any]:
    return {"trajectory": {"task": task, "score": score, "extra": extra}}


def test_pages_win_by_clip_where_both_sides_have_it_else_by_our_score() -> None:
    better = [[a_row("t", 0.2, clip=0.9), a_row("t", 0.9, clip=0.5)]]
    by, rate = win_rate(better, [a_row("t", 0.5, clip=0.8)["trajectory"]])
    assert (by, rate["mean"]) == ("CLIP cosine", 0.5)
    by, rate = win_rate([better[0][:1]], [a_row("t", 0.5)["trajectory"]])
    assert (by, rate["mean"]) == ("our score", 0.0)
