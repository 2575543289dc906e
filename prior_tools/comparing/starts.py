"""A workflow with a prior's start: as it is, and with the stock start in its place.

The stock start is the workflow's own: Joint Prior Noise in mode `normal` gives an empty latent, and
with it Partial Denoise KSampler at mu 1 is the stock KSampler, bit for bit. So nothing else differs
between the two, and a workflow needs no second sampler.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import PriorError, listing
from ..generating.prepared_workflow import PreparedWorkflow
from ..generating.titled_inputs import OUTPUT_CLASSES, TitledInput, find_node, is_link
from ..generating.workflow_file import Prompt, title_of

NOISE = "SCP_JointPriorNoise"
SAMPLERS = ("SCP_PartialDenoiseKSampler", "SCP_PartialDenoiseScheduler")
_STOCK_MODE, _STOCK_MU = "normal", 1.0

# The node that is added to show the images that are judged.
SHOWN = "Compared image"
_SHOWN_ID = "scp_compared"
_TYPE_IMAGE, _TYPE_LATENT = "IMAGE", "LATENT"

Link = list[Any]


@dataclass(frozen=True)
class Starts:
    """The two workflows, each with no more than its image needs.

    Attributes:
        prior, stock: the workflow as it is, and with the stock start.
        mode: input of Joint Prior Noise; mu: of the sampler or scheduler.
        image: title of the node whose images are judged.
    """

    prior: PreparedWorkflow
    stock: PreparedWorkflow
    mode: TitledInput
    mu: TitledInput
    image: str

    @property
    def values(self) -> tuple[str, float]:
        """Mode and mu of the workflow as it is."""
        prompt = self.prior.prompt
        mode, mu = (prompt[place.node_id]["inputs"][place.name] for place in (self.mode, self.mu))
        return str(mode), float(mu)


def with_shown(prompt: Prompt, output: str | None, object_info: Mapping[str, Any]) -> Prompt:
    """The workflow with a Preview Image titled `SHOWN` of the images to judge.

    Args:
        output: title of the node that gives them: it shows or saves them, or gives them as its
            first output. None finds those of the prior's start: what shows the decoded result of
            Partial Denoise KSampler alone, not put together with other pictures; or else that
            result itself.
        object_info: the server's answer of that name.

    Raises PriorError if the workflow has no such start, or if it is not clear which is meant.
    """
    outputs = _Outputs(prompt, object_info)
    if output is None:
        _one_noise(prompt, prompt)
        image = _found(outputs)
    else:
        image = _named(outputs, output)
    needed = _needed(prompt, image[0])
    _one_noise(prompt, needed)
    _one_sampler(prompt, needed)
    shown = {
        "class_type": "PreviewImage",
        "inputs": {"images": image},
        "_meta": {"title": SHOWN},
    }
    return {**prompt, _SHOWN_ID: shown}


def both_starts(workflow: PreparedWorkflow) -> Starts:
    """The two workflows of one that `with_shown` made and that was prepared with all settings.

    Raises PriorError if mode or mu is not set on its node, if the start is the stock one already,
    or if label map or seed have nothing to do with the images.
    """
    prompt = workflow.prompt
    needed = _needed(prompt, workflow.output)
    for place, what in ((workflow.label_image, "label map"), (workflow.seed, "seed")):
        if place.node_id not in needed:
            raise PriorError(
                f"the images of the prior's start do not depend on node {place.title!r}, which the "
                f"{what} goes into; connect it, or name another by --{what.split()[0]}-input"
            )
    mode = _value_of(prompt, _one_noise(prompt, needed), "mode", _STOCK_MODE)
    mu = _value_of(prompt, _one_sampler(prompt, needed), "mu", f"{_STOCK_MU:g}")
    if prompt[mode.node_id]["inputs"]["mode"] == _STOCK_MODE:
        raise PriorError(
            f"node {mode.title!r} has mode {_STOCK_MODE!r} as it is, so both starts would be the "
            f'stock one; choose another mode in the workflow, or by --set "{mode}=joint"'
        )
    # Nothing else is sampled, and nothing else is saved on the server.
    kept = {node_id: copy.deepcopy(node) for node_id, node in prompt.items() if node_id in needed}
    prior = replace(
        workflow, prompt=kept, warning_nodes=[i for i in workflow.warning_nodes if i in needed]
    )
    changed = copy.deepcopy(kept)
    changed[mode.node_id]["inputs"]["mode"] = _STOCK_MODE
    changed[mu.node_id]["inputs"]["mu"] = _STOCK_MU
    settings = {**workflow.settings, str(mode): _STOCK_MODE, str(mu): _STOCK_MU}
    stock = replace(prior, prompt=changed, settings=settings)
    return Starts(prior, stock, mode, mu, title_of(prompt[_shown_link(prompt)[0]]))


def is_put_together(prompt: Prompt, object_info: Mapping[str, Any]) -> bool:
    """Whether other pictures were put into the images that `with_shown` chose."""
    return _Outputs(prompt, object_info).decoder(_shown_link(prompt)) is None


def size_follows(workflow: PreparedWorkflow, noise: str) -> bool:
    """Whether images have the label map's size: it goes into Joint Prior Noise as it was loaded."""
    link = workflow.prompt[noise]["inputs"].get("label_image")
    return is_link(link) and link[0] == workflow.label_image.node_id


