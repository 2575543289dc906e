"""The contract with shared workflows: ids, inputs, outputs, and a word on each."""

import pytest

pytestmark = pytest.mark.slow

CONTRACT = {
    "SCP_BuildPrior": (
        "Build SCP Prior",
        "vae images labels palette width height batch_size max_images seed latent_format filename",
        "resize label_method ignore_ids on_error overwrite split",
        {"prior": "SCP_PRIOR"},
    ),
    "SCP_LoadPrior": ("Load SCP Prior", "prior_name", "", {"prior": "SCP_PRIOR"}),
    "SCP_JointPriorNoise": (
        "Joint Prior Noise",
        "prior label_image mode noise deviation seed batch_size",
        "palette fallback mix batch_noise",
        {"latent": "LATENT"},
    ),
    "SCP_PartialDenoiseKSampler": (
        "Partial Denoise KSampler",
        "model seed steps cfg sampler_name scheduler positive negative latent_image mu",
        "mu_of",
        {"latent": "LATENT"},
    ),
    "SCP_PartialDenoiseScheduler": (
        "Partial Denoise Scheduler",
        "model scheduler steps mu",
        "mu_of latent_image",
        {"sigmas": "SIGMAS", "latent": "LATENT"},
    ),
    "SCP_PreviewPrior": (
        "Preview SCP Prior",
        "prior",
        "vae label_image mode deviation seed palette",
        {"overview": "IMAGE", "mean": "IMAGE", "labels": "IMAGE", "draw": "IMAGE"},
    ),
    "SCP_ImportPrior": (
        "Import SCP Prior",
        "joint palette filename",
        "spatial categorical id_map latent_format overwrite",
        {"prior": "SCP_PRIOR"},
    ),
    "SCP_MergePriors": (
        "Merge SCP Priors",
        "prior_a prior_b",
        "prior_c prior_d filename overwrite",
        {"prior": "SCP_PRIOR"},
    ),
    "SCP_LoadLabelMap": (
        "Load SCP Label Map",
        "image palette",
        "",
        {"label_image": "IMAGE", "unknown": "MASK"},
    ),
    "SCP_ConvertLabelMap": (
        "Convert SCP Label Map",
        "label_image palette_from palette_to",
        "changes",
        {"label_image": "IMAGE"},
    ),
    "SCP_MasksToLabelMap": (
        "Masks to SCP Label Map",
        "masks classes palette",
        "background",
        {"label_image": "IMAGE"},
    ),
    "SCP_LoadDemoModel": (
        "Load SCP Demo Model",
        "weights",
        "",
        {
            "MODEL": "MODEL",
            "CONTROL_NET": "CONTROL_NET",
            "VAE": "VAE",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
        },
    ),
    "SCP_DemoLabelMap": ("SCP Demo Label Map", "index", "", {"label_image": "IMAGE"}),
}

# Those that a new user never needs.
ADVANCED = {
    "SCP_BuildPrior": {"seed", "label_method", "ignore_ids", "split"},
    "SCP_JointPriorNoise": {"fallback", "mix", "batch_noise"},
    "SCP_PartialDenoiseKSampler": {"mu_of"},
    "SCP_PartialDenoiseScheduler": {"mu_of"},
    "SCP_PreviewPrior": {"deviation", "seed"},
    "SCP_ImportPrior": {"id_map", "latent_format"},
}

# They save or show something themselves.
WITHOUT_OUTPUTS_NEEDED = {
    "SCP_BuildPrior",
    "SCP_DemoLabelMap",
    "SCP_ImportPrior",
    "SCP_LoadLabelMap",
    "SCP_MergePriors",
    "SCP_PreviewPrior",
}


@pytest.fixture(scope="module")
def listed(server):
    return server.object_info()


def test_all_nodes_and_no_others_are_listed(listed):
    assert {name for name in listed if name.startswith("SCP_")} == set(CONTRACT)


@pytest.mark.parametrize("node_id", CONTRACT)
def test_ids_inputs_and_outputs_are_the_contract(listed, node_id):
    name, required, optional, outputs = CONTRACT[node_id]
    node = listed[node_id]
    assert node["display_name"] == name
    assert node["category"] == "SCP-Diff"
    assert list(node["input"]["required"]) == required.split()
    assert list(node["input"].get("optional", {})) == optional.split()
    assert dict(zip(node["output_name"], node["output"], strict=True)) == outputs
    assert node["output_node"] == (node_id in WITHOUT_OUTPUTS_NEEDED)
    assert node["description"]


@pytest.mark.parametrize("node_id", CONTRACT)
def test_every_input_and_output_has_a_tooltip(listed, node_id):
    node = listed[node_id]
    for group in ("required", "optional"):
        for name, (_type, options) in node["input"].get(group, {}).items():
            assert len(options.get("tooltip", "")) > 10, name
    assert all(len(tip) > 10 for tip in node["output_tooltips"])


def inputs_of(node):
    return {**node["input"]["required"], **node["input"].get("optional", {})}


@pytest.mark.parametrize("node_id", CONTRACT)
def test_rarely_used_inputs_are_advanced_where_the_host_knows_that(listed, node_id):
    known = any(
        options.get("advanced")
        for _type, *more in inputs_of(listed["KSamplerAdvanced"]).values()
        for options in more
    )
    marked = {n for n, spec in inputs_of(listed[node_id]).items() if spec[1].get("advanced")}
    assert marked == (ADVANCED.get(node_id, set()) if known else set())


def test_the_search_of_a_host_that_knows_other_words_finds_the_nodes(listed):
    known = "search_aliases" in listed["KSampler"]
    words = {node_id: listed[node_id].get("search_aliases") for node_id in CONTRACT}
    if not known:
        assert set(words.values()) == {None}
        return
    for node_id in CONTRACT:
        assert {"segmentation", "semantic"} <= set(words[node_id]), node_id
    for word in ("start latent", "noise prior"):
        for node_id in ("SCP_JointPriorNoise", "SCP_PartialDenoiseKSampler"):
            assert word in words[node_id]


def test_the_defaults_are_the_documented_ones(listed):
    def default(node_id, name):
        return inputs_of(listed[node_id])[name][1]["default"]

    for sampler in ("SCP_PartialDenoiseKSampler", "SCP_PartialDenoiseScheduler"):
        assert default(sampler, "mu") == 0.8
        assert default(sampler, "mu_of") == "stable diffusion"
    assert default("SCP_JointPriorNoise", "noise") == "grain"
    assert default("SCP_JointPriorNoise", "deviation") == 1
    assert default("SCP_JointPriorNoise", "palette") == "prior"
    assert default("SCP_JointPriorNoise", "batch_noise") == "separate"
    assert default("SCP_BuildPrior", "on_error") == "stop"


@pytest.mark.parametrize("node_id", CONTRACT)
def test_every_node_has_a_help_page_where_the_frontend_looks_for_it(server, node_id):
    page = server.get(f"/extensions/ComfyUI-SCP-Diff/docs/{node_id}.md").decode()
    assert page.startswith(f"# {CONTRACT[node_id][0]}\n")
