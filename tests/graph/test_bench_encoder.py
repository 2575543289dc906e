"""The encoder that is measured where there is no ComfyUI is ComfyUI's."""

import torch
from safetensors.torch import load_file, save_file

from bench.sd_encoder import WIDTH, SDEncoder, random_encoder

IN_HOST = """
import torch
import comfy.ldm.models.autoencoder
from safetensors.torch import load_file, save_file

given, taken, width, full_width = args


def vae(width):
    config = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": width, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [],
        "dropout": 0.0,
    }
    return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=config, embed_dim=4)


tensors = load_file(given)
images = tensors.pop("images")
model = vae(width).eval()
lacking, unknown = model.load_state_dict(tensors, strict=False)
save_file({"latents": model.encode(images).contiguous()}, taken)
of_encoder = ("encoder.", "quant_conv.")
with torch.device("meta"):
    full = vae(full_width).state_dict()
result = {
    "lacking": [name for name in lacking if name.startswith(of_encoder)],
    "unknown": unknown,
    "shapes": {n: list(t.shape) for n, t in full.items() if n.startswith(of_encoder)},
}
"""


def test_with_equal_weights_it_gives_the_hosts_latents(run_in_host, tmp_path):
    net, generator = random_encoder(32), torch.Generator().manual_seed(5)
    # Norms that do nothing would hide that one is in the wrong place.
    for name, weight in net.named_parameters():
        if "norm" in name:
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    images = torch.rand(2, 3, 64, 48, generator=generator) * 2 - 1
    given, taken = tmp_path / "given.safetensors", tmp_path / "taken.safetensors"
    save_file({**net.state_dict(), "images": images}, given)
    said = run_in_host(IN_HOST, given, taken, 32, WIDTH)
    assert said["lacking"] == said["unknown"] == []
    latents = load_file(taken)["latents"]
    assert latents.shape == (2, 4, 8, 6) and latents.std() > 0.01
    torch.testing.assert_close(net(images), latents, atol=1e-5, rtol=1e-4)
    with torch.device("meta"):
        ours = SDEncoder().state_dict()
    assert {name: list(tensor.shape) for name, tensor in ours.items()} == said["shapes"]
