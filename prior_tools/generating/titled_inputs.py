"""Inputs of a prompt's nodes, found by the title of the node."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PriorError, listing
from ..json_values import parsed
from .workflow_file import Prompt, title_of

# Which input of the node is meant where only the node is named: the first that it has.
LABEL_INPUTS = ("image",)
SEED_INPUTS = ("seed", "noise_seed", "value")

OUTPUT_CLASSES = ("SaveImage", "PreviewImage")
_MANY = 40
_GREATEST = sys.float_info.max


@dataclass(frozen=True)
class TitledInput:
    """An input of a node that holds a value, not a link."""

    node_id: str
    title: str
    name: str

    def __str__(self) -> str:
        return f"{self.title}.{self.name}"


def find_node(prompt: Prompt, title: str) -> str:
    """The id of the node of this title. Raises PriorError if there is none or more than one."""
    ids = [node_id for node_id, node in prompt.items() if title_of(node) == title]
    if not ids:
        raise PriorError(f"no node is titled {title!r}; there are {_titles(prompt)}")
    if len(ids) > 1:
        raise PriorError(
            f"{len(ids)} nodes are titled {title!r} (ids {', '.join(ids)}); give them different "
            "titles in the workflow"
        )
    return ids[0]


def find_input(prompt: Prompt, text: str, defaults: Sequence[str] = ()) -> TitledInput:
    """The input that "title.input" names, or where there are defaults also the title alone.

    Titles and names of inputs may hold dots. Raises PriorError, saying which there are.
    """
    titles = {title_of(node) for node in prompt.values()}
    if defaults and text in titles:
        return _default_input(prompt, text, defaults)
    parts = text.split(".")
    candidates = [(".".join(parts[:i]), ".".join(parts[i:])) for i in range(1, len(parts))]
    known = [(title, name) for title, name in candidates if title in titles]
    if not known:
        if not candidates and not defaults:
            raise PriorError(f"{text!r} names no input; expected 'node title.input'")
        title = max(candidates, default=(text, ""), key=lambda pair: len(pair[0]))[0]
        find_node(prompt, title)
    for title, name in known:
        node_id = find_node(prompt, title)
        if name in prompt[node_id]["inputs"]:
            return _value_input(prompt, TitledInput(node_id, title, name))
    title, name = known[-1]
    node = prompt[find_node(prompt, title)]
    raise PriorError(f"node {title!r} has no input {name!r}; it has {_inputs(node)}")


def split_setting(prompt: Prompt, text: str) -> tuple[TitledInput, str]:
    """The input and the text of the value of "title.input=value"; both sides may hold "=".

    Raises PriorError, saying which titles or inputs there are.
    """
    parts = text.split("=")
    if len(parts) < 2:
        raise PriorError(f"--set {text!r} is no setting; expected 'node title.input=value'")
    first: PriorError | None = None
    for i in range(1, len(parts)):
        try:
            return find_input(prompt, "=".join(parts[:i]).strip()), "=".join(parts[i:])
        except PriorError as error:
            first = first or error
    raise PriorError(f"--set {text!r}: {first}") from first


def typed_value(text: str, existing: Any, declared: str | None = None) -> Any:
    """A value out of a command line, of the type of the value that it replaces.

    Args:
        text: JSON, or else plain text.
        existing: the value in the workflow.
        declared: "INT" or "FLOAT" where the server says so. A FLOAT of 8.0 is written as 8 by
            browsers, so the value alone does not tell.

    Raises PriorError if the text is of another type.
    """
    try:
        value = parsed(text)
    except ValueError:
        value = text
    if isinstance(existing, str):
        # A prompt may be "42", or look like a list.
        return value if isinstance(value, str) else text
    if isinstance(existing, bool):
        return _of_type(value, bool, "true or false")
    if isinstance(existing, (int, float)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Nor do larger ones fit into a float.
        if not number or not -_GREATEST <= value <= _GREATEST:
            raise PriorError(f"{text!r} is no number")
        if declared == "FLOAT" or (isinstance(existing, float) and declared != "INT"):
            return float(value)
        if value != int(value):
            raise PriorError(f"{text!r} is no whole number")
        return int(value)
    return value if existing is None else _of_type(value, type(existing), type(existing).__name__)


def find_output(prompt: Prompt, title: str | None) -> str:
    """The id of the node whose images are wanted.

    title: of the node; None takes the only node that saves or previews images. Raises PriorError
    if there is none, or more than one.
    """
    if title is not None:
        return find_node(prompt, title)
    ids = [i for i, node in prompt.items() if node["class_type"] in OUTPUT_CLASSES]
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise PriorError("the workflow has no Save Image or Preview Image; name --output-node")
    found = ", ".join(repr(title_of(prompt[i])) for i in ids)
    raise PriorError(f"{len(ids)} nodes save or preview images: {found}; choose by --output-node")


def declared_type(object_info: Mapping[str, Any], class_type: str, name: str) -> str | None:
    """The type of an input by the server's object_info, None where it does not tell."""
    inputs = object_info.get(class_type, {}).get("input", {})
    for group in inputs.values():
        spec = group.get(name) if isinstance(group, dict) else None
        if spec and isinstance(spec[0], str):
            return spec[0]
    return None


def value_at(prompt: Prompt, place: TitledInput) -> Any:
    """The value of an input."""
    return prompt[place.node_id]["inputs"][place.name]


def put(prompt: Prompt, place: TitledInput, value: Any) -> None:
    """Set an input in place."""
    prompt[place.node_id]["inputs"][place.name] = value


def _default_input(prompt: Prompt, title: str, defaults: Sequence[str]) -> TitledInput:
    node_id = find_node(prompt, title)
    for name in defaults:
        if name in prompt[node_id]["inputs"]:
            return _value_input(prompt, TitledInput(node_id, title, name))
    raise PriorError(
        f"node {title!r} has no input {' or '.join(defaults)}; it has {_inputs(prompt[node_id])}. "
        "Name one as 'title.input'"
    )


def _value_input(prompt: Prompt, place: TitledInput) -> TitledInput:
    value = value_at(prompt, place)
    if is_link(value):
        source = title_of(prompt[value[0]]) if value[0] in prompt else value[0]
        raise PriorError(f"input {str(place)!r} comes from node {source!r}; set it there")
    return place


def is_link(value: Any) -> bool:
    """Whether a value is [node id, number of its output]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) is int
    )


def _of_type(value: Any, kind: type, words: str) -> Any:
    if not isinstance(value, kind):
        raise PriorError(f"{value!r} is not {words}")
    return value


def _titles(prompt: Prompt) -> str:
    return listing(sorted({repr(title_of(node)) for node in prompt.values()}), _MANY)


def _inputs(node: Mapping[str, Any]) -> str:
    return listing([name for name, v in node["inputs"].items() if not is_link(v)], _MANY) or "none"
