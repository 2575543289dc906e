"""Laws of a VAE's fingerprint: rounding does not change it, and anything else does."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prior_tools.vae_fingerprint import VaeFingerprint, fingerprint_weights

PRECISIONS = {
    "bfloat16": lambda w: w.bfloat16(),
    "float16": lambda w: w.half(),
    "float16, then bfloat16": lambda w: w.half().bfloat16(),
    "bfloat16, then float16": lambda w: w.bfloat16().half(),
    "float64": lambda w: w.double(),
}


def weights(seed=0) -> dict[str, torch.Tensor]:
    """Tensors of the shapes and sizes that VAEs have, 60 in all; the least are about 1e-8."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for block, scale in enumerate((1e-8, 1e-4, 1e-2, 0.05, 0.3, 3.0)):
        for name, shape in (
            ("conv.weight", (64, 32, 3, 3)),
            ("conv.bias", (64,)),
            ("shortcut.weight", (64, 32, 1, 1)),
            ("out.bias", (3,)),
            ("gain", (1,)),
        ):
            found[f"{block}.{name}"] = torch.randn(shape, generator=generator) * scale
        for name in ("norm1", "norm2"):
            found[f"{block}.{name}.weight"] = 1 + 0.05 * torch.randn(64, generator=generator)
            found[f"{block}.{name}.bias"] = torch.zeros(64)
            found[f"{block}.{name}.steps"] = torch.tensor(block)
    return found


def changed(own, change) -> VaeFingerprint:
    return fingerprint_weights({name: change(name, w) for name, w in own.items()})


def nudged(w, part, seed=1):
    """Each weight moved at random, by `part` of the tensor's scale."""
    if not w.is_floating_point():
        return w
    noise = torch.randn(w.shape, generator=torch.Generator().manual_seed(seed))
    return w + noise * part * w.square().mean().sqrt()


@pytest.mark.parametrize("precision", PRECISIONS)
@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_one_vae_in_any_precision_fits_itself(precision, seed):
    own = weights(seed)
    whole = fingerprint_weights(own)
    rounded = changed(own, lambda _, w: PRECISIONS[precision](w) if w.is_floating_point() else w)
    assert whole.fits(rounded) and rounded.fits(whole)
    halves = changed(own, lambda _, w: w.half() if w.is_floating_point() else w)
    assert halves.fits(rounded)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_weights_that_moved_by_a_hundredth_are_another_vae(seed):
    own = weights(seed)
    moved = changed(own, lambda name, w: nudged(w, 0.01, sum(name.encode())))
    assert not fingerprint_weights(own).fits(moved)
    stretched = changed(own, lambda _, w: w * 1.01 if w.is_floating_point() else w)
    assert not fingerprint_weights(own).fits(stretched)


@pytest.mark.parametrize("name", ["2.conv.weight", "3.conv.bias", "4.out.bias", "5.norm1.weight"])
def test_one_tensor_that_moved_is_enough(name):
    own = weights()
    moved = changed(own, lambda n, w: nudged(w, 0.05) if n == name else w)
    assert not fingerprint_weights(own).fits(moved)


def test_a_tensor_that_is_no_longer_zero_is_another():
    own = weights()
    filled = {**own, "0.norm1.bias": torch.full((64,), 0.01)}
    assert not fingerprint_weights(own).fits(fingerprint_weights(filled))


def test_names_shapes_and_places_count():
    own = weights()
    whole = fingerprint_weights(own)
    for other in (
        {f"x{name}": w for name, w in own.items()},
        {**own, "more": torch.ones(3)},
        {**own, "2.conv.weight": own["2.conv.weight"].view(32, 64, 3, 3)},
        {**own, "2.conv.weight": own["2.conv.weight"].flip(0)},
        {**own, "2.conv.weight": own["2.conv.weight"].roll(1, 3)},
        {**own, "2.norm1.weight": own["2.norm2.weight"], "2.norm2.weight": own["2.norm1.weight"]},
    ):
        assert not whole.fits(fingerprint_weights(other))


def test_order_layout_and_whole_numbers_do_not_count():
    own = weights()
    other = {name: own[name] for name in reversed(own)}
    other["2.conv.weight"] = own["2.conv.weight"].to(memory_format=torch.channels_last)
    other["2.norm1.steps"] = torch.tensor(999)
    other["3.conv.weight"] = torch.nn.Parameter(own["3.conv.weight"])
    assert fingerprint_weights(other) == fingerprint_weights(own)


def test_a_file_holds_it_exactly_and_in_little_room():
    """Of Stable Diffusion's VAE, which has 248 tensors, 20 kB at most."""
    whole = fingerprint_weights(weights())
    text = json.dumps(whole.to_json())
    assert VaeFingerprint.from_json(json.loads(text)) == whole
    assert len(text) / len(whole.scales) * 248 < 20_000


def test_its_name_is_short_and_nearly_the_same_in_every_precision():
    own = weights()
    name = str(fingerprint_weights(own))
    half = str(changed(own, lambda _, w: w.half() if w.is_floating_point() else w))
    other = str(fingerprint_weights(weights(1)))
    digits, *numbers = name.split()
    assert len(digits) == 8 and len(numbers) == 3 and len(name) < 30
    assert other.split()[0] == half.split()[0] == digits and other != name
    for ours, theirs in zip(numbers, half.split()[1:], strict=True):
        assert abs(float(ours) - float(theirs)) < 0.11


def test_no_weights_and_broken_ones_have_a_fingerprint_too():
    for odd in ({}, {"w": torch.empty(0)}, {"w": torch.tensor([float("nan"), 1.0])}):
        found = fingerprint_weights(odd)
        assert found.fits(found) and str(found)
        assert VaeFingerprint.from_json(json.loads(json.dumps(found.to_json()))) == found
