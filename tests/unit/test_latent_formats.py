"""Which prior fits which model, and which format a VAE is of: the table of all pairs."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from prior_tools.errors import PriorError
from prior_tools.latent_formats import (
    AUTO,
    CHOICES,
    LATENT_FORMATS,
    UNKNOWN,
    ModelLatents,
    VaeLatents,
    check_model,
    choose_format,
)

# ComfyUI's class, its prior's format, channels, dimensions, pixels a cell of the VAE.
CLASSES = [
    ("SD15", "sd15", 4, 2, 8),
    ("SDXL", "sdxl", 4, 2, 8),
    ("SDXL_Playground_2_5", "sdxl", 4, 2, 8),
    ("SD_X4", "sd_x4", 4, 2, 4),
    ("SC_B", "stable_cascade_b", 4, 2, 4),
    ("SC_Prior", "stable_cascade_c", 16, 2, 32),
    ("SD3", "sd3", 16, 2, 8),
    ("Flux", "flux", 16, 2, 8),
    ("Flux2", "flux2", 128, 2, 16),
    ("Wan21", "wan21", 16, 3, 8),
    ("Wan22", "wan22", 48, 3, 16),
    ("QwenImage21", "qwen_image21", 64, 2, 16),
    ("HunyuanImage21", "hunyuan_image21", 64, 2, 32),
    ("HunyuanVideo", "hunyuan_video", 16, 3, 8),
    ("HunyuanVideo15", "hunyuan_video15", 32, 3, 16),
    ("LTXV", "ltxv", 128, 3, 32),
    ("LTXAV", "ltxav", 128, 3, 32),
    ("Mochi", "mochi", 12, 3, 8),
    ("Cosmos1CV8x8x8", "cosmos", 16, 3, 8),
    ("CogVideoX", "cogvideox", 16, 3, 8),
    ("CogVideoX1_5", "cogvideox", 16, 3, 8),
    ("SeedVR2", "seedvr2", 16, 3, 8),
    ("MiniMaxH3Video", "minimax_h3", 24, 3, 16),
    ("ChromaRadiance", "pixel", 3, 2, 1),
    ("ZImagePixelSpace", "pixel", 3, 2, 1),
    ("HiDreamO1Pixel", "pixel", 3, 2, 1),
    ("PixelDiTPixel", "pixel", 3, 2, 1),
]
# Its VAE has a shape of its own, its model starts from no prior.
REFINER = ("hunyuan_image21_refiner", 32, 3, 16)
SHAPES = {name: (*shape,) for _, name, *shape in CLASSES} | {REFINER[0]: REFINER[1:]}


def test_the_table_holds_all_formats_that_are_listed_here():
    assert {*SHAPES, UNKNOWN} == set(LATENT_FORMATS)
    assert (AUTO, *LATENT_FORMATS) == CHOICES


def test_the_page_on_models_says_of_every_format_what_was_run():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert not [name for name in SHAPES if f"`{name}`" not in page]
    rows = [line.split(" | ") for line in page.splitlines() if line.count("|") == 7]
    for _model, name, channels, factor, kind, *_ in rows[2:]:
        found = SHAPES[name.strip("`")]
        assert (int(channels), int(factor)) == (found[0], found[2]), name
        assert (kind == "clips") == (found[1] == 3), name
    assert len(rows) == 15


@pytest.mark.parametrize("says", ["of the VAE", "nothing", "always 8"])
def test_of_all_pairs_the_right_ones_pass_in_silence_and_the_wrong_ones_are_refused(says):
    """Whatever the host has for pixels per cell: older ones nothing, and 8 for what is not set."""
    for (prior, shape), (host_class, name, channels, dimensions, factor) in itertools.product(
        SHAPES.items(), CLASSES
    ):
        told = {"of the VAE": factor, "nothing": None, "always 8": 8}[says]
        model = ModelLatents(host_class, channels, dimensions, told)
        if prior == name:
            assert check_model(prior, shape[0], shape[2], model) is None
        else:
            with pytest.raises(PriorError, match="this model's VAE"):
                check_model(prior, shape[0], shape[2], model)


def test_of_a_prior_of_unknown_format_the_shape_decides_what_is_impossible():
    shapes = {(channels, factor) for channels, _, factor in SHAPES.values()} | {(7, 8)}
    for (channels, factor), (host_class, _, *theirs) in itertools.product(shapes, CLASSES):
        model = ModelLatents(host_class, *theirs)
        if (channels, factor) == (theirs[0], theirs[2]):
            said = check_model(UNKNOWN, channels, factor, model)
            assert said == (
                "cannot tell whether the prior fits the model: the prior's latent format is "
                f"unknown, the model's is {host_class}"
            )
        else:
            with pytest.raises(PriorError, match="this model's VAE"):
                check_model(UNKNOWN, channels, factor, model)


@pytest.mark.parametrize(
    ("prior", "model", "says"),
    [
        (("flux", 16, 8), ModelLatents("Next", 16, 2, 8), "the model's is Next"),
        (("flux", 16, 8), ModelLatents("Next", 16, 2), "the model's is Next"),
        ((UNKNOWN, 7, 8), ModelLatents("Next", 7, 3, 8), "the model's is Next"),
    ],
)
def test_a_class_that_is_new_may_fit(prior, model, says):
    assert says in check_model(*prior, model)


@pytest.mark.parametrize(
    ("prior", "model", "says"),
    [
        (("flux", 16, 8), ModelLatents("Next", 24, 2, 8), "16 latent channels and the model .* 24"),
        (("flux", 16, 8), ModelLatents("Next", 16, 2, 16), r"8 pixels a latent cell.*\(Next\) 16"),
        (("flux", 16, 8), ModelLatents("Next", 16, 3, 8), "format is flux and the model's is Next"),
        (("flux", 16, 8), ModelLatents("Wan21", 16, 3, 8), "is flux and the model's is wan21"),
        ((UNKNOWN, 64, 8), ModelLatents("Solid", 64, 1), r"\(Solid\) is not one of pictures"),
        ((UNKNOWN, 8, 8), ModelLatents("ACEAudio", 8, 2), r"\(ACEAudio\) is not one of pictures"),
        (("sd3", 16, 8), ModelLatents("TripoSplat", 16, 2), "is not one of pictures"),
        ((UNKNOWN, 32, 8), ModelLatents("Trellis2ShapeSLAT", 32, 2, 8), "is not one of pictures"),
        # Its class counts the channels of the sound, which are as many as HunyuanVideo 1.5's.
        (("hunyuan_video15", 32, 16), ModelLatents("MiniMaxH3AV", 32, 3, 16), "pictures and sound"),
        (("minimax_h3", 24, 16), ModelLatents("MiniMaxH3AV", 32, 3, 16), "pictures and sound"),
    ],
)
def test_what_a_class_says_of_itself_refuses_as_well(prior, model, says):
    with pytest.raises(PriorError, match=says):
        check_model(*prior, model)


def test_a_vae_is_of_the_format_chosen_only_where_its_shape_is_that_formats():
    for (chosen, shape), (name, given) in itertools.product(SHAPES.items(), SHAPES.items()):
        if shape == given:
            assert choose_format(chosen, VaeLatents(*given)) == chosen
        else:
            with pytest.raises(PriorError, match=f"but latent_format '{chosen}' has") as caught:
                choose_format(chosen, VaeLatents(*given))
            assert name in str(caught.value).partition("prior is for: ")[2]
            with pytest.raises(PriorError, match=f"but --latent-format '{chosen}' has"):
                choose_format(chosen, VaeLatents(*given), "--latent-format")
    assert choose_format(UNKNOWN, VaeLatents(7, 2, 5)) == UNKNOWN


@pytest.mark.parametrize(
    ("shape", "decided"),
    [
        ((128, 2, 16), "flux2"),
        ((48, 3, 16), "wan22"),
        ((64, 2, 32), "hunyuan_image21"),
        ((64, 2, 16), "qwen_image21"),
        ((12, 3, 8), "mochi"),
        ((24, 3, 16), "minimax_h3"),
        ((3, 2, 1), "pixel"),
        ((7, 2, 8), UNKNOWN),
        ((4, 2, 8), "sd15 or sdxl"),
        ((16, 2, 8), "sd3 or flux"),
        ((16, 3, 8), "wan21, hunyuan_video, cosmos, cogvideox or seedvr2"),
        ((32, 3, 16), "hunyuan_image21_refiner or hunyuan_video15"),
        ((128, 3, 32), "ltxv or ltxav"),
    ],
)
def test_auto_takes_what_the_shape_decides_and_names_what_it_leaves(shape, decided):
    if " or " in decided:
        with pytest.raises(PriorError, match=f"may be of {decided}; set latent_format"):
            choose_format(AUTO, VaeLatents(*shape))
    else:
        assert choose_format(AUTO, VaeLatents(*shape)) == decided


@pytest.mark.parametrize("chosen", [AUTO, UNKNOWN, "sd15"])
def test_a_vae_of_sound_is_refused(chosen):
    sound = replace(VaeLatents(4, 2, 8), dimensions=1)
    with pytest.raises(PriorError, match="expected the VAE of a model of pictures or clips"):
        choose_format(chosen, sound)
