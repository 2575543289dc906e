"""Preview, import and merge priors, and convert label maps, in a real server."""

import shutil

import numpy as np
import pytest
import torch

from dev import weights
from dev.graph import Graph
from prior_tools import PALETTES, PriorAccumulator, load_prior, save_prior
from prior_tools.labels.class_matching import convert_label_image

pytestmark = pytest.mark.slow


def load(graph, street):
    return graph.add("SCP_LoadPrior", prior_name=street.prior)


def images_of(server, graph, *nodes):
    """What the nodes' first outputs show, uint8, in order."""
    saved = [graph.add("SaveImage", images=node, filename_prefix="prior") for node in nodes]
    found = server.images(server.run(graph.prompt))
    return [np.stack(found[node.id])[..., :3] for node in saved]


def test_a_preview_shows_maps_mean_labels_and_draw(server, street):
    graph = Graph()
    vae = weights.add_model(graph, server.base, "eps").vae
    label = graph.add("LoadImage", image=street.label)
    shown = graph.add(
        "SCP_PreviewPrior", prior=load(graph, street), vae=vae, label_image=label, seed=3
    )
    drawn = graph.add(
        "SCP_JointPriorNoise",
        prior=load(graph, street),
        label_image=label,
        mode="joint",
        noise="grain",
        deviation=1.0,
        seed=3,
        batch_size=1,
    )
    wanted = graph.add("VAEDecode", samples=drawn, vae=vae)
    overview, mean, labels, draw, same = images_of(
        server, graph, *(shown.out(i) for i in range(4)), wanted
    )
    assert overview.shape[2] == 960
    assert mean.shape == labels.shape == draw.shape == (1, 64, 128, 3)
    assert np.array_equal(draw, same)
    # A cell is a square of one color, and that is the prior's.
    cells = labels[0].reshape(8, 8, 16, 8, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    colors = {tuple(c) for c in PALETTES["cityscapes"].colors.values()}
    assert {tuple(int(x) for x in c) for c in cells[:, 0, :, 0].reshape(-1, 3)} <= colors


def test_a_preview_needs_no_vae_and_no_label_map(server, street):
    graph = Graph()
    shown = graph.add("SCP_PreviewPrior", prior=load(graph, street))
    pictures = server.images(server.run(graph.prompt))[shown.id]
    assert [p.shape[:2] for p in pictures[1:]] == [(64, 128)] * 3
    assert all(p.std() > 1 for p in pictures)


def test_what_a_preview_does_not_know_is_hatched(server, street):
    label = np.zeros((64, 128, 3), np.uint8)
    label[:, :64] = PALETTES["cityscapes"].colors[16]  # a train: the scenes have none
    label[:, 64:] = PALETTES["cityscapes"].colors[0]
    graph = Graph()
    image = graph.add("LoadImage", image=server.upload_image(label, "train.png"))
    shown = graph.add("SCP_PreviewPrior", prior=load(graph, street), label_image=image)
    (labels,) = images_of(server, graph, shown.out(2))
    red = (labels[0] == (255, 25, 25)).all(-1)
    assert 0.3 < red[:, :64].mean() < 0.7 and not red[:, 64:].any()


def test_two_halves_merge_to_the_whole_and_are_saved(server, street, tmp_path):
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 4, 8, 16, generator=rng)
    labels = torch.randint(0, 3, (6, 8, 16), generator=rng)
    folder = server.base / "models" / "scp_priors"
    for name, part in (("half_a", slice(0, 2)), ("half_b", slice(2, 6)), ("whole", slice(0, 6))):
        state = PriorAccumulator(4, (8, 16))
        state.update(latents[part], labels[part])
        save_prior(state.finalize(latent_format="sd15"), folder / f"{name}.safetensors")
    graph = Graph()
    halves = [graph.add("SCP_LoadPrior", prior_name=f"half_{n}.safetensors") for n in ("a", "b")]
    graph.add(
        "SCP_MergePriors", prior_a=halves[1], prior_b=halves[0], filename="united", overwrite=True
    )
    server.run(graph.prompt)
    united, whole = (load_prior(folder / f"{n}.safetensors") for n in ("united", "whole"))
    assert united.num_images == 6
    assert torch.allclose(united.joint_mean, whole.joint_mean, atol=1e-5)
    assert torch.allclose(united.spatial_std, whole.spatial_std, atol=1e-5)

    graph.prompt[str(len(graph.prompt))]["inputs"]["overwrite"] = False
    graph.prompt["1"]["inputs"]["prior_name"] = "whole.safetensors"
    with pytest.raises(Exception, match=r"united.safetensors' exists already"):
        server.run(graph.prompt)


def test_what_only_one_of_merged_priors_tells_is_warned_of(server):
    folder = server.base / "models" / "scp_priors"
    for name, known in (("known", {"latent_format": "sd15"}), ("unknown", {})):
        state = PriorAccumulator(4, (8, 16))
        state.update(torch.zeros(1, 4, 8, 16), torch.zeros(1, 8, 16, dtype=torch.int64))
        save_prior(state.finalize(**known), folder / f"format_{name}.safetensors")
    graph = Graph()
    both = [
        graph.add("SCP_LoadPrior", prior_name=f"format_{name}.safetensors")
        for name in ("known", "unknown")
    ]
    graph.add(
        "SCP_MergePriors", prior_a=both[0], prior_b=both[1], filename="formats", overwrite=True
    )
    server.run(graph.prompt)
    assert load_prior(folder / "formats.safetensors").metadata.latent_format == "sd15"
    assert "SCP-Diff: the latent format of prior_b is not known; it must" in server.log_text()


