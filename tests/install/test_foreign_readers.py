"""What `export` writes, read by others' programs, in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prior_tools import PALETTES
from prior_tools.cli import main
from prior_tools.datasets.label_files import read_label_file
from prior_tools.labels.geometry import fit_labels
from prior_tools.labels.reading import LabelRules

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".cache" / "foreign_readers"
PACKAGES = ("datumaro==1.13.12", "cityscapesscripts==2.3.0", "webdataset==1.0.2")
IMAGE_SIZE = (40, 24)
# Form -> palette of the label maps.
PALETTE_OF = {
    "cityscapes": "cityscapes",
    "voc": "pascal_voc",
    "coco-panoptic": "coco_stuff",
    "webdataset": "cityscapes",
}


@pytest.fixture(scope="module")
def python() -> Path:
    """Of the environment with the readers; made once, skipped where that cannot be."""
    found = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = ENVIRONMENT / "installed.txt"
    if not done.is_file() or done.read_text().split() != [*PACKAGES]:
        command = [str(found), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        try:
            venv.create(ENVIRONMENT, with_pip=True, clear=True)
            subprocess.run([*command, *PACKAGES], check=True, capture_output=True, timeout=1800)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            message = f"{', '.join(PACKAGES)} cannot be installed: {(error.stderr or b'')[-300:]}"
            if os.environ.get("SCP_REQUIRE_ALL") == "1":
                pytest.fail(message)
            pytest.skip(message)
        done.write_text("\n".join(PACKAGES))
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(form)`: folder of the dataset; and what its label files are to hold, by image."""

    def of(form: str) -> tuple[Path, dict[str, np.ndarray]]:
        root, name = tmp_path_factory.mktemp(form), PALETTE_OF[form]
        palette = PALETTES[name]
        rules = LabelRules(palette, palette.ignore_ids)
        rng = np.random.default_rng(0)
        classes = [i for i in palette.colors if i not in palette.ignore_ids]
        wanted = {}
        for folder in ("labels", "images"):
            (root / folder).mkdir()
        for number in range(12):
            ids = rng.choice([*rng.permutation(classes)[:8], 255], (12, 16))
            path = root / f"labels/m{number}.png"
            Image.fromarray(np.kron(ids, np.ones((4, 4), int)).astype(np.uint8)).save(path)
            levels = rng.integers(0, 256, (*IMAGE_SIZE[::-1], 3), np.uint8)
            Image.fromarray(levels).save(root / f"images/m{number}_00.png")
            ids = fit_labels(read_label_file(path, rules).ids, IMAGE_SIZE)
            wanted[f"m{number}_00.png"] = torch.where(ids == 255, -1, ids).numpy()
        paths = ["--generated", f"{root}/images", "--labels", f"{root}/labels"]
        more = ["--palette", name, "--format", form, "--val", "0.3", "--out", f"{root}/out"]
        assert main(["export", *paths, *more]) == 0
        return root / "out", wanted

    return of


