"""Laws of the command line: one clear line for wrong input, exit codes, and what is printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev.commands import fails, make
from prior_tools import cli
from prior_tools.cli import main
from prior_tools.cli.output import named, shared_path

ROOT = Path(__file__).parents[2]


def test_a_report_for_others_holds_no_folder_of_its_writers(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    for given, told in {
        tmp_path / "labels" / "val": "val",
        Path("labels/val"): "labels/val",
        Path("../labels/val"): "val",
        Path(): "data",
        Path("city.json"): "city.json",
    }.items():
        assert shared_path(given) == Path(told)


def test_listed_ids_are_short():
    assert named([0, 1, 2, 5, 7, 8], {}) == "0-2, 5, 7-8"
    assert named([0, 1, 2, 3], {1: "sea", 3: ""}).replace("\xa0", " ") == "0, 1 sea, 2, 3"


@pytest.mark.parametrize(
    "argv",
    [
        ["merge", "{a}", "{missing}", "--out", "{out}"],
        ["inspect", "{missing}"],
        ["import", "{missing}", "--out", "{out}"],
    ],
)
def test_a_missing_file_is_named(tmp_path, capsys, argv):
    places = {"a": make(tmp_path / "a"), "missing": tmp_path / "gone", "out": tmp_path / "out"}
    text = fails(capsys, *(part.format(**places) for part in argv))
    # Then come the system's own words.
    assert f"{argv[0]}: error: {tmp_path / 'gone'}: " in text
    assert not (tmp_path / "out").exists()


def test_a_folder_or_text_in_a_priors_place_is_wrong_input(tmp_path, capsys):
    # The system's own words, "Is a directory" on most.
    assert f"inspect: error: {tmp_path}: " in fails(capsys, "inspect", tmp_path)
    (tmp_path / "t.txt").write_text("hello " * 100)
    assert "t.txt is not a complete safetensors file" in fails(
        capsys, "inspect", tmp_path / "t.txt"
    )


@pytest.mark.parametrize("argv", [[], ["paint"], ["merge", "a"], ["inspect"]])
def test_wrong_arguments_show_the_usage(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2 and "usage: " in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(tmp_path, monkeypatch, capsys):
    def interrupted(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.inspect, "run", interrupted)
    assert main(["inspect", "x"]) == 130
    assert capsys.readouterr().err == "inspect: interrupted\n"


def test_a_file_saved_meanwhile_stays(tmp_path, monkeypatch, capsys):
    files, out = [make(tmp_path / "a"), make(tmp_path / "b", 1)], tmp_path / "out"
    monkeypatch.setattr(cli.merge, "check_output", lambda _args: out.write_text("mine"))
    text = fails(capsys, "merge", *files, "--out", out)
    # In between the system says in its own words that the file is there.
    assert f"{out}: " in text and "exist" in text and "; --overwrite replaces it" in text
    assert out.read_text() == "mine"


def program(*argv, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "prior_tools", *map(str, argv)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_help_lists_the_commands():
    out, err = program("--help").communicate(timeout=120)
    assert err == "" and out.startswith("usage: python -m prior_tools")
    assert all(command in out for command in cli.COMMANDS)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell a closed pipe from other errors")
def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    path = make(tmp_path / "p.safetensors")
    process = program("inspect", path, "--png", tmp_path / "p.png")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=120) == 141 and err == ""
    assert (tmp_path / "p.png").exists()


def test_names_print_in_any_encoding(tmp_path):
    path = make(tmp_path / "p.safetensors", class_names={0: "Straße 道路"})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out, err = program("inspect", path, env=environment).communicate(timeout=120)
    assert err == "" and "Stra\\xdfe \\u9053\\u8def" in out