def test_priors_that_do_not_belong_together_are_refused(server, street):
    graph = Graph()
    state = PriorAccumulator(4, (4, 4))
    state.update(torch.randn(1, 4, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
    prior = state.finalize(latent_format="sd15")
    save_prior(prior, server.base / "models" / "scp_priors" / "other_grid.safetensors")
    graph.add(
        "SCP_MergePriors",
        prior_a=load(graph, street),
        prior_b=graph.add("SCP_LoadPrior", prior_name="other_grid.safetensors"),
    )
    with pytest.raises(Exception, match="grid"):
        server.run(graph.prompt)


def test_the_published_files_are_imported(server, shared_dir):
    official = shared_dir / "official_stats"
    folder = server.base / "input" / "published"
    folder.mkdir(exist_ok=True)
    names = {}
    for kind in ("spatial_class", "spatial", "categorical"):
        (file,) = [p for p in official.glob("*.npy") if p.name.endswith(f"_{kind}_mean_std.npy")
                   and (kind != "spatial" or "class" not in p.name)]  # fmt: skip
        shutil.copy(file, folder)
        names[kind] = f"published/{file.name}"
    graph = Graph()
    graph.add(
        "SCP_ImportPrior",
        joint=names["spatial_class"],
        spatial=names["spatial"],
        categorical=names["categorical"],
        palette="camvid",
        filename="from_published",
        overwrite=True,
    )
    server.run(graph.prompt)
    prior = load_prior(server.base / "models" / "scp_priors" / "from_published.safetensors")
    stored = np.load(official / "inputs.npz")
    # Raw VAE units; the files are scaled.
    assert prior.grid == stored["latents"].shape[2:]
    assert float(prior.spatial_mean.std()) == pytest.approx(
        stored["latents"].mean(0).std() / 0.18215, rel=0.1
    )


def test_a_replaced_file_is_imported_again_and_the_same_one_is_not(server):
    rng = np.random.default_rng(0)
    folder = server.base / "input" / "replaced"
    folder.mkdir(exist_ok=True)

    def write(mean):
        count = np.zeros((256, 1, 4, 6), np.float32)
        count[:3] = 5
        joint = {
            "mean": np.full((256, 4, 4, 6), mean, np.float32),
            "std": np.ones((256, 4, 4, 6), np.float32),
            "count": count,
        }
        np.save(folder / "joint.npy", np.array(joint, dtype=object))
        spatial = {name: rng.random((4, 4, 6), np.float32) for name in ("mean", "std")}
        np.save(folder / "spatial.npy", np.array(spatial, dtype=object))

    graph = Graph()
    graph.add(
        "SCP_ImportPrior",
        joint="replaced/joint.npy",
        spatial="replaced/spatial.npy",
        palette="none",
        filename="replaced",
        overwrite=True,
    )
    saved = server.base / "models" / "scp_priors" / "replaced.safetensors"

    def imported():
        server.run(graph.prompt)
        return load_prior(saved), saved.stat().st_mtime_ns

    write(0.18215)
    first, at = imported()
    assert float(first.joint_mean.mean()) == pytest.approx(1)
    assert imported()[1] == at
    write(0.3643)
    second, _ = imported()
    assert float(second.joint_mean.mean()) == pytest.approx(2)
    assert not torch.equal(second.spatial_mean, first.spatial_mean)
    spatial = {name: np.ones((4, 4, 6), np.float32) for name in ("mean", "std")}
    np.save(folder / "spatial.npy", np.array(spatial, dtype=object))
    assert float(imported()[0].spatial_mean.std()) == 0


@pytest.mark.parametrize(
    ("joint", "say"),
    [
        ("", "no joint file is given"),
        ("published/nothing.npy", "there is no joint file"),
        ("../../etc/passwd", "outside the folders"),
        ("published [output]/hostile.npy", "does not exist; looked in ComfyUI's input folder"),
        ("published/hostile.npy", "hostile.npy"),
    ],
)
def test_files_that_cannot_be_imported_are_told(server, joint, say):
    folder = server.base / "input" / "published"
    folder.mkdir(exist_ok=True)
    (folder / "hostile.npy").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (server.base / "output" / "published").mkdir(exist_ok=True)
    graph = Graph()
    graph.add("SCP_ImportPrior", joint=joint, palette="none", filename="never")
    with pytest.raises(Exception, match=say):
        server.run(graph.prompt)


def test_a_label_map_is_converted_to_the_ade20k_colors(server, street):
    graph = Graph()
    label = graph.add("LoadImage", image=street.label)
    converted = graph.add(
        "SCP_ConvertLabelMap",
        label_image=label,
        palette_from="cityscapes",
        palette_to="ade20k",
        changes="sidewalk = road",
    )
    was, now = images_of(server, graph, label, converted)
    city, ade = PALETTES["cityscapes"], PALETTES["ade20k"]
    given = torch.from_numpy(was).float() / 255
    wanted, _ = convert_label_image(given, city, ade, {1: 7})
    assert np.array_equal(now, (wanted * 255).round().byte().numpy())
    assert (now == ade.colors[7]).all(-1)[(was == city.colors[1]).all(-1)].all()


def test_a_label_map_of_another_palette_is_refused(server, street):
    graph = Graph()
    converted = graph.add(
        "SCP_ConvertLabelMap",
        label_image=graph.add("LoadImage", image=street.label),
        palette_from="ade20k",
        palette_to="coco_stuff",
    )
    graph.add("PreviewImage", images=converted)
    with pytest.raises(Exception, match="palette cityscapes has 100%"):
        server.run(graph.prompt)
