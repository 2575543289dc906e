"""The subgraph blueprint: offered by the server, and in step with the nodes that it wraps."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NAME = "SCP-Diff sampler"
FILE = Path(__file__).resolve().parents[2] / "subgraphs" / f"{NAME}.json"

# The host's own names for a subgraph's inputs and outputs, seen from within.
INPUT, OUTPUT = -10, -20


@pytest.fixture(scope="module")
def blueprint():
    return json.loads(FILE.read_text(encoding="ascii"))


@pytest.fixture(scope="module")
def subgraph(blueprint):
    (subgraph,) = blueprint["definitions"]["subgraphs"]
    return subgraph


@pytest.fixture(scope="module")
def inner(subgraph):
    return {node["type"]: node for node in subgraph["nodes"]}


@pytest.fixture(scope="module")
def schemas(server):
    return server.object_info()


def inputs_of(schema):
    return {**schema["input"]["required"], **schema["input"].get("optional", {})}


def targets(subgraph, name):
    """The (node type, input) that one of the subgraph's inputs leads to."""
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    (slot,) = [s for s, given in enumerate(subgraph["inputs"]) if given["name"] == name]
    links = [x for x in subgraph["links"] if (x["origin_id"], x["origin_slot"]) == (INPUT, slot)]
    assert sorted(x["id"] for x in links) == sorted(subgraph["inputs"][slot]["linkIds"])
    found = set()
    for link in links:
        node = nodes[link["target_id"]]
        given = node["inputs"][link["target_slot"]]
        assert given["link"] == link["id"]
        found.add((node["type"], given["name"]))
    return found


def test_the_server_offers_it_as_the_packs(server, blueprint):
    (key,) = [
        k for k, v in json.loads(server.get("/api/global_subgraphs")).items() if v["name"] == NAME
    ]
    offered = json.loads(server.get(f"/api/global_subgraphs/{key}"))
    assert offered["info"]["node_pack"] == "custom_nodes.ComfyUI-SCP-Diff"
    assert json.loads(offered["data"]) == blueprint


def test_it_is_one_node_around_three(blueprint, subgraph, inner):
    (node,) = blueprint["nodes"]
    assert node["type"] == subgraph["id"] and node["title"] == subgraph["name"] == NAME
    assert set(inner) == {"SCP_LoadPrior", "SCP_JointPriorNoise", "SCP_PartialDenoiseKSampler"}
    assert [x["name"] for x in node["inputs"]] == [x["name"] for x in subgraph["inputs"]]
    assert [(x["name"], x["type"]) for x in node["outputs"]] == [("latent", "LATENT")]
    assert blueprint["extra"]["BlueprintDescription"]


def test_its_nodes_have_the_inputs_of_their_schemas_with_the_defaults(schemas, inner, blueprint):
    ours = {"mu": 0.8, "cfg": 7.5, "steps": 20, "seed": 0}
    for node_type, node in inner.items():
        known = inputs_of(schemas[node_type])
        assert {x["name"] for x in node["inputs"]} == set(known), node_type
        values = iter(node["widgets_values"])
        for given in (x for x in node["inputs"] if "widget" in x):
            options, value = known[given["name"]][1], next(values)
            if options.get("control_after_generate"):
                assert next(values) == "fixed"
            wanted = options.get("default", "scp_diff_demo.safetensors")
            assert value == wanted == ours.get(given["name"], wanted), given["name"]
        assert next(values, None) is None
    (node,) = blueprint["nodes"]
    shown = [given["name"] for given in node["inputs"] if "widget" in given]
    outer = dict(zip(shown, node["widgets_values"], strict=True))
    for name, value in outer.items():
        for node_type in ("SCP_JointPriorNoise", "SCP_PartialDenoiseKSampler"):
            known = inputs_of(schemas[node_type]).get(name)
            assert known is None or known[1]["default"] == value, name


def test_every_input_leads_to_the_one_of_its_name_and_the_seed_to_both(subgraph):
    draw, sampler = "SCP_JointPriorNoise", "SCP_PartialDenoiseKSampler"
    names = [given["name"] for given in subgraph["inputs"]]
    assert names[:4] == ["model", "positive", "negative", "label_image"]
    assert targets(subgraph, "seed") == {(draw, "seed"), (sampler, "seed")}
    for name in names:
        found = targets(subgraph, name)
        assert {given for _, given in found} == {name}
        assert len(found) == (2 if name == "seed" else 1)
    # What is not wired within can be set on the outside, save what hardly anyone changes.
    wired = {given for name in names for given in targets(subgraph, name)}
    assert wired >= {
        (sampler, x) for x in ("steps", "cfg", "sampler_name", "scheduler", "mu", "mu_of")
    }
    assert wired >= {(draw, x) for x in ("mode", "noise", "deviation", "palette", "batch_size")}
    # The card on the node follows the last one, and is below it.
    assert targets(subgraph, names[-1]) == {("SCP_LoadPrior", "prior_name")}
