"""Pages: links lead somewhere, commands parse, code runs, messages are those of the code."""

import argparse
import ast
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev.dataset_trees import write_cityscapes
from prior_tools import PALETTES
from prior_tools.cli import COMMANDS, _parser

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "web" / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *HELP.rglob("*.md")])
SCRIPTS = [ROOT / "docs" / "full_chain.sh", ROOT / "docs" / "cluster" / "generate.sbatch"]
NAMES = "|".join(COMMANDS)
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def text_of(path):
    return path.read_text(encoding="utf-8")


def prose(path):
    return FENCED.sub("", text_of(path))


def anchors(path):
    """Those that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_file_and_to_a_heading_in_it(page):
    # The frontend takes a help page's addresses from the folder of all of them.
    folder = HELP if HELP in page.parents else page.parent
    for link in re.findall(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"', prose(page)):
        address = "".join(link)
        if re.match(r"https?:", address):
            continue
        place, _, anchor = address.partition("#")
        target = (folder / place).resolve() if place else page
        assert target.is_file() and ROOT in target.parents, address
        assert not anchor or anchor in anchors(target), address


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=name_of)
def test_what_pip_installs_is_quoted_as_every_shell_reads_it(page):
    """That of Windows takes single quotes for a part of the name."""
    assert "'.[" not in text_of(page)


def test_the_readme_leads_to_every_page():
    places = set(re.findall(r"\]\(([^)\s#]+)", prose(ROOT / "README.md")))
    pages = {name_of(page) for page in PAGES if HELP not in page.parents}
    assert pages - {"README.md"} <= places


def test_the_readme_has_less_than_900_words():
    words = [word for word in prose(ROOT / "README.md").split() if re.search(r"\w", word)]
    assert len(words) < 900


def commands_of(page):
    """Of each command line in a page's code what follows `prior_tools`."""
    code = "\n".join(FENCED.findall(text_of(page))) if page.suffix == ".md" else text_of(page)
    lines = code.replace("\\\n", " ")
    return re.findall(rf"(?:-m prior_tools|\$scp) ((?:{NAMES})\b.+)", lines)


def subparsers(parser):
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


def parse(line):
    """As the command line does, but that `...` stands for all that a line leaves out."""
    parser, words = _parser(), shlex.split(line)
    if "..." in words or "$@" in words:
        command = subparsers(parser)[words[0]]
        for asked in (*command._actions, *command._mutually_exclusive_groups):
            asked.required = False
        words = [word for word in words if word not in ("...", "$@")]
    parser.parse_args(words)


CODE = [(page, line) for page in [*PAGES, *SCRIPTS] for line in commands_of(page)]


@pytest.mark.parametrize("line", [line for _, line in CODE], ids=[name_of(p) for p, _ in CODE])
def test_each_command_is_one_that_the_command_line_takes(line):
    parse(line.replace("--vae ...", "..."))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_an_option_beside_a_command_is_one_of_that_command(page):
    commands = subparsers(_parser())
    for name, rest in re.findall(rf"`(?:python -m prior_tools )?({NAMES}) ([^`]+)`", prose(page)):
        known = {o for action in commands[name]._actions for o in action.option_strings}
        assert set(re.findall(r"--[\w-]+", rest)) <= known, f"{name} {rest}"


def run_python_of(page, own, data, names, folder):
    """What names stand for after a page's Python, with `data` where it names a folder of `own`."""
    code = "".join(re.findall(r"^```python\n(.*?)^```$", text_of(ROOT / page), re.M | re.S))
    assert own in code
    script = folder / "script.py"
    script.write_text(code.replace(own, data.as_posix()), encoding="utf-8")
    return runpy.run_path(str(script), names)


def encode(images):
    """A stand-in for a VAE of four channels: means of 8x8 pixels, the first one twice."""
    return torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)[:, [0, 0, 1, 2]]


def test_the_readmes_python_builds_a_prior_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    painted = PALETTES["cityscapes"].paint(torch.arange(19).expand(512, 19)).numpy()
    label_map = Image.fromarray(painted).resize((1024, 512), Image.Resampling.NEAREST)
    given = {"encode": encode, "label_images": np.array(label_map)[None]}
    data = write_cityscapes(tmp_path / "data")
    names = run_python_of("README.md", "/data/cityscapes", data, given, tmp_path)
    assert names["latents"].shape == (1, 4, 64, 128)
    assert set(names["labels"].unique().tolist()) == set(range(19))
    assert (tmp_path / "cityscapes.safetensors").is_file()


def test_the_python_of_looks_builds_a_prior_of_images_alone(tmp_path):
    Image.new("RGB", (90, 60), (200, 90, 40)).save(tmp_path / "dusk.png")
    names = run_python_of("docs/looks.md", "/data/dusk", tmp_path, {"encode": encode}, tmp_path)
    assert names["prior"].grid == (64, 96) and not names["prior"].labelled


def said_in_code():
    """All texts in the code, joined where it writes them in parts; a value in one is a NUL."""
    files = [path for folder in ("nodes", "prior_tools") for path in (ROOT / folder).rglob("*.py")]
    for node in (node for path in files for node in ast.walk(ast.parse(text_of(path)))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = node.values
            yield "".join(x.value if isinstance(x, ast.Constant) else "\0" for x in parts)


MESSAGES = [
    message
    for row in re.findall(r"^\| (.+?) \| ", text_of(ROOT / "docs/troubleshooting.md"), re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", row)
]


def test_messages_that_are_explained_are_those_of_the_code():
    texts = "\n".join(said_in_code())
    assert len(MESSAGES) > 20
    for message in MESSAGES:
        for part in message.split("..."):
            assert part.strip("' %") in texts, message
