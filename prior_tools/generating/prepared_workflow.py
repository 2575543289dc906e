"""The workflow of a run: what is set for all of its prompts, and what for each."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PriorError
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


@dataclass(frozen=True)
class PreparedWorkflow:
    """The workflow of a run, and where a job's values go in it.

    Attributes:
        prompt: with all settings.
        label_image, seed: what is set for each job.
        output: id of the node whose images are wanted.
        settings: that were made, by "title.input".
    """

    prompt: Prompt
    label_image: TitledInput
    seed: TitledInput
    output: str
    settings: Mapping[str, Any]

    def filled(self, label_image: str, seed: int) -> Prompt:
        """The prompt of a job: `label_image` is the file's name on the server."""
        return self._with(label_image, seed)

    def blank(self) -> Prompt:
        """The prompt without what differs between jobs: what the workflow file happened to hold."""
        return self._with(None, None)

    def names(self) -> dict[str, str]:
        """What is set and read, by title."""
        return {
            "label input": str(self.label_image),
            "seed input": str(self.seed),
            "output node": title_of(self.prompt[self.output]),
        }

    def _with(self, label_image: str | None, seed: int | None) -> Prompt:
        prompt = copy.deepcopy(self.prompt)
        put(prompt, self.label_image, label_image)
        put(prompt, self.seed, seed)
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
    return PreparedWorkflow(prompt, label_image, seed, output, made)
