"""The subgraph blueprint: found in the node library, and the same as the nodes that it holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from dev.workspace import PACK_FOLDER

pytestmark = pytest.mark.slow

NAME = "SCP-Diff sampler"
FILE = Path(__file__).resolve().parents[2] / "subgraphs" / f"{NAME}.json"

# The demo's models and the three nodes by themselves, then their parts are given to the blueprint.
ALONE = """() => {
    const made = {};
    const add = (key, type, x, y, values = {}) => {
        const node = LiteGraph.createNode(type);
        node.pos = [x, y];
        app.graph.add(node);
        for (const [name, value] of Object.entries(values))
            node.widgets.find(w => w.name === name).value = value;
        made[key] = node;
    };
    const link = (from, output, to, input) =>
        made[from].connect(output, made[to], made[to].findInputSlot(input));
    app.graph.clear();
    add('demo', 'SCP_LoadDemoModel', 0, 0);
    add('map', 'SCP_DemoLabelMap', 0, 200, {index: 3});
    add('prior', 'SCP_LoadPrior', 0, 320, {prior_name: 'scp_diff_demo.safetensors'});
    add('draw', 'SCP_JointPriorNoise', 420, 320, {seed: 7, deviation: 0.5});
    const settings = {seed: 7, steps: 6, cfg: 2, scheduler: 'sgm_uniform', mu: 0.7};
    add('sampler', 'SCP_PartialDenoiseKSampler', 760, 0, settings);
    for (const [kind, y] of [['alone', 0], ['blueprint', 320]]) {
        add(`${kind} decoded`, 'VAEDecode', 1500, y);
        add(`${kind} shown`, 'PreviewImage', 1700, y);
        made[`${kind} shown`].title = kind;
        link('demo', 2, `${kind} decoded`, 'vae');
        link(`${kind} decoded`, 0, `${kind} shown`, 'images');
    }
    link('demo', 0, 'sampler', 'model');
    link('demo', 3, 'sampler', 'positive');
    link('demo', 4, 'sampler', 'negative');
    link('prior', 0, 'draw', 'prior');
    link('map', 0, 'draw', 'label_image');
    link('draw', 0, 'sampler', 'latent_image');
    link('sampler', 0, 'alone decoded', 'samples');
    window.made = made;
}"""

IN_ONE = """name => {
    const node = app.graph.nodes.find(n => n.title === name);
    node.pos = [1080, 0];
    const link = (from, output, input) =>
        window.made[from].connect(output, node, node.findInputSlot(input));
    link('demo', 0, 'model');
    link('demo', 3, 'positive');
    link('demo', 4, 'negative');
    link('map', 0, 'label_image');
    node.connect(0, window.made['blueprint decoded'], 0);
    const values = {seed: 7, steps: 6, cfg: 2, scheduler: 'sgm_uniform', mu: 0.7, deviation: 0.5};
    for (const [wanted, value] of Object.entries(values)) {
        const widget = node.widgets.find(w => w.name === wanted);
        widget.value = value;
        widget.callback?.(value);
    }
    app.canvas.setDirty(true, true);
    return {
        inputs: node.inputs.filter(i => !i.widget).map(i => i.name),
        widgets: node.widgets.map(w => w.name.replace(/^\\d+: /, '')),
        types: [...node.subgraph.nodes].map(n => n.type).sort(),
        missing: document.querySelectorAll('.comfy-missing-nodes').length,
    };
}"""


def test_the_server_offers_it(street):
    offered = street._get_json("/global_subgraphs").values()
    own = [e for e in offered if e["info"]["node_pack"].endswith(PACK_FOLDER)]
    assert [entry["name"] for entry in own] == [NAME] == [FILE.stem]


def test_its_one_seed_drives_draw_and_sampler():
    (inner,) = json.loads(FILE.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    (seed,) = [entry for entry in inner["inputs"] if entry["name"] == "seed"]
    links = {link["id"]: link for link in inner["links"]}
    nodes = {node["id"]: node for node in inner["nodes"]}
    driven = {
        (
            nodes[links[i]["target_id"]]["type"],
            nodes[links[i]["target_id"]]["inputs"][links[i]["target_slot"]]["name"],
        )
        for i in seed["linkIds"]
    }
    assert driven == {("SCP_JointPriorNoise", "seed"), ("SCP_PartialDenoiseKSampler", "seed")}


def test_from_the_node_library_it_makes_the_image_of_its_three_nodes(page, street, run, screenshot):
    page.evaluate(ALONE)
    page.keyboard.press("n")
    page.get_by_placeholder("Search").first.fill(NAME)
    found = page.get_by_text(NAME, exact=True)
    expect(found).to_have_count(1)
    # The list is filled once more when the search has settled.
    page.wait_for_timeout(500)
    found.click()
    page.wait_for_function("name => app.graph.nodes.some(n => n.title === name)", arg=NAME)
    page.keyboard.press("n")
    found = page.evaluate(IN_ONE, NAME)
    assert found["inputs"] == ["model", "positive", "negative", "label_image"]
    assert {"seed", "steps", "cfg", "mu", "mode", "deviation", "prior_name"} <= set(
        found["widgets"]
    )
    assert found["types"] == [
        *("SCP_JointPriorNoise", "SCP_LoadPrior", "SCP_PartialDenoiseKSampler")
    ]
    assert found["missing"] == 0
    page.evaluate("app.canvas.ds.scale = 0.8; app.canvas.ds.offset = [60, 100]")
    done = run()
    assert done["type"] == "execution_success"
    # The label map's node shows it as well.
    page.wait_for_function("app.graph.nodes.filter(n => n.imgs?.length).length === 3")
    screenshot("run")
    history = street.wait(done["detail"]["prompt_id"])
    shown = {
        page.evaluate("id => app.graph.getNodeById(id)?.title", int(i)): found[0]
        for i, found in street.images(history).items()
    }
    alone, in_one = shown["alone"], shown["blueprint"]
    assert alone.shape == (144, 288, 3) and alone.std() > 1
    assert np.array_equal(alone, in_one)