def named_files(prompt: Prompt) -> list[str]:
    """The model files that a workflow names, each with the title of its node."""
    found = []
    for node in prompt.values():
        for value in node["inputs"].values():
            if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES):
                found.append(f"{title_of(node)}: {value}")
    return found


_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


class _Outputs:
    """A prompt with the types of what its nodes give."""

    def __init__(self, prompt: Prompt, object_info: Mapping[str, Any]) -> None:
        self.prompt, self._info = prompt, object_info

    def type_of(self, link: Link) -> str | None:
        """Of what comes through a link; None where the server does not tell."""
        node = self.prompt.get(link[0])
        types = self._info.get(node["class_type"], {}).get("output", []) if node else []
        return types[link[1]] if link[1] < len(types) else None

    def taken(self, node_id: str, kind: str) -> list[Link]:
        """The links of this type that a node takes."""
        links = filter(is_link, self.prompt[node_id]["inputs"].values())
        return [link for link in links if self.type_of(link) == kind]

    def decoder(self, link: Link) -> str | None:
        """The node that made this picture of a latent, if no other picture was put into it."""
        seen = set()
        while link[0] in self.prompt and link[0] not in seen:
            seen.add(link[0])
            if self.taken(link[0], _TYPE_LATENT):
                return str(link[0])
            pictures = self.taken(link[0], _TYPE_IMAGE)
            if len(pictures) != 1:
                return None
            (link,) = pictures
        return None


def _found(outputs: _Outputs) -> Link:
    """The images of the prior's start, where nobody names them."""
    prompt = outputs.prompt
    results = [node_id for node_id in prompt if _is_result(outputs, node_id)]
    shown = [
        (title_of(node), node["inputs"]["images"])
        for node in prompt.values()
        if node["class_type"] in OUTPUT_CLASSES
        and is_link(node["inputs"].get("images"))
        and outputs.decoder(node["inputs"]["images"]) in results
    ]
    images = shown or [(title_of(prompt[node_id]), [node_id, 0]) for node_id in results]
    if not images:
        raise PriorError(
            "no picture in the workflow is made from Joint Prior Noise by way of Partial Denoise "
            "KSampler or Partial Denoise Scheduler; expected its latent to go there, and a VAE "
            "Decode behind it. Connect them, or name by --output-node the node that gives the "
            "pictures"
        )
    if len(images) > 1:
        raise PriorError(
            f"{len(images)} nodes give pictures of the prior's start: "
            f"{', '.join(repr(title) for title, _ in images)}; choose by --output-node"
        )
    link: Link = images[0][1]
    return link


