"""Laws of the layout: imports go downwards, without a circle, and never to ComfyUI."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "prior_tools"

# From the lowest to the highest; a room may import from itself and from those below it. The method
# at the root stands on label maps (a prior knows its palette) and below all that uses it.
FLOORS = (
    {
        "errors",
        "memory",
        "atomic",
        "json_values",
        "json_stream",
        "name_lengths",
        "tensor_file",
        "text_file",
        "moments",
        "vae_fingerprint",
        "schedule",
        "latent_formats",
        "vae_pictures",
        "whole_numbers",
        "helper_threads",
        "held_out",
    },
    {"labels"},
    {"prior", "accumulator", "grain", "grain_estimate", "merge", "prior_file", "draw", "picture"}
    | {"pooled", "region_estimate"},
    {"datasets", "published"},
    {"evaluation"},
    {"building"},
    {"generating"},
    {"cluster"},
    {"comparing", "exporting", "utility"},
    {"cli"},
)
# What is only assembled from all others.
ABOVE_ALL = {"__init__", "__main__"}


def modules() -> dict[str, Path]:
    """Dotted name inside the package -> file."""
    found = {}
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")):
        parts = path.relative_to(REPOSITORY / PACKAGE).with_suffix("").parts
        found[".".join(parts)] = path
    return found


def imports(name: str, path: Path) -> Iterator[tuple[str, bool]]:
    """(absolute module or name, whether it is of this package) of each import, lazy ones too."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module), False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield ".".join([*module, alias.name]), True


def own(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a module imports."""
    found = set()
    for target, inside in imports(name, path):
        if not inside:
            continue
        module, _, _ = target.rpartition(".")
        for candidate in (target, f"{target}.__init__", module, f"{module}.__init__"):
            if candidate in known:
                found.add(candidate)
                break
        else:
            raise AssertionError(f"{name} imports {target}, which is not there")
    return found - {name}


KNOWN = modules()
ARROWS = {name: own(name, path, KNOWN) for name, path in KNOWN.items()}


def floor(name: str) -> int:
    """Number of the floor that a module lies on."""
    room = name.partition(".")[0]
    if room in ABOVE_ALL:
        return len(FLOORS)
    (number,) = [i for i, rooms in enumerate(FLOORS) if room in rooms]
    return number


def test_no_module_imports_itself_in_the_end():
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for target in ARROWS[name]:
                walk(target, (*above, name))
            done.add(name)

    for name in ARROWS:
        walk(name, ())


@pytest.mark.parametrize("name", sorted(ARROWS))
def test_imports_go_downwards(name):
    upwards = {target for target in ARROWS[name] if floor(target) > floor(name)}
    assert not upwards


@pytest.mark.parametrize("name", sorted(ARROWS))
def test_rooms_of_one_floor_do_not_know_each_other(name):
    """But for the method's own modules at the root."""
    room = name.partition(".")[0]
    beside = {
        target.partition(".")[0]
        for target in ARROWS[name]
        if floor(target) == floor(name) and "." in target
    }
    assert beside <= {room}


@pytest.mark.parametrize("name", sorted(ARROWS))
def test_only_the_adapter_of_the_command_line_imports_comfyui(name):
    hosts = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution"}
    hosts |= {"folder_paths", "latent_preview", "nodes", "server"}
    found = {
        target.partition(".")[0] for target, inside in imports(name, KNOWN[name]) if not inside
    }
    assert name == "cli.comfy_vae" or not found & hosts


@pytest.mark.parametrize("name", sorted(ARROWS))
def test_the_package_knows_itself_by_relative_names(name):
    """In a node pack it lies under another name; and absolute ones would escape the laws here."""
    found = {
        target.partition(".")[0] for target, inside in imports(name, KNOWN[name]) if not inside
    }
    assert PACKAGE not in found


def test_nodes_and_method_meet_in_one_direction():
    for path in (REPOSITORY / PACKAGE).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from ..nodes" not in text and "from ...nodes" not in text
