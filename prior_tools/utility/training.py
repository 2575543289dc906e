"""One training: its batches, its steps, and the file by which it goes on to the same weights.

Batches, flips, levels and the net's first weights are drawn from the training's seed and the number
of the step alone, so that a training that was stopped ends at the same weights as one that was not,
and trainings of one seed on different images differ in nothing else.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from ..atomic import write_bytes
from ..errors import PriorError
from ..json_values import integer, parsed, table, text
from ..tensor_file import read_tensors
from .sets import VOID, IndexedSet

MakeNet = Callable[[int], nn.Module]

HEADER_KEY = "scp_utility_training"
_MAX_HEADER = 10_000_000
_WARM_UP = 0.05
# Levels of each channel are multiplied by 1 ± this.
_JITTER = 0.15
# Steps between two looks at whether the loss is a number: on a GPU each look waits.
_LOOK_EVERY = 50


class TrainingCancelled(Exception):
    """Raised by `train` when its `cancelled` callback says so; what was done is kept."""


@dataclass(frozen=True)
class Plan:
    """How every net is trained, whatever it is trained on.

    Attributes:
        steps: of the optimizer.
        batch: images a step.
        rate: peak learning rate of AdamW; it rises over the first twentieth of the steps, then
            falls as a cosine to zero.
        device: as torch names it.
        save_every: seconds between two checkpoints.
    """

    steps: int
    batch: int
    rate: float
    device: str = "cpu"
    save_every: float = 60.0


def train(
    make: MakeNet,
    parts: Sequence[IndexedSet],
    classes: int,
    plan: Plan,
    seed: int,
    path: Path,
    identity: str,
    progress: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> nn.Module:
    """A net trained on one set, or on equal shares of several in each batch.

    Args:
        make: makes the net for a number of classes.
        parts: the sets; their number divides the batch.
        classes: how many there are.
        plan: see `Plan`.
        seed: of first weights, batches and changes to images.
        path: of the checkpoint, which the caller removes.
        identity: what the training is of; a checkpoint of another one is not taken.
        progress: called with the number of steps done.
        cancelled: asked after each step.

    Returns:
        The net in evaluation mode.

    Raises PriorError if the checkpoint is damaged or of another training, or if the loss is no
    number any more; TrainingCancelled.
    """
    with _random_numbers(plan.device):
        torch.manual_seed(seed)
        net = _made(make, classes, plan.device)
        parameters = [p for p in net.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=1e-2)
        done = _load(path, identity, net, adam) if path.exists() else 0
        progress(done)
        saved = time.monotonic()
        net.train()
        for step in range(done, plan.steps):
            for group in adam.param_groups:
                group["lr"] = plan.rate * _share_of_rate(step, plan.steps)
            loss = _loss(net, parts, plan, seed, step)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            last = step + 1 == plan.steps
            if (last or step % _LOOK_EVERY == 0) and not bool(torch.isfinite(loss)):
                raise PriorError(
                    f"the loss is no number after {step + 1} steps of seed {seed}; give a lower "
                    f"--rate (now {plan.rate:g})"
                )
            progress(step + 1)
            stop = cancelled()
            if stop or (not last and time.monotonic() - saved >= plan.save_every):
                _save(path, identity, step + 1, net, adam)
                saved = time.monotonic()
            if stop:
                raise TrainingCancelled
    net.eval()
    return net


def check_net(make: MakeNet, parts: Sequence[IndexedSet], classes: int, plan: Plan) -> int:
    """How many parameters a net has, once it was tried on a batch.

    Raises PriorError if it cannot be made, fails, or gives no scores of so many classes.
    """
    with _random_numbers(plan.device):
        net = _made(make, classes, plan.device)
        images, _ = _batch(parts, plan.batch, 0, 0)
        with torch.no_grad():
            try:
                scores = net.train()(images.to(plan.device))
            except (RuntimeError, ValueError) as error:
                height, width = images.shape[2:]
                raise PriorError(
                    f"the net fails on a batch of {len(images)} images of {width}x{height} "
                    f"pixels: {str(error).splitlines()[0][:200]}"
                ) from error
    shape = tuple(scores.shape)
    if len(shape) != 4 or shape[:2] != (len(images), classes):
        raise PriorError(
            f"the net gives {shape} for {len(images)} images; expected scores "
            f"[{len(images)}, {classes}, h, w]"
        )
    return sum(p.numel() for p in net.parameters())


def _made(make: MakeNet, classes: int, device: str) -> nn.Module:
    net = make(classes).to(device)
    # The order of memory in which processors convolve fastest.
    return net.to(memory_format=torch.channels_last)


@contextmanager
def _random_numbers(device: str) -> Iterator[None]:
    """Random numbers of torch that do not change those of the caller."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        yield


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _loss(net: nn.Module, parts: Sequence[IndexedSet], plan: Plan, seed: int, step: int) -> Tensor:
    images, labels = _batch(parts, plan.batch, seed, step)
    # For nets that draw while they learn, such as those with dropout.
    torch.manual_seed(_drawn(seed, step).integers(2**31))
    scores = net(images.to(plan.device)).float()
    labels = labels.to(plan.device)
    if scores.shape[-2:] != labels.shape[-2:]:
        scores = F.interpolate(scores, labels.shape[-2:], mode="bilinear")
    counted = (labels != VOID).sum().clamp(min=1)
    return F.cross_entropy(scores, labels, ignore_index=VOID, reduction="sum") / counted


