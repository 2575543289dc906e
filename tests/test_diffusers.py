"""The code of docs/diffusers.md, run as it stands, with tiny random models."""

from __future__ import annotations

import json
import re
import runpy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dev.dataset_trees import write_ade
from prior_tools import PALETTES, Prior, build_prior, draw_prior_sample

PAGE = Path(__file__).resolve().parent.parent / "docs" / "diffusers.md"
SETTINGS, BUILD, DRAW, PIPELINE, LOOP = re.findall(
    r"^```python\n(.+?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
SIDE, SCALE, PROMPT = 64, 0.25, "a photograph"
SCHEDULERS = ("DDIMScheduler", "EulerDiscreteScheduler")


def write_models(folder: Path) -> None:
    """`model` and `controlnet`: all of Stable Diffusion 1.x with layers of a few channels."""
    torch.manual_seed(0)
    blocks = {
        "block_out_channels": (4, 8),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
    }
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **blocks
    )
    controlnet = diffusers.ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(4, 4, 4, 4)
    )
    # A ControlNet begins with layers of zeros, by which it would do nothing.
    for parameter in controlnet.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
        scaling_factor=SCALE,
    )
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "p", "h", "o"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    # As in the published files: not what the page's schedule is to be.
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
    diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
        ),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "model")
    controlnet.save_pretrained(folder / "controlnet")


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """All names after the code, which begins with these."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code, encoding="utf-8")
        return runpy.run_path(str(script), names)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's names stand for when all of it has run, in a folder of its own."""
    folder = tmp_path_factory.mktemp("diffusers")
    write_models(folder)
    write_ade(folder / "ade", ("training",))
    colors = PALETTES["ade20k"].paint(
        torch.arange(1, 5).repeat_interleave(SIDE // 4).repeat(SIDE, 1)
    )
    Image.fromarray(colors.numpy()).save(folder / "label_map.png")
    mine = {
        "MODEL": str(folder / "model"),
        "CONTROLNET": str(folder / "controlnet"),
        "DATASET": str(folder / "ade"),
        "PRIOR": str(folder / "ade20k.safetensors"),
        "LABEL_MAP": str(folder / "label_map.png"),
        "WIDTH": SIDE,
        "HEIGHT": SIDE,
    }
    assert {name for name in run(SETTINGS, {}) if name.isupper()} == set(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = run(BUILD + DRAW + PIPELINE + "of_the_pipeline = image\n" + LOOP, mine)
    names["pipe"].set_progress_bar_config(disable=True)
    return names


@pytest.fixture
def use(page: dict[str, Any]) -> Any:
    """`use(name, **settings)`: give the page's pipeline another scheduler for this test."""
    first = page["pipe"].scheduler

    def change(name: str, **settings: Any) -> Any:
        kind = getattr(diffusers, name)
        page["pipe"].scheduler = kind.from_config(first.config, **settings)
        return page["pipe"].scheduler

    yield change
    page["pipe"].scheduler = first


def flat_prior(page: dict[str, Any], level: float) -> Prior:
    """A prior of the page's dataset whose every latent is `level`: no deviation."""

    def encode(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 4, SIDE // 8, SIDE // 8), level)

    return build_prior(page["dataset"], encode, latent_format="sd15")


def drawn_from(page: dict[str, Any], prior: Prior) -> torch.Tensor:
    """What the page's lines draw from another prior."""
    return run(DRAW, {**page, "prior": prior})["clean"]


def first_input(page: dict[str, Any], run: Callable[[], Any]) -> torch.Tensor:
    """What the net is given in the first step."""
    seen: list[torch.Tensor] = []
    hook = page["pipe"].unet.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    run()
    hook.remove()
    return seen[0][:1]


def equal(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures are the same, and show anything."""
    return np.array_equal(np.array(one), np.array(other)) and len(np.unique(np.array(one))) > 20


def test_the_start_is_the_draw_in_the_pipelines_units_with_noise_of_step_799(page: Any) -> None:
    start = first_input(page, lambda: page["sample"](page["clean"], page["label_map"], PROMPT))
    raw = draw_prior_sample(page["prior"], page["labels"], seed=1)
    kept = page["pipe"].scheduler.alphas_cumprod[799]
    noise = torch.randn(raw.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(start, kept.sqrt() * SCALE * raw + (1 - kept).sqrt() * noise, atol=1e-6)
    assert kept.sqrt() == pytest.approx(0.19, abs=0.005)


@pytest.mark.parametrize("mu", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_loop_is_the_pipeline_bit_for_bit(
    page: Any, use: Any, scheduler: str, mu: float
) -> None:
    use(scheduler)
    looped = page["sample"](page["clean"], page["label_map"], PROMPT, mu=mu, steps=10)
    piped = page["pipe"](
        PROMPT,
        image=page["clean"],
        control_image=page["label_map"],
        strength=mu,
        num_inference_steps=10,
        guidance_scale=7.5,
        controlnet_conditioning_scale=1.0,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    assert equal(looped, piped)


def test_both_ways_of_the_page_give_the_same_image(page: Any) -> None:
    assert page["image"].size == (SIDE, SIDE)
    assert equal(page["image"], page["of_the_pipeline"])


@pytest.mark.parametrize("zero_snr", [True, False])
def test_zeros_at_mu_1_are_the_stock_pipeline_at_the_same_noise(
    page: Any, use: Any, zero_snr: bool
) -> None:
    # At zero terminal SNR the noise tells nothing of itself, so such models predict v.
    kind = "v_prediction" if zero_snr else "epsilon"
    scheduler = use("DDIMScheduler", rescale_betas_zero_snr=zero_snr, prediction_type=kind)
    clean = drawn_from(page, flat_prior(page, 0.0))
    assert not clean.any()
    ours = page["sample"](clean, page["label_map"], PROMPT, mu=1.0, steps=5)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    scale = (1 - scheduler.alphas_cumprod[999]).sqrt()
    assert float(scale) == pytest.approx(1.0 if zero_snr else 0.998, abs=5e-4)
    stock = diffusers.StableDiffusionControlNetPipeline(
        **page["pipe"].components, requires_safety_checker=False
    )
    stock.set_progress_bar_config(disable=True)
    theirs = stock(
        PROMPT, page["label_map"], latents=scale * noise, num_inference_steps=5, guidance_scale=7.5
    ).images[0]
    assert equal(ours, theirs)


@pytest.mark.parametrize(("mu", "step"), [(0.5, 499), (0.8, 799), (1.0, 999)])
def test_the_priors_mean_moves_the_start_by_the_formula(page: Any, mu: float, step: int) -> None:
    def start(level: float) -> torch.Tensor:
        clean = drawn_from(page, flat_prior(page, level))
        return first_input(page, lambda: page["sample"](clean, page["label_map"], PROMPT, mu=mu))

    moved = start(3.0) - start(0.0)
    kept = page["pipe"].scheduler.alphas_cumprod[step].sqrt()
    assert torch.allclose(moved, torch.full_like(moved, float(kept * SCALE * 3.0)), atol=1e-5)


def test_the_page_says_where_the_models_own_spacing_would_start(page: Any, use: Any) -> None:
    scheduler = use("DDIMScheduler", timestep_spacing="leading")
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[4] == 751 and "would be at 751" in PAGE.read_text(encoding="utf-8")
