"""The training loop of every stage: seeded batches, AdamW, warm-up and cosine; it can be killed anywhere and goes on where it was.

    history = fit(policy.model, rows, loss, TrainConfig(lr=1e-4, epochs=4), Path("runs/demo/seed-0/rft.part"), "rft")

`loss` takes a list of rows and gives their mean loss and other metrics. With `accelerate launch` each process
takes its share of every batch.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.config import TrainConfig

Loss = Callable[[Sequence[Any]], tuple[torch.Tensor, dict[str, float]]]


class TrainingFailed(RuntimeError):
    """A loss that is no number, or nothing to train on; the message names the stage and says what to do."""


def fit(
    model: Any, rows: Sequence[Any], loss: Loss, config: TrainConfig, folder: Path, name: str,
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> list[dict[str, float]]:  # fmt: skip
    """Train the model's weights that ask for a gradient; what was measured at each step. Raises TrainingFailed.

    `folder` keeps the checkpoint: what is there from a run that was killed is resumed, and the same numbers come out.
    """
    from accelerate import Accelerator

    if not rows:
        raise TrainingFailed(
            f"{name}: there is nothing to train on. See the stage before it for what it left out, and why."
        )
    accelerator = Accelerator()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizers = optimizers or [torch.optim.AdamW(weights, lr=config.lr, betas=(0.9, 0.95), weight_decay=config.decay)]
    steps_an_epoch = math.ceil(len(rows) / config.batch)
    steps = steps_an_epoch * config.epochs
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: _share(step, steps, config)) for o in optimizers]
    folder.mkdir(parents=True, exist_ok=True)
    history = _restore(folder, weights, [*optimizers, *schedules])
    model.train()
    bar = tqdm(range(len(history), steps), initial=len(history), total=steps, desc=name, disable=None)
    for step in bar:
        order = _order(len(rows), config.seed, step // steps_an_epoch) if config.shuffle else range(len(rows))
        at = step % steps_an_epoch * config.batch
        batch = [rows[n] for n in order[at : at + config.batch]]
        metrics = _step(accelerator, weights, batch, loss, config)
        if not math.isfinite(metrics["loss"]):
            raise TrainingFailed(
                f"{name}: the loss is {metrics['loss']} at step {step + 1} of {steps}: lower lr (now {config.lr}), or look for "
                f"rows that are broken. Nothing of this step was kept."
            )
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        history.append({"step": step + 1, **metrics})
        bar.set_postfix_str(f"loss {metrics['loss']:.4f}")
        if (step + 1) % config.save_every == 0 and accelerator.is_main_process:
            _save(folder, weights, [*optimizers, *schedules], history)
    model.eval()
    return history


def _step(
    accelerator: Any, weights: list[torch.nn.Parameter], batch: Sequence[Any], loss: Loss, config: TrainConfig
) -> dict[str, float]:
    """Gradients of one batch, over micro-batches and processes; the means of the metrics."""
    for weight in weights:
        weight.grad = None
    metrics: dict[str, float] = {}
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    for at in range(0, len(mine), config.micro_batch):
        part = mine[at : at + config.micro_batch]
        value, more = loss(part)
        torch.autograd.backward(value * len(part) / len(batch))
        for key, number in {"loss": value.item(), **more}.items():
            metrics[key] = metrics.get(key, 0.0) + number * len(part) / len(mine)
    if accelerator.num_processes > 1:
        for weight in weights:
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = accelerator.reduce(grad, "sum")
        share = torch.tensor(metrics.get("loss", 0.0) * len(mine) / len(batch), device=accelerator.device)
        metrics["loss"] = float(accelerator.reduce(share, "sum"))  # the rest is of this process's share
    metrics["grad_norm"] = float(torch.nn.utils.clip_grad_norm_(weights, config.clip))
    return metrics


def _share(step: int, steps: int, config: TrainConfig) -> float:
    """Of the peak rate at a step."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


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