def _is_result(outputs: _Outputs, node_id: str) -> bool:
    """Whether a node makes a picture of the latent of the prior's start."""
    prompt = outputs.prompt
    if outputs.type_of([node_id, 0]) != _TYPE_IMAGE or not outputs.taken(node_id, _TYPE_LATENT):
        return False
    classes = {prompt[i]["class_type"] for i in _needed(prompt, node_id)}
    return NOISE in classes and not classes.isdisjoint(SAMPLERS)


def _named(outputs: _Outputs, title: str) -> Link:
    node_id = find_node(outputs.prompt, title)
    node = outputs.prompt[node_id]
    if node["class_type"] in OUTPUT_CLASSES and is_link(node["inputs"].get("images")):
        link: Link = node["inputs"]["images"]
        return link
    if outputs.type_of([node_id, 0]) == _TYPE_IMAGE:
        return [node_id, 0]
    raise PriorError(
        f"--output-node {title!r} is a {node['class_type']}, which gives no picture first; "
        "expected a Save Image, a Preview Image or a node such as VAE Decode"
    )


def _needed(prompt: Prompt, node_id: str) -> set[str]:
    """A node and all that it depends on."""
    found, open_ids = set(), [node_id]
    while open_ids:
        current = open_ids.pop()
        if current in found or current not in prompt:
            continue
        found.add(current)
        open_ids += [v[0] for v in prompt[current]["inputs"].values() if is_link(v)]
    return found


def _one_noise(prompt: Prompt, among: Collection[str]) -> str:
    """The only Joint Prior Noise."""
    ids = [node_id for node_id in among if prompt[node_id]["class_type"] == NOISE]
    if not ids:
        raise PriorError(
            "the workflow has no Joint Prior Noise on the way to its images, so there is no "
            "prior's start to compare; expected its latent to go into Partial Denoise KSampler, as "
            "in the template 'SCP-Diff demo (no downloads)'"
        )
    if len(ids) > 1:
        who = "the workflow has" if len(among) == len(prompt) else "the images depend on"
        raise PriorError(
            f"{who} {len(ids)} Joint Prior Noise: {_titles(prompt, ids)}; expected "
            "one start to compare. Name by --output-node a node that gives pictures of one alone"
        )
    return ids[0]


def _one_sampler(prompt: Prompt, among: Iterable[str]) -> str:
    """The only node that says where sampling starts."""
    ids = [node_id for node_id in among if prompt[node_id]["class_type"] in SAMPLERS]
    if not ids:
        raise PriorError(
            "no Partial Denoise KSampler or Partial Denoise Scheduler is on the way to the images; "
            "expected one, whose mu 1 is the stock start. Put it in place of the stock sampler"
        )
    if len(ids) > 1:
        raise PriorError(
            f"the images depend on {len(ids)} nodes that say where sampling starts: "
            f"{_titles(prompt, ids)}; expected one. Name by --output-node a node that gives the "
            "pictures of one alone"
        )
    return ids[0]


def _value_of(prompt: Prompt, node_id: str, name: str, stock: str) -> TitledInput:
    """The input of a node, which must hold a value."""
    node = prompt[node_id]
    value = node["inputs"].get(name)
    if is_link(value):
        source = prompt.get(value[0])
        raise PriorError(
            f"input {name!r} of node {title_of(node)!r} comes from node "
            f"{title_of(source) if source else value[0]!r}; compare sets it to {stock} for the "
            "stock start, so set it on the node itself: disconnect it"
        )
    if value is None:
        raise PriorError(f"node {title_of(node)!r} has no input {name!r}; save the workflow anew")
    return TitledInput(node_id, title_of(node), name)


def _shown_link(prompt: Prompt) -> Link:
    link: Link = prompt[_SHOWN_ID]["inputs"]["images"]
    return link


def _titles(prompt: Prompt, ids: Iterable[str]) -> str:
    return listing([f"{title_of(prompt[i])!r} (id {i})" for i in ids], 5)
