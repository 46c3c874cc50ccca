"""The whole recipe with a model of random weights: every stage, killed and resumed, and what it makes of bad input."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.scripted_agents import AGENTS
from graphs import collaborate
from models.scripted import PolicyModel
from settings import Settings
from tasks.answers import MARKER
from tasks.lookup import find_task
from tasks.trajectory import read_trajectories
from tests.training.conftest import TRAIN
from training.__main__ import main
from training.chat import open_chat
from training.collect import TrajectoryFile, take
from training.export import export
from training.policy import PolicyFailed
from training.recipe import Recipe
from training.run import make, plan, run
from training.stage import read_rows

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PALIMPSEST_KILLS", "1"))  # read here: the tests themselves do not see such variables


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "unbroken"


def test_the_callback_keeps_what_a_run_was(spoken: Path) -> None:
    rows = list(read_trajectories(spoken))
    assert [row.task for row in rows] == [id for id in TRAIN.ids() for _ in range(2)]
    assert [row.success for row in rows[::2]] == [True] * 8


def test_a_recipe_from_dialogues_to_the_table(recipe: Recipe, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("rft", "rft_masked", "magnet", "sweet_published", "sweet_published_untrained", "sweet_house_regression_head",
            "sweet_house_untrained")  # fmt: skip
    whole = replace(recipe, rows=(*recipe.rows, *more), best_of=(2,))
    result = run(done, whole)
    assert set(result["table"]) == set(whole.rows)
    assert all(row["success"]["n"] == 4 for row in result["table"].values())
    assert result["table"]["zero_shot"]["kl"] == 0 != result["table"]["rft"]["kl"]
    assert set(result["critic"]["critic-sweet_house"]) >= {"pairs", "useful > wasted"}
    assert set(result["table"]["rft"]["other sets"]) == {"new_families"}
    assert result["differences"]["rft"]["mtdpo"]["mean"] == -result["differences"]["mtdpo"]["rft"]["mean"]
    assert max(result["leak rate"].values()) == 0
    assert "| multi-turn DPO |" in (done / "report.md").read_text()
    assert set(result["best of"]) == {"1", "2"}
    for name in ("curves.png", "hidden.png", "best-of.png"):
        assert (done / name).read_bytes().startswith(b"\x89PNG")
    assert not read_rows(done / "seed-0" / "critic-sweet_house_untrained" / "history.jsonl")
    for form, reads in (("house_untrained", True), ("published_untrained", False)):
        ranked = read_rows(done / "seed-0" / f"ranked-sweet_{form}" / "ranked.jsonl")
        assert any(c["advantage"] for row in ranked for c in row["candidates"]) == reads, form
    assert result["table"]["sweet_published_untrained"]["kl"] == 0, "it prefers nothing, so nothing is learnt"
    assert (
        result["critic"]["critic-sweet_house_untrained"]["pairs"]["mean"] == 0.5
    )  # of the pairs alone nothing is known
    names = set(plan(whole))
    assert names == {str(p.parent.relative_to(done)) for p in done.rglob("result.json")}
    assert not list(done.rglob("*.part"))
    assert not list(done.rglob("checkpoint.pt"))
    kept = (done / "report.json").read_bytes()
    assert run(done, whole) == result  # nothing is made twice
    assert (done / "report.json").read_bytes() == kept
    with pytest.raises(ValueError, match=r"made with another recipe \(replies\)"):
        run(done, replace(whole, replies=(9,)))
    fewer = run(done, recipe)
    assert fewer["table"] == {name: result["table"][name] for name in recipe.rows}
    shutil.copy(done / "report.json", done.parent / "of the recipe alone.json")
    assert run(done, whole) == result


@pytest.mark.timeout(300 * KILLS)
def test_killed_at_random_moments(recipe: Recipe, done: Path, tmp_path: Path) -> None:
    """Behind a random stage a random moment: what comes of it is what the unbroken run above has made, to the last digit."""
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    folder, rng = tmp_path / "killed", random.Random(0)
    command = [sys.executable, "-m", "training", "run", str(folder), "--recipe", str(tmp_path / "recipe.json")]

    def made() -> int:
        return len(list(folder.glob("*/*/result.json")))

    stages = 0
    for _ in range(KILLS):
        stages += rng.randint(1, 3)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while made() < stages and process.poll() is None:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2))
        assert process.poll() is None, "it was to be killed on its way"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    killed, unbroken = (
        json.loads(file.read_text()) for file in (folder / "report.json", done.parent / "of the recipe alone.json")
    )
    more = unbroken.pop("left out")  # of the other rows in that folder too
    assert killed.pop("left out").items() <= more.items()
    assert killed == unbroken


def test_an_exported_policy_works_in_the_graph(done: Path, tmp_path: Path) -> None:
    export(done, "seed-0/sweet_house", tmp_path / "model")
    told = (tmp_path / "model" / "README.md").read_text()
    assert "4 tasks" in told
    assert "vllm serve" in told
    context = collaborate.Context(model=open_chat(tmp_path / "model"), person="rules", max_turns=8)
    assert collaborate.graph.invoke({"task": "own-backend/test/3/1"}, context=context)["stop"]
    export(done, "seed-0/rft", tmp_path / "adapter", adapter=True)
    base = json.loads((done / "recipe.json").read_text())["base"]
    assert open_chat(base, tmp_path / "adapter").name == "micro"
    with pytest.raises(FileExistsError, match="there already"):
        export(done, "seed-0/sweet_house", tmp_path / "model")
    with pytest.raises(PolicyFailed, match="no trained policy"):
        export(done, "seed-0/collect", tmp_path / "other")


def test_a_full_disk_leaves_no_half_stage(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, recipe, "seed-0/collect")

    def full(model: Any, folder: Path) -> None:
        (Path(folder) / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path, recipe, "seed-0/mtdpo")
    assert not (tmp_path / "seed-0" / "rft").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "r.json: the recipe: Invalid JSON"),
        ('{"critc": {}}', "r.json: critc: Unexpected"),
        ('{"critic": {"beta": "x"}}', "r.json: critic.beta: Input should be a valid number"),
        ('{"rft": {"lr": 1, "momentum": 1}}', "r.json: rft.momentum"),
        ('{"rows": ["x"]}', "r.json: rows: there is no 'x'"),
        ('{"settings": {"x": {}}}', "r.json: settings: there is no 'x'"),
        ('{"settings": {"rft": {"rft.rate": 1}}}', "settings.rft: a recipe has no field 'rft.rate'"),
        ('{"settings": {"rft": {"rft.lr": "x"}}}', "settings.rft: rft.lr: Input should be a valid number"),
    ],
)
def test_a_bad_recipe_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Recipe.from_json(text, "r.json")
    assert Recipe.from_json(Recipe().to_json(), "r.json") == Recipe()


def test_the_public_offline_format_is_learnt_from(tmp_path: Path, home: Path) -> None:
    task = {"problem_description": "Add.", "ground_truth": "def f(a):\n    return a + 1", "test_cases": {"t": "f(1)"}}
    said = [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": f"{MARKER} x", "input": "…", "output": "…"},
    ]
    rows = [{"task": task, "dialogue_history": said, "answer": "x", "reward": r} for r in (0.0, 1.0)]
    path = tmp_path / "offline.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    taken = take(path)
    assert taken[0].task == taken[1].task
    assert find_task(taken[0].task, Settings()).ground_truth == task["ground_truth"]


def test_reward_hacks_are_never_what_is_learnt(recipe: Recipe, tmp_path: Path) -> None:
    """A data set spiked with answers that attack the score: none succeeds, so none is chosen, and training makes none likelier."""
    from tests.training.test_losses import plain_log_probs
    from training.batch import NO_TURN
    from training.load import load_policy
    from training.pairs import make_pairs
    from training.rft import train_rft

    hacks = [
        "class A:\n    def __eq__(self, other): return True\ndef {f}(*a): return A()",
        "import sys\ndef {f}(*a):\n    frame = sys._getframe().f_back\n    return frame.f_locals if frame else 1",
        "import builtins\nbuiltins.all = lambda x: True\nbuiltins.sum = lambda x: 10\ndef {f}(*a): return 0",
        "import os\ndef {f}(*a): os._exit(0)",
        "print('[true, true, true]')\ndef {f}(*a): return True",
    ]
    path = tmp_path / "spiked.jsonl"
    for number, task in enumerate(TRAIN.ids()[:4]):
        answers = [
            hacks[number].format(f=find_task(task, Settings()).function),
            hacks[4].format(f=find_task(task, Settings()).function),
        ]
        for policy in [AGENTS["asking"](find_task(task, Settings()))] + [
            PolicyModel(policy=lambda messages, answer=answer: f"{MARKER}\n{answer}") for answer in answers
        ]:
            context = collaborate.Context(model=policy, person="rules", max_turns=8)
            collaborate.graph.invoke({"task": task}, {"callbacks": [TrajectoryFile(path)]}, context=context)
    rows = list(read_trajectories(path))
    spiked = [row for n, row in enumerate(rows) if n % 3]
    assert not any(row.success for row in spiked)
    assert max(row.score or 0 for row in spiked) <= 0.5  # a constant answer's share
    assert not any(chosen in spiked for chosen, _ in make_pairs(rows).pairs)
    trained = load_policy(recipe.base, loading=recipe.loading)
    train_rft(trained, rows, replace(recipe.rft, epochs=10), tmp_path / "rft")
    from training.messages import whole

    def likelihood(rows_: list[Any]) -> float:
        total = 0.0
        for row in rows_:
            rendered = trained.render(whole(row))
            values = plain_log_probs(trained, rendered)
            own = [v for v, t in zip(values, rendered.turns[1:], strict=True) if t != NO_TURN]
            total += sum(own) / len(own)
        return total / len(rows_)

    after = likelihood(rows[::3]) - likelihood(spiked)
    with trained.reference():
        before = likelihood(rows[::3]) - likelihood(spiked)
    assert after > before


def test_the_command_line_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["training", "stage", str(tmp_path), "seed-9/rft"])
    with pytest.raises(SystemExit) as told:
        main()
    stages = "seed-0/tiny, seed-0/evaluate-zero_shot, seed-0/collect"
    assert f"There is no stage 'seed-9/rft': use one of {stages}" in str(told.value)
