"""The workflow of a run: what is set for all of its prompts, and what for each."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PriorError
from .node_warnings import warning_nodes
from .titled_inputs import (
    LABEL_INPUTS,
    SEED_INPUTS,
    TitledInput,
    declared_type,
    find_input,
    find_output,
    put,
    split_setting,
    typed_value,
    value_at,
)
from .workflow_file import Prompt, title_of

# An input that nodes do not have. They ignore it, but with a value that was not there before the
# server runs them instead of taking their last result; and it tells the warnings of those that ran.
_RUN_AGAIN = "scp_run_again"


@dataclass(frozen=True)
class PreparedWorkflow:
    """The workflow of a run, and where a job's values go in it.

    Attributes:
        prompt: with all settings.
        label_image, seed: what is set for each job.
        output: id of the node whose images are wanted.
        settings: that were made, by "title.input".
        warning_nodes: ids of nodes that are to run for every prompt, for their warnings.
    """

    prompt: Prompt
    label_image: TitledInput
    seed: TitledInput
    output: str
    settings: Mapping[str, Any]
    warning_nodes: Sequence[str] = ()

    def filled(self, label_image: str, seed: int, fresh: str | None = None) -> Prompt:
        """The prompt of a job, which shares with `prompt` what it does not set.

        Args:
            label_image: the file's name on the server.
            fresh: what no prompt of this server has had before, which is kept in the image's
                metadata; None takes what no prompt of any server has had.
        """
        mark = uuid.uuid4().hex if fresh is None else fresh
        return self._with(label_image, seed, dict.fromkeys(self.warning_nodes, mark))

    def blank(self) -> Prompt:
        """The prompt without what differs between jobs: what the workflow file happened to hold."""
        return self._with(None, None, {})

    def names(self) -> dict[str, str]:
        """What is set and read, by title."""
        return {
            "label input": str(self.label_image),
            "seed input": str(self.seed),
            "output node": title_of(self.prompt[self.output]),
        }

    def _with(
        self, label_image: str | None, seed: int | None, run_again: Mapping[str, str]
    ) -> Prompt:
        places = ((self.label_image, label_image), (self.seed, seed))
        changes: list[tuple[str, str, Any]] = [(p.node_id, p.name, value) for p, value in places]
        changes += [(node_id, _RUN_AGAIN, value) for node_id, value in run_again.items()]
        prompt = dict(self.prompt)
        for node_id, name, value in changes:
            node = prompt[node_id]
            prompt[node_id] = {**node, "inputs": {**node["inputs"], name: value}}
        return prompt


def prepare_workflow(
    prompt: Prompt,
    label_input: str,
    seed_input: str,
    output_node: str | None,
    settings: Sequence[str],
    object_info: Mapping[str, Any],
) -> PreparedWorkflow:
    """A workflow with the settings of a command line.

    Args:
        prompt: the workflow; it is not changed.
        label_input, seed_input: "title.input", or the title alone.
        output_node: a title; None takes the only node that saves or previews images.
        settings: of "title.input=value".
        object_info: the server's answer of that name.

    Raises PriorError if one of them names nothing, two nodes, or a value of the wrong type.
    """
    prompt = copy.deepcopy(prompt)
    label_image = find_input(prompt, label_input, LABEL_INPUTS)
    seed = find_input(prompt, seed_input, SEED_INPUTS)
    for place, kind, words in ((label_image, str, "the name of a file"), (seed, int, "a seed")):
        value = value_at(prompt, place)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise PriorError(f"input {str(place)!r} holds {value!r}; expected {words}")
    made: dict[str, Any] = {}
    for text in settings:
        place, new = split_setting(prompt, text)
        if place in (label_image, seed):
            raise PriorError(f"--set {text!r}: the run itself sets {str(place)!r}")
        if str(place) in made:
            raise PriorError(f"--set gives {str(place)!r} twice")
        declared = declared_type(object_info, prompt[place.node_id]["class_type"], place.name)
        try:
            value = typed_value(new, value_at(prompt, place), declared)
        except PriorError as error:
            raise PriorError(f"--set {text!r}: {error}") from error
        put(prompt, place, value)
        made[str(place)] = value
    output = find_output(prompt, output_node)
    warned = warning_nodes(prompt, label_image.node_id)
    return PreparedWorkflow(prompt, label_image, seed, output, made, warned)
