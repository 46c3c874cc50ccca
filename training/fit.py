"""The training loop of every stage: seeded batches, AdamW, warm-up and cosine; it can be killed anywhere and goes on where it was.

    history = fit(policy.model, rows, loss, Fitting(lr=1e-4, epochs=4), Path("runs/demo/seed-0/critic.part"), "critic")

`loss` takes a list of rows and gives their mean loss and what else is to be shown of it. With `accelerate launch` each process
takes its share of every batch.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

Loss = Callable[[Sequence[Any]], tuple[torch.Tensor, dict[str, float]]]


class TrainingFailed(RuntimeError):
    """A loss that is no number, or nothing to train on; the message names the stage and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a stage is trained; the defaults are the paper's (table 5) and its code's, but for what LoRA needs."""

    lr: float = 2e-4
    """Peak; the paper's 2e-7 is of full fine-tuning."""
    epochs: int = 4
    batch: int = 8
    """Rows of one step."""
    micro_batch: int = 8
    """Rows that are in memory at once."""
    warmup: float = 0.03
    """Share of the steps."""
    least: float = 0.1
    """Share of lr that the cosine ends at."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    decay: float = 0.0
    seed: int = 0
    shuffle: bool = True
    """Whether each epoch has an order of its own; not so for a curriculum."""
    save_every: int = 50
    """Steps between checkpoints."""


def fit(
    model: Any, rows: Sequence[Any], loss: Loss, fitting: Fitting, folder: Path, name: str,
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> list[dict[str, float]]:  # fmt: skip
    """Train the model's weights that ask for a gradient; what was measured at each step. Raises TrainingFailed.

    `folder` keeps the checkpoint: what is there from a run that was killed is gone on with, and the same numbers come out.
    """
    from accelerate import Accelerator

    if not rows:
        raise TrainingFailed(
            f"{name}: there is nothing to train on. See the stage before it for what it left out, and why."
        )
    accelerator = Accelerator()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizers = optimizers or [
        torch.optim.AdamW(weights, lr=fitting.lr, betas=(0.9, 0.95), weight_decay=fitting.decay)
    ]
    steps_an_epoch = math.ceil(len(rows) / fitting.batch)
    steps = steps_an_epoch * fitting.epochs
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: _share(step, steps, fitting)) for o in optimizers]
    folder.mkdir(parents=True, exist_ok=True)
    history = _restore(folder, weights, [*optimizers, *schedules])
    model.train()
    bar = tqdm(range(len(history), steps), initial=len(history), total=steps, desc=name, disable=None)
    for step in bar:
        order = _order(len(rows), fitting.seed, step // steps_an_epoch) if fitting.shuffle else range(len(rows))
        at = step % steps_an_epoch * fitting.batch
        batch = [rows[n] for n in order[at : at + fitting.batch]]
        shown = _step(accelerator, weights, batch, loss, fitting)
        if not math.isfinite(shown["loss"]):
            raise TrainingFailed(
                f"{name}: the loss is {shown['loss']} at step {step + 1} of {steps}: lower lr (now {fitting.lr}), or look for rows "
                f"that are broken. Nothing of this step was kept."
            )
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        history.append({"step": step + 1, **shown})
        bar.set_postfix_str(f"loss {shown['loss']:.4f}")
        if (step + 1) % fitting.save_every == 0 and accelerator.is_main_process:
            _save(folder, weights, [*optimizers, *schedules], history)
    model.eval()
    return history


def _step(
    accelerator: Any, weights: list[torch.nn.Parameter], batch: Sequence[Any], loss: Loss, fitting: Fitting
) -> dict[str, float]:
    """Gradients of one batch, over micro-batches and processes; the means of what was shown."""
    for weight in weights:
        weight.grad = None
    shown: dict[str, float] = {}
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    for at in range(0, len(mine), fitting.micro_batch):
        part = mine[at : at + fitting.micro_batch]
        value, more = loss(part)
        torch.autograd.backward(value * len(part) / len(batch))
        for key, number in {"loss": value.item(), **more}.items():
            shown[key] = shown.get(key, 0.0) + number * len(part) / len(mine)
    if accelerator.num_processes > 1:
        for weight in weights:
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = accelerator.reduce(grad, "sum")
        share = torch.tensor(shown.get("loss", 0.0) * len(mine) / len(batch), device=accelerator.device)
        shown["loss"] = float(accelerator.reduce(share, "sum"))  # the rest is of this process's share
    shown["grad_norm"] = float(torch.nn.utils.clip_grad_norm_(weights, fitting.clip))
    return shown


def _share(step: int, steps: int, fitting: Fitting) -> float:
    """Of the peak rate at a step."""
    warm = max(1, round(fitting.warmup * steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return fitting.least + (1 - fitting.least) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _order(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000 + epoch)
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def _save(folder: Path, weights: list[torch.nn.Parameter], parts: Sequence[Any], history: list[Any]) -> None:
    """Write a checkpoint, whole or not at all. `parts` are optimizers and schedules."""
    part, whole = folder / "checkpoint.pt.part", folder / "checkpoint.pt"
    states = [p.state_dict() for p in parts]
    torch.save({"weights": [w.detach() for w in weights], "parts": states, "history": json.dumps(history)}, part)
    os.replace(part, whole)


def _restore(folder: Path, weights: list[torch.nn.Parameter], parts: Sequence[Any]) -> list[dict[str, float]]:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    for weight, kept in zip(weights, state["weights"], strict=True):
        weight.data.copy_(kept)
    for part, kept in zip(parts, state["parts"], strict=True):
        part.load_state_dict(kept)
    history: list[dict[str, float]] = json.loads(state["history"])
    return history
