"""The loop: it goes on where it was killed with the same numbers, and keeps nothing of what failed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training.config import TrainConfig
from training.fit import TrainingFailed, fit
from training.muon import Muon, orthogonal

SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
from tests.training.test_fit import line, rows, squares
from training.config import TrainConfig
from training.fit import fit
kill = int(sys.argv[2])
def loss(part):
    global kill
    kill -= 1
    if kill == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(model)(part)
model = line()
fit(model, rows(), loss, TrainConfig(lr=0.1, epochs=3, batch=4, micro_batch=2, save_every=2), Path(sys.argv[1]), "line")
print(model.weight.tolist())
"""


def line() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(2, 1, bias=False)


def rows() -> list[tuple[list[float], float]]:
    return [([float(n), 1.0], 2.0 * n + 1) for n in range(10)]


def squares(model: Any) -> Any:
    def loss(part: Any) -> tuple[torch.Tensor, dict[str, float]]:
        inputs, wanted = torch.tensor([x for x, _ in part]), torch.tensor([y for _, y in part])
        return ((model(inputs)[:, 0] - wanted) ** 2).mean(), {"rows": float(len(part))}

    return loss


def test_micro_batches_give_the_gradient_of_the_batch(tmp_path: Path) -> None:
    found = []
    for micro in (1, 3, 8):
        model = line()
        history = fit(
            model,
            rows(),
            squares(model),
            TrainConfig(lr=0.1, epochs=2, batch=8, micro_batch=micro),
            tmp_path / str(micro),
            "x",
        )
        found.append((model.weight.detach(), [h["loss"] for h in history]))
    for weight, losses in found[1:]:
        torch.testing.assert_close(weight, found[0][0])
        assert losses == pytest.approx(found[0][1])
    assert len(found[0][1]) == 4  # of 10 rows a batch of 8 and one of 2, twice


def test_killed_and_gone_on_with(tmp_path: Path) -> None:
    model = line()
    fit(
        model, rows(), squares(model), TrainConfig(lr=0.1, epochs=3, batch=4, micro_batch=2), tmp_path / "whole", "line"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    killed = subprocess.run([*command, "9"], env=env, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    done = subprocess.run([*command, "0"], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == model.weight.tolist()


def test_a_curriculum_keeps_its_order(tmp_path: Path) -> None:
    for shuffle in (True, False):
        seen: list[Any] = []
        model = line()

        def loss(part: Any, seen: list[Any] = seen, model: Any = model) -> tuple[torch.Tensor, dict[str, float]]:
            seen.extend(part)
            value, shown = squares(model)(part)
            return value, shown

        fitting = TrainConfig(epochs=2, batch=4, micro_batch=4, shuffle=shuffle)
        fit(model, rows(), loss, fitting, tmp_path / str(shuffle), "line")
        assert (seen == rows() * 2) is not shuffle
        assert sorted(seen) == sorted(rows() * 2)


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    model = line()
    before = model.weight.detach().clone()
    with pytest.raises(TrainingFailed, match="line: the loss is nan at step 1 of 9: lower lr"):
        fit(
            model,
            rows(),
            lambda part: (model.weight.sum() * float("nan"), {}),
            TrainConfig(batch=4, epochs=3),
            tmp_path,
            "line",
        )
    assert torch.equal(model.weight, before)
    assert not list(tmp_path.iterdir())


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="line: there is nothing to train on"):
        fit(line(), [], squares(None), TrainConfig(), tmp_path, "line")


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, save, saved = line(), torch.save, list[int]()

    def full(state: Any, path: Path) -> None:
        saved.append(1)
        if len(saved) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    fitting = TrainConfig(lr=0.1, epochs=3, batch=4, save_every=2)
    with pytest.raises(OSError, match="No space left"):
        fit(model, rows(), squares(model), fitting, tmp_path, "line")
    whole = line()
    fit(whole, rows(), squares(whole), fitting, tmp_path / "other", "line")
    again = line()
    fit(again, rows(), squares(again), fitting, tmp_path, "line")
    assert torch.equal(again.weight, whole.weight)


def test_two_processes_share_each_batch(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom tests.training.test_fit import line, rows, squares\n"
        "from training.config import TrainConfig\nfrom training.fit import fit\nmodel = line()\n"
        "history = fit(model, rows()[:9], squares(model), TrainConfig(lr=0.1, epochs=2, batch=4), Path(sys.argv[1]), 'line')\n"
        "import os, json\n"
        "if os.environ['RANK'] == '0': print(json.dumps([model.weight.tolist(), [h['loss'] for h in history]]))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "two")], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    weights, losses = json.loads(done.stdout.strip().splitlines()[-1])
    alone = line()
    history = fit(alone, rows()[:9], squares(alone), TrainConfig(lr=0.1, epochs=2, batch=4), tmp_path / "one", "line")
    torch.testing.assert_close(torch.tensor(weights), alone.weight.detach())
    assert losses == pytest.approx([h["loss"] for h in history], rel=1e-5)


def test_muon_is_torchs_own_in_full_precision() -> None:
    """Which works in bfloat16: so nearly the same steps."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((8, 24), (24, 8), (16, 16)):
        ours, theirs = (torch.nn.Parameter(torch.zeros(shape)) for _ in range(2))
        mine = Muon([ours], lr=0.1)
        reference: Any = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        for _ in range(3):
            gradient = torch.randn(shape, generator=generator)
            ours.grad, theirs.grad = gradient, gradient.clone()
            mine.step()
            reference.step()
            assert (ours - theirs).norm() < 0.02 * theirs.norm()
        assert 0.4 < float(torch.linalg.matrix_norm(orthogonal(gradient), 2)) < 1.6


def test_muon_leaves_what_has_no_gradient() -> None:
    matrix = torch.nn.Parameter(torch.ones(2, 3))
    Muon([matrix], lr=1.0).step()
    assert bool((matrix == 1).all())
