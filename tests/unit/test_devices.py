"""Laws of where a VAE is loaded from, and on which device it runs."""

import pytest

from prior_tools import PriorError
from prior_tools.building.ranks import Ranks
from prior_tools.cli.comfy_vae import load_vae
from prior_tools.cli.device import choose_device


@pytest.mark.parametrize(
    ("asked", "ranks", "gpus", "chosen"),
    [
        ("auto", Ranks(), 2, "auto"),
        ("auto", Ranks(), 0, "auto"),
        ("cuda", Ranks(), 2, "cuda:0"),
        ("cuda:1", Ranks(), 2, "cuda:1"),
        ("cpu", Ranks(3, 4, 3), 4, "cpu"),
        ("auto", Ranks(3, 4, 3), 0, "auto"),
        # Of several ranks each has its machine's GPU of its own number, ...
        ("auto", Ranks(0, 4, 0), 4, "cuda:0"),
        ("auto", Ranks(7, 8, 3), 4, "cuda:3"),
        ("cuda", Ranks(7, 8, 3), 4, "cuda:3"),
        # ... unless it is told another, or shown one only.
        ("cuda:1", Ranks(7, 8, 3), 4, "cuda:1"),
        ("auto", Ranks(7, 8, 3), 1, "cuda:0"),
    ],
)
def test_each_rank_has_its_own_gpu(asked, ranks, gpus, chosen):
    assert choose_device(asked, ranks, gpus, mps=False) == chosen


def test_an_apple_gpu_is_taken_where_there_is_one():
    assert choose_device("mps", Ranks(), 0, mps=True) == "mps"


@pytest.mark.parametrize(
    ("asked", "ranks", "says"),
    [
        ("mps", Ranks(), "device mps is not there: torch sees no Apple GPU; give auto or cpu"),
        ("cuda:x", Ranks(), "device is 'cuda:x'; expected auto, cpu, cuda, cuda:N or mps"),
        ("cuda:", Ranks(), "device is 'cuda:'"),
        ("cuda:-1", Ranks(), "device is 'cuda:-1'"),
        ("cpu:0", Ranks(), "device is 'cpu:0'"),
        ("xpu", Ranks(), "device is 'xpu'.*auto takes whatever accelerator ComfyUI finds"),
        ("", Ranks(), "device is ''"),
        ("cuda:2", Ranks(), "device cuda:2 is not there; torch sees 2 CUDA devices"),
        ("auto", Ranks(2, 3, 2), "rank 2 of this machine has no GPU of its own: torch sees 2"),
        ("cuda", Ranks(2, 3, 2), "rank 2 of this machine has no GPU of its own: torch sees 2"),
    ],
)
def test_a_device_that_is_not_there_is_refused(asked, ranks, says):
    with pytest.raises(PriorError, match=says):
        choose_device(asked, ranks, 2, mps=False)


def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(PriorError, match="device cuda is not there; torch sees 0"):
        choose_device("cuda", Ranks(), 0, mps=False)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("vae.safetensors", None, "there is no VAE file"),
        ("vae.ckpt", b"x", "vae.ckpt is not a safetensors file; convert it"),
        ("vae.safetensors", b"<html>not found</html>", "vae.safetensors cannot be read"),
        ("vae.safetensors", b"", "vae.safetensors cannot be read"),
    ],
)
def test_a_file_that_is_no_vae_is_refused_before_comfyui_is_imported(tmp_path, name, data, says):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PriorError, match=says):
        load_vae(tmp_path / name, tmp_path / "nowhere")
