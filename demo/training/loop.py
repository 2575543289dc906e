"""A training loop that shows its progress and resumes to the same weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from prior_tools.atomic import write_bytes

SAVE_EVERY = 120.0  # seconds


@dataclass(frozen=True)
class Plan:
    """What a training is made of.

    Attributes:
        name: of its checkpoint and progress bar.
        steps: of the optimiser.
        rate: peak learning rate (Adam); rises over `warm_up` steps, then falls as a cosine.
        loss: a function of a generator that belongs to the step, from which batch and noise come.
        bfloat16: compute layers in bfloat16 (weights and loss stay float32): faster on processors
            that have it.
    """

    name: str
    steps: int
    rate: float
    loss: Callable[[torch.Generator], Tensor]
    warm_up: int = 100
    decay: float = 0.999
    seed: int = 0
    bfloat16: bool = False


def train(net: nn.Module, plan: Plan, folder: Path) -> nn.Module:
    """Train `net` and give it the running mean of its weights.

    Checkpoints lie in `folder`; a finished training is only loaded.
    """
    path = folder / f"{plan.name}.safetensors"
    parameters = {n: p for n, p in net.named_parameters() if p.requires_grad}
    mean = {n: p.detach().clone() for n, p in parameters.items()}
    adam = torch.optim.AdamW(
        parameters.values(), lr=plan.rate, weight_decay=1e-2, betas=(0.9, 0.99), fused=True
    )
    done, seconds = _load(path, plan, parameters, mean, adam)
    started = saved = time.monotonic()
    bar = tqdm(total=plan.steps, initial=done, desc=plan.name, unit="step", mininterval=2)
    recent = 0.0
    net.train()
    for step in range(done, plan.steps):
        for group in adam.param_groups:
            group["lr"] = plan.rate * _rate(step, plan)
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
            loss = plan.loss(torch.Generator().manual_seed(plan.seed * 1_000_003 + step))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        adam.step()
        keep = min(plan.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(mean.values()), list(parameters.values()), 1 - keep)
        recent = loss.item() if step == done else 0.98 * recent + 0.02 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{recent:.4f}", refresh=False)
        now = time.monotonic()
        if now - saved > SAVE_EVERY or step + 1 == plan.steps:
            _save(path, plan, step + 1, seconds + now - started, parameters, mean, adam, recent)
            saved = now
    bar.close()
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(mean[name])
    return net.eval().requires_grad_(False)


def _rate(step: int, plan: Plan) -> float:
    if step < plan.warm_up:
        return (step + 1) / plan.warm_up
    left = (plan.steps - step) / max(1, plan.steps - plan.warm_up)
    return 0.02 + 0.98 * 0.5 * (1 - math.cos(math.pi * left))


def _save(
    path: Path,
    plan: Plan,
    step: int,
    seconds: float,
    parameters: dict[str, Tensor],
    mean: dict[str, Tensor],
    adam: torch.optim.Optimizer,
    loss: float,
) -> None:
    tensors = {}
    for name, value in parameters.items():
        state = adam.state[value]
        tensors[f"value.{name}"] = value.detach()
        tensors[f"mean.{name}"] = mean[name]
        tensors[f"first.{name}"] = state["exp_avg"]
        tensors[f"second.{name}"] = state["exp_avg_sq"]
    note = {
        "step": step,
        "steps": plan.steps,
        "seconds": round(seconds, 1),
        "loss": loss,
        "bfloat16": plan.bfloat16,
    }
    contiguous = {n: t.contiguous() for n, t in tensors.items()}
    write_bytes(path, save(contiguous, {"training": json.dumps(note)}))


def _load(
    path: Path,
    plan: Plan,
    parameters: dict[str, Tensor],
    mean: dict[str, Tensor],
    adam: torch.optim.Optimizer,
) -> tuple[int, float]:
    """The steps done and the seconds they took."""
    if not path.exists():
        return 0, 0.0
    with safe_open(path, "pt") as file, torch.no_grad():
        note = json.loads(file.metadata()["training"])
        if note["steps"] != plan.steps:
            raise SystemExit(
                f"{path} is of a training of {note['steps']} steps, wanted are {plan.steps}; "
                "remove it to train anew"
            )
        for name, value in parameters.items():
            value.copy_(file.get_tensor(f"value.{name}"))
            mean[name].copy_(file.get_tensor(f"mean.{name}"))
            adam.state[value] = {
                "step": torch.tensor(float(note["step"])),
                "exp_avg": file.get_tensor(f"first.{name}"),
                "exp_avg_sq": file.get_tensor(f"second.{name}"),
            }
    return note["step"], note["seconds"]