def read(python: Path, program: str, *arguments: str) -> dict[str, np.ndarray]:
    """What a program printed as JSON: name -> class ids."""
    command = [str(python), "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return {n: np.array(ids) for n, ids in json.loads(ended.stdout.splitlines()[-1]).items()}


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


# Class names are told, so that a reader's own numbers are of no matter.
DATUMARO = """
import json, sys
import numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
dataset = Dataset.import_from(sys.argv[1], sys.argv[2])
names = [label.name for label in dataset.categories()[AnnotationType.label].items]
found = {}
for item in dataset:
    height, width = item.media.data.shape[:2]
    seen = [["" for _ in range(width)] for _ in range(height)]
    for annotation in item.annotations:
        if annotation.type == AnnotationType.mask:
            assert annotation.image.shape == (height, width)
            for y, x in zip(*np.nonzero(annotation.image)):
                assert not seen[y][x]
                seen[y][x] = names[annotation.label]
    found[item.subset + "/" + item.id] = seen
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("form", "reader", "root"),
    [
        ("voc", "voc_segmentation", "VOCdevkit/VOC2012"),
        ("cityscapes", "cityscapes", ""),
        ("coco-panoptic", "coco_panoptic", ""),
    ],
)
def test_datumaro_reads_each_pixel_as_the_label_map_has_it(python, exported, form, reader, root):
    out, wanted = exported(form)
    # Of Cityscapes' names it writes some without their space.
    names = {i: n.replace(" ", "") for i, n in PALETTES[PALETTE_OF[form]].names.items()}
    found = read(python, DATUMARO, str(out / root), reader)
    # VOC's list of both splits is a third one.
    found = {name: seen for name, seen in found.items() if not name.startswith("trainval/")}
    lines = manifest(out)
    assert len(found) == len(lines) == len(wanted)
    for line in lines:
        stem = Path(line["files"][0]).stem.removesuffix("_leftImg8bit")
        (seen,) = [
            seen
            for name, seen in found.items()
            if name.startswith(line["split"]) and name.rpartition("/")[2] == stem
        ]
        want = wanted[line["image"]]
        for class_id in np.unique(want):
            there = {name.replace(" ", "") for name in seen[want == class_id].tolist()}
            if form == "cityscapes" and class_id == 0:
                # Of each dataset of this kind it takes the class of number 0 for background.
                assert there == {""}
            elif class_id >= 0:
                assert there == {names[class_id]}
            else:
                assert there <= {"", "ignored"}


CITYSCAPES = """
import json, sys
import numpy as np
from PIL import Image
from cityscapesscripts.helpers.csHelpers import getCsFileInfo
from cityscapesscripts.helpers.labels import id2label
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation
import glob, os, re
found = {}
args = evaluation.args
args.quiet, args.JSONOutput, args.evalInstLevelScore = True, False, False
truth = sorted(glob.glob(sys.argv[1] + "/gtFine/*/*/*_gtFine_labelIds.png"))
for path in truth:
    info = getCsFileInfo(path)
    assert (info.type, info.type2) == ("gtFine", "labelIds")
    assert re.fullmatch("[0-9]{6}", info.sequenceNb) and re.fullmatch("[0-9]{6}", info.frameNb)
    assert os.path.basename(os.path.dirname(path)) == info.city
    ids = np.array(Image.open(path))
    color = np.array(Image.open(path.replace("labelIds", "color")))
    train = np.array(Image.open(path.replace("labelIds", "labelTrainIds")))
    for i in np.unique(ids):
        label = id2label[int(i)]
        assert (color[ids == i][:, :3] == label.color).all()
        assert (train[ids == i] == (label.trainId if label.trainId >= 0 else 255)).all()
    evaluated = np.vectorize(lambda i: -1 if id2label[i].ignoreInEval else id2label[i].trainId)
    found[os.path.basename(path).replace("_gtFine_labelIds.png", "")] = evaluated(ids).tolist()
matrix = evaluation.generateMatrix(args)
stats = evaluation.generateInstanceStats(args)
result = evaluation.evaluateImgLists(truth, truth, args)
assert result["averageScoreClasses"] == 1, result
print(json.dumps(found))
"""


def test_cityscapesscripts_evaluate_the_tree_against_itself(python, exported):
    out, wanted = exported("cityscapes")
    found = read(python, CITYSCAPES, str(out))
    lines = manifest(out)
    assert len(found) == len(lines)
    for line in lines:
        stem = Path(line["files"][0]).name.removesuffix("_leftImg8bit.png")
        assert np.array_equal(found[stem], wanted[line["image"]])


WEBDATASET = """
import io, json, sys, glob
import numpy as np
from PIL import Image
import webdataset
found = {}
shards = sorted(glob.glob(sys.argv[1] + "/*.tar"))
for sample in webdataset.WebDataset(shards, shardshuffle=False):
    told = json.loads(sample["json"])
    image = Image.open(io.BytesIO(sample["png"]))
    label = Image.open(io.BytesIO(sample["seg.png"]))
    assert image.size == label.size
    found[told["image"]] = np.array(label).tolist()
print(json.dumps(found))
"""


def test_webdataset_reads_image_and_label_as_one_sample(python, exported):
    out, wanted = exported("webdataset")
    found = read(python, WEBDATASET, str(out))
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        assert np.array_equal(np.where(found[name] == 255, -1, found[name]), want)
