"""The examples in docstrings: all that is public has one, and all of them run."""

import ast
import doctest
import functools
import importlib
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import prior_tools

PACKAGE = Path(prior_tools.__file__).parent
SKY, ROAD, CAR = 0, 3, 8


def modules_with_examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield importlib.import_module(".".join(parts).removesuffix(".__init__"))


FINDER = doctest.DocTestFinder(exclude_empty=True)
EXAMPLES = {
    test.name: test
    for module in modules_with_examples()
    for test in FINDER.find(module, globs={})
    if test.examples
}
# It says of itself that it is of another module, and so is not found in its own.
EXAMPLES |= {
    test.name: test
    for test in FINDER.find(prior_tools.PriorError, "builtins.PriorError", module=False, globs={})
}
SCRIPT = EXAMPLES.pop("prior_tools")
CALLABLES = [name for name in prior_tools.__all__ if callable(getattr(prior_tools, name))]


@pytest.fixture
def folder(tmp_path):
    """What the package's docstring says of `folder`."""
    for side in ("images", "labels"):
        (tmp_path / side).mkdir()
    for name, levels in (("a", {SKY: 204, ROAD: 51}), ("b", {SKY: 153, ROAD: 102, CAR: 255})):
        ids = torch.tensor([[SKY] * 4, [CAR if CAR in levels else ROAD, ROAD, ROAD, ROAD]])
        ids = ids.repeat_interleave(8, 0).repeat_interleave(8, 1)
        image = np.vectorize(levels.get)(ids.numpy()).astype(np.uint8)
        Image.fromarray(image).convert("RGB").save(tmp_path / "images" / f"{name}.png")
        label = prior_tools.PALETTES["camvid"].paint(ids).numpy()
        Image.fromarray(label).save(tmp_path / "labels" / f"{name}.png")
    return tmp_path


def run(test: doctest.DocTest, names: dict) -> dict:
    """What the names stand for after the example, which must give what it says."""
    test.globs = dict(names)
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)
    return test.globs


def test_a_whole_script_needs_nothing_but_the_package_and_a_folder(folder):
    run(SCRIPT, {"folder": folder})
    tree = ast.parse("".join(example.source for example in SCRIPT.examples))
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"prior_tools", "torch", "numpy", "PIL"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_gives_what_it_says(name, folder):
    """With the names of the package, and those that its whole script has made."""
    public = {name: getattr(prior_tools, name) for name in prior_tools.__all__}
    run(EXAMPLES[name], {**run(SCRIPT, {"folder": folder}), **public})


def own_members(cls: type) -> list[str]:
    """Public methods and properties that a class itself defines."""
    kinds = (types.FunctionType, classmethod, staticmethod, property, functools.cached_property)
    return [name for name, m in vars(cls).items() if name[0] != "_" and isinstance(m, kinds)]


def documented() -> list[str]:
    """Public functions and classes, and the members of these."""
    found = []
    for name in CALLABLES:
        thing = getattr(prior_tools, name)
        found.append(f"{thing.__module__}.{thing.__qualname__}")
        # What a protocol asks for is shown by the one example of a class that has it.
        if isinstance(thing, type) and not getattr(thing, "_is_protocol", False):
            found += [f"{found[-1]}.{member}" for member in own_members(thing)]
    return found


@pytest.mark.parametrize("name", documented())
def test_all_that_is_public_has_an_example(name):
    assert name in EXAMPLES