def _batch(parts: Sequence[IndexedSet], batch: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Images float32 [N, 3, H, W] in 0..1 and labels int64 [N, H, W], half of them mirrored."""
    share = batch // len(parts)
    images, labels = [], []
    for number, part in enumerate(parts):
        places = range(step * share, (step + 1) * share)
        picked = [_order(len(part), seed, number, p // len(part))[p % len(part)] for p in places]
        images.append(part.images[picked])
        labels.append(part.labels[picked])
    given = torch.cat(images).permute(0, 3, 1, 2).float() / 255
    wanted = torch.cat(labels).long()
    draw = _drawn(seed, step)
    mirrored = torch.from_numpy(draw.random(batch) < 0.5)
    gain = torch.from_numpy(draw.uniform(1 - _JITTER, 1 + _JITTER, (batch, 3, 1, 1))).float()
    given = torch.where(mirrored[:, None, None, None], given.flip(-1), given) * gain
    wanted = torch.where(mirrored[:, None, None], wanted.flip(-1), wanted)
    return given.contiguous(memory_format=torch.channels_last), wanted


@lru_cache(maxsize=8)
def _order(count: int, seed: int, part: int, epoch: int) -> list[int]:
    """All images in some order: none comes again before all others came."""
    found: list[int] = np.random.default_rng([seed, part, epoch]).permutation(count).tolist()
    return found


def _drawn(seed: int, step: int) -> np.random.Generator:
    return np.random.default_rng([seed, step])


def _save(
    path: Path, identity: str, steps: int, net: nn.Module, adam: torch.optim.Optimizer
) -> None:
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    for index, kept in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in kept.items()}
    # Copies: tied weights share their memory, which the format refuses.
    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    header = {"identity": identity, "steps": steps}
    write_bytes(path, save(plain, {HEADER_KEY: json.dumps(header)}))


def _load(path: Path, identity: str, net: nn.Module, adam: torch.optim.Optimizer) -> int:
    """Give net and optimizer the state of a checkpoint; returns the number of steps."""
    try:
        written, tensors = read_tensors(path, HEADER_KEY, _MAX_HEADER)
        if written is None:
            raise ValueError("it is no checkpoint of a training")
        header = table(parsed(written), ("identity", "steps"), "the header")
        steps = integer(header["steps"], 0, 2**53, "steps")
        theirs = text(header["identity"], "identity")
        if theirs != identity:
            raise ValueError(f"it is of another training: {theirs}")
        net.load_state_dict(
            {n.removeprefix("net."): t for n, t in tensors.items() if n.startswith("net.")}
        )
        _give_state(adam, tensors)
    except (ValueError, RuntimeError, KeyError) as error:
        raise PriorError(
            f"{path} cannot be gone on with ({str(error).splitlines()[0]}); remove it to train "
            "this net anew"
        ) from error
    return steps


def _give_state(adam: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = adam.param_groups[0]["params"]
    state = {}
    for index, parameter in enumerate(parameters):
        if f"adam.{index}.step" not in tensors:
            # The net does not use it.
            continue
        # In the parameter's own order of memory, as the optimizer makes them.
        state[index] = {
            "step": tensors[f"adam.{index}.step"].clone(),
            **{
                name: torch.empty_like(parameter).copy_(tensors[f"adam.{index}.{name}"])
                for name in ("exp_avg", "exp_avg_sq")
            },
        }
    adam.load_state_dict({**adam.state_dict(), "state": state})
