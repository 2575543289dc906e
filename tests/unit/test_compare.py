"""Laws of `compare` without a server: which label maps, both starts, what the report says."""

import base64
import copy
import html
import io
import itertools
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prior_tools.cli import _parser, compare, main
from prior_tools.cli.evaluate import load_models
from prior_tools.comparing.choice import choose
from prior_tools.comparing.gains import Gain, extremes, gains, shown_maps
from prior_tools.comparing.page import Report, html_page
from prior_tools.comparing.starts import SHOWN, both_starts, named_files, size_follows, with_shown
from prior_tools.comparing.strips import COLUMNS, Strip, contact_sheet, read_strip
from prior_tools.comparing.verdicts import FEWEST_FOR_FID, MEANINGS, reasons, summary, verdicts
from prior_tools.errors import PriorError
from prior_tools.generating.label_maps import find_label_maps
from prior_tools.generating.prepared_workflow import prepare_workflow

# --- which label maps ---

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True)


@given(NAMES, st.integers(1, 30), st.integers(1, 30), st.randoms())
def test_a_smaller_choice_is_part_of_a_larger_one_whatever_the_order(names, a, b, shuffler):
    few, many = sorted((a, b))
    mixed = list(names)
    shuffler.shuffle(mixed)
    small, large = choose(names, few), choose(mixed, many)
    assert set(small) <= set(large) <= set(names)
    assert len(small) == min(few, len(names))
    assert small == sorted(small)


def test_a_choice_is_spread_over_the_folder():
    names = [f"{i:04}" for i in range(1000)]
    thirds = [int(name) // 334 for name in choose(names, 24)]
    assert all(thirds.count(i) >= 4 for i in range(3))


# --- both starts ---


def node(class_type, title, **inputs):
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


OBJECT_INFO = {
    "LoadImage": {"output": ["IMAGE", "MASK"]},
    "CheckpointLoaderSimple": {"output": ["MODEL", "CLIP", "VAE"]},
    "SCP_LoadPrior": {"output": ["SCP_PRIOR"]},
    "SCP_JointPriorNoise": {"output": ["LATENT"]},
    "SCP_PartialDenoiseKSampler": {"output": ["LATENT"]},
    "SCP_PartialDenoiseScheduler": {"output": ["SIGMAS", "LATENT"]},
    "SamplerCustomAdvanced": {"output": ["LATENT", "LATENT"]},
    "KSampler": {"output": ["LATENT"]},
    "VAEDecode": {"output": ["IMAGE"]},
    "ImageScaleBy": {"output": ["IMAGE"]},
    "ImageStitch": {"output": ["IMAGE"]},
    "PrimitiveInt": {"output": ["INT"]},
    "PrimitiveFloat": {"output": ["FLOAT"]},
}
LOADERS = {
    "1": node("LoadImage", "Label map", image="old.png"),
    "2": node("PrimitiveInt", "Seed", value=5),
    "3": node("CheckpointLoaderSimple", "Model", ckpt_name="sd15.safetensors"),
    "4": node("SCP_LoadPrior", "Prior", prior_name="street.safetensors"),
    "5": node(
        "SCP_JointPriorNoise",
        "Draw",
        prior=["4", 0],
        label_image=["1", 0],
        mode="joint",
        deviation=1.0,
        seed=["2", 0],
    ),
}
SAMPLED = {
    **LOADERS,
    "6": node(
        "SCP_PartialDenoiseKSampler",
        "Sample",
        model=["3", 0],
        seed=["2", 0],
        steps=20,
        latent_image=["5", 0],
        mu=0.8,
    ),
    "7": node("VAEDecode", "Decode", samples=["6", 0], vae=["3", 2]),
}
SAVED = {**SAMPLED, "8": node("SaveImage", "Save", images=["7", 0], filename_prefix="x")}
# As the templates that show both starts: the stock one beside it, and all in one picture.
BESIDE = {
    **SAMPLED,
    "10": node("KSampler", "Stock", model=["3", 0], seed=["2", 0]),
    "11": node("VAEDecode", "Stock decode", samples=["10", 0], vae=["3", 2]),
    "12": node("VAEDecode", "Draw decode", samples=["5", 0], vae=["3", 2]),
    "13": node("PreviewImage", "The draw", images=["12", 0]),
    "14": node("ImageStitch", "Stitch", image1=["11", 0], image2=["7", 0]),
    "15": node("SaveImage", "Both", images=["14", 0]),
}
CUSTOM = {
    **LOADERS,
    "6": node(
        "SCP_PartialDenoiseScheduler", "Levels", model=["3", 0], mu=0.7, latent_image=["5", 0]
    ),
    "7": node("SamplerCustomAdvanced", "Custom", sigmas=["6", 0], latent_image=["6", 1]),
    "8": node("VAEDecode", "Decode", samples=["7", 0], vae=["3", 2]),
    "9": node("ImageScaleBy", "Larger", image=["8", 0]),
    "20": node("SaveImage", "Save", images=["9", 0]),
}


def starts_of(prompt, output=None, *settings):
    shown = with_shown(prompt, output, OBJECT_INFO)
    return both_starts(prepare_workflow(shown, "Label map", "Seed", SHOWN, settings, OBJECT_INFO))


@pytest.mark.parametrize(
    ("prompt", "output", "sampler", "image"),
    [
        (SAVED, None, "6", ["7", 0]),
        (SAMPLED, None, "6", ["7", 0]),
        (BESIDE, None, "6", ["7", 0]),
        (BESIDE, "Decode", "6", ["7", 0]),
        (CUSTOM, None, "6", ["9", 0]),
        (CUSTOM, "Decode", "6", ["8", 0]),
    ],
)
def test_the_starts_differ_in_mode_and_mu_alone_and_nothing_else_is_made(
    prompt, output, sampler, image
):
    before = copy.deepcopy(prompt)
    starts = starts_of(prompt, output)
    prior, stock = starts.prior.prompt, starts.stock.prompt
    shown = prior[starts.prior.output]
    assert (shown["class_type"], shown["inputs"]["images"]) == ("PreviewImage", image)
    own = {node_id: n for node_id, n in prior.items() if node_id != starts.prior.output}
    assert own == {node_id: prompt[node_id] for node_id in own}
    classes = [n["class_type"] for n in prior.values()]
    assert "KSampler" not in classes and classes.count("PreviewImage") == 1
    assert "SaveImage" not in classes

    expected = copy.deepcopy(prior)
    expected["5"]["inputs"]["mode"] = "normal"
    expected[sampler]["inputs"]["mu"] = 1.0
    assert stock == expected
    assert starts.values == ("joint", prompt[sampler]["inputs"]["mu"])
    assert starts.stock.settings == {
        "Draw.mode": "normal",
        f"{prompt[sampler]['_meta']['title']}.mu": 1.0,
    }
    assert prompt == before


def test_settings_of_the_command_line_hold_for_both_starts():
    starts = starts_of(SAVED, None, "Sample.steps=4", "Sample.mu=0.6", "Draw.mode=spatial")
    assert [s.prompt["6"]["inputs"]["steps"] for s in (starts.prior, starts.stock)] == [4, 4]
    assert starts.values == ("spatial", 0.6)
    assert starts.stock.prompt["6"]["inputs"]["mu"] == 1.0


def test_the_images_follow_the_label_map_s_size_unless_it_is_changed_on_the_way():
    resized = copy.deepcopy(SAVED)
    resized["30"] = node("ImageScaleBy", "Smaller", image=["1", 0])
    resized["5"]["inputs"]["label_image"] = ["30", 0]
    assert size_follows(starts_of(SAVED).prior, "5")
    assert not size_follows(starts_of(resized).prior, "5")


def test_the_models_that_a_workflow_names_are_listed():
    assert named_files(SAVED) == ["Model: sd15.safetensors", "Prior: street.safetensors"]


def changed(prompt, node_id, **inputs):
    new = copy.deepcopy(prompt)
    new[node_id]["inputs"].update(inputs)
    return new


def without(prompt, *node_ids):
    return {node_id: n for node_id, n in prompt.items() if node_id not in node_ids}


@pytest.mark.parametrize(
    ("prompt", "output", "says"),
    [
        (without(SAVED, "5"), None, "has no Joint Prior Noise"),
        (
            {**SAVED, "9": SAVED["5"]},
            None,
            r"the workflow has 2 Joint Prior Noise: 'Draw' \(id 5\), 'Draw' \(id 9\)",
        ),
        (BESIDE, "Stock decode", "has no Joint Prior Noise on the way to its images"),
        (BESIDE, "The draw", "no Partial Denoise KSampler or Partial Denoise Scheduler is on the"),
        (without(SAVED, "7", "8"), None, "no picture in the workflow is made from Joint Prior"),
        (SAVED, "Model", "'Model' is a CheckpointLoaderSimple, which gives no picture first"),
        (SAVED, "Nowhere", "no node is titled 'Nowhere'"),
        (
            {**SAVED, "9": node("PreviewImage", "Look", images=["7", 0])},
            None,
            "2 nodes give pictures of the prior's start: 'Save', 'Look'; choose by --output-node",
        ),
        (
            {
                **SAVED,
                "9": node("SCP_PartialDenoiseKSampler", "Again", mu=0.2, latent_image=["6", 0]),
                "7": node("VAEDecode", "Decode", samples=["9", 0]),
            },
            None,
            r"2 nodes that say where sampling starts: .*'Again' \(id 9\)",
        ),
        (
            {**changed(SAVED, "6", mu=["9", 0]), "9": node("PrimitiveFloat", "Mu", value=0.8)},
            None,
            "input 'mu' of node 'Sample' comes from node 'Mu'; compare sets it to 1 for the",
        ),
        (
            {**changed(SAVED, "5", mode=["9", 0]), "9": node("PrimitiveFloat", "Mode", value=0)},
            None,
            "input 'mode' of node 'Draw' comes from node 'Mode'; compare sets it to normal",
        ),
        (changed(SAVED, "5", mode="normal"), None, "'Draw' has mode 'normal' as it is"),
        (
            changed(changed(SAVED, "5", seed=1), "6", seed=1),
            None,
            "do not depend on node 'Seed', which the seed goes into",
        ),
    ],
)
def test_a_workflow_without_one_start_to_compare_is_refused(prompt, output, says):
    with pytest.raises(PriorError, match=says):
        starts_of(prompt, output)


def test_of_several_starts_one_may_be_named():
    second = {
        "25": {**SAVED["5"], "_meta": {"title": "Other draw"}},
        "26": node("SCP_PartialDenoiseKSampler", "Other", latent_image=["25", 0], mu=0.5),
        "27": node("VAEDecode", "Other decode", samples=["26", 0]),
    }
    starts = starts_of({**SAVED, **second}, "Save")
    assert starts.mode.node_id == "5" and "25" not in starts.prior.prompt


# --- label maps, real images and models, before anything is sampled ---


def fails(capsys, folder: Path, *more: str) -> str:
    (folder / "w.json").write_text('{"1": {"class_type": "X", "inputs": {}}}')
    argv = ["compare", "--workflow", folder / "w.json", "--labels", folder / "labels"]
    argv += ["--real", folder / "real", "--out", folder / "out", "--server", "127.0.0.1:1", *more]
    assert main([str(arg) for arg in argv]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("compare: error: ")
    return printed.out + printed.err


@pytest.fixture
def folders(tmp_path) -> Path:
    """Label maps a and b and their real images."""
    for name in ("labels", "real"):
        (tmp_path / name).mkdir()
        for stem in "ab":
            Image.new("L", (16, 8), 7).save(tmp_path / name / f"{stem}.png")
    return tmp_path


class Scores(torch.nn.Module):
    """Of four classes."""

    def forward(self, x):
        return x.mean(1, keepdim=True).repeat(1, 4, 1, 1)


class Features(torch.nn.Module):
    """2048 of each image."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None].repeat(1, 2048)


@pytest.fixture
def model(folders):
    """`model(module)`: the options that name it as TorchScript."""

    def options(module) -> list[str]:
        torch.jit.script(module).save(str(folders / "model.pt"))
        what = "--segmenter" if isinstance(module, Scores) else "--inception"
        return [what, str(folders / "model.pt"), "--trust-torchscript"]

    return options


def test_without_any_model_there_is_nothing_to_measure(capsys, folders):
    assert "there is no model to measure with" in fails(capsys, folders)


def test_label_maps_without_any_real_image_are_refused(capsys, folders, model):
    for stem in "ab":
        (folders / "real" / f"{stem}.png").rename(folders / "real" / f"{stem}_photo.png")
    said = fails(capsys, folders, *model(Features()))
    assert "there are a, b, and a_photo, b_photo. Expected names that are equal but" in said


def test_turned_real_images_and_classes_without_a_score_are_found_first(capsys, folders, model):
    given = [*model(Scores()), "--palette", "grey_ids"]
    said = fails(capsys, folders, *given)
    assert "the label maps hold class ids 7, but model.pt scores 0 to 3" in said
    Image.new("RGB", (8, 16)).save(folders / "real" / "b.png")
    assert "turned by 90 degrees" in fails(capsys, folders, *given)


def test_what_will_be_missing_is_said_in_the_first_line(capsys, folders, model):
    said = fails(capsys, folders, *model(Features())).splitlines()
    assert said[0].startswith("left out: mIoU, pixel accuracy: needs a segmentation model")
    assert said[1].startswith(f"left out: FID, KID: of fewer than {FEWEST_FOR_FID} label maps")
    # Only the server is missing.
    assert "no server answers" in said[-1]


def test_images_may_not_lie_among_the_label_maps(capsys, folders, model):
    said = fails(capsys, folders, *model(Features()), "--out", folders / "real" / "out")
    assert "--out lies in --real" in said


def test_what_is_written_for_others_names_no_folder_above(folders, model):
    for side, stem in itertools.product(("stock", "prior"), "ab"):
        path = folders / "out" / side / f"{stem}_00.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 8), (50, 90, 10)).save(path)
    (folders / "w.json").write_text(json.dumps(SAVED))
    argv = ["compare", "--workflow", folders / "w.json", "--labels", folders / "labels", "--real"]
    argv += [folders / "real", "--out", folders / "out", "--per-map", 1, *model(Features())]
    args = _parser().parse_args([*map(str, argv), "--server", "127.0.0.1:1"])
    inputs = compare._inputs(args)
    assert compare._judge(args, inputs, starts_of(SAVED), load_models(args), {}) == 0
    report = (folders / "out" / "report.html").read_text(encoding="utf-8")
    figures = (folders / "out" / "figures.json").read_text(encoding="utf-8")
    assert str(folders) not in report and str(folders) not in figures
    assert "2 of 2 of labels" in report and "2 of real" in report
    data = json.loads(figures)
    assert (data["generated"], data["baseline"]["folder"]) == ("prior", "stock")


# --- figures in words ---

ROW = ["", "0.1 ± 0.2", "0.3 ± 0.4", "+0.2 ± 0.1", "", "24"]


def row(name, word):
    return [name, *ROW[1:4], word, "24"]


def test_every_figure_is_told_once_with_its_numbers():
    rows = [row(f"figure {word}", word) for word in ("better", "worse", "more", "less", "equal")]
    rows += [row("figure not clear", "not clear"), row("figure few", "-")]
    found = verdicts(rows)
    assert [s.partition(":")[0].split(" is ")[0] for s in found.clear] == [r[0] for r in rows[:5]]
    assert [s.partition(":")[0] for s in found.unclear] == [r[0] for r in rows[5:]]
    assert all(ROW[1] in s and ROW[2] in s for s in found.clear + found.unclear)
    assert ROW[3] in found.unclear[0] and "chance" in found.unclear[0]
    said = summary(rows)
    assert all(said.count(r[0]) == 1 for r in rows)
    assert "Better with the prior's start: figure better." in said
    assert "Not clear, since the difference may be chance: figure not clear." in said


def test_fid_and_kid_need_label_maps_and_every_figure_its_model():
    few, enough = FEWEST_FOR_FID - 1, FEWEST_FOR_FID
    assert set(reasons(few, True, True)) == {"FID", "KID"}
    assert reasons(enough, True, True) == {}
    assert set(reasons(enough, False, True)) == {"mIoU", "pixel accuracy"}
    assert set(reasons(few, True, False)) == {"FID", "KID", "diversity"}
    assert set(reasons(few, False, False)) == set(MEANINGS)


# --- gains ---


def counts(hits: int, labelled: int, found: int) -> list[list[int]]:
    """Of one image with one class that its label holds."""
    return [[hits, 0], [labelled, 0], [found, 5]]


def test_a_gain_is_that_of_all_images_of_a_label_map_and_they_are_ranked():
    maps = ["a", "a", "b", "c", "void"]
    stock = torch.tensor(
        [counts(0, 8, 8), counts(8, 8, 8), *[counts(4, 8, 4)] * 2, counts(0, 0, 9)]
    )
    prior = torch.tensor(
        [counts(8, 8, 8), counts(8, 8, 8), counts(2, 8, 2), counts(4, 8, 4), counts(0, 0, 9)]
    )
    found = gains((stock, maps), (prior, maps))
    # 8 of 24 pixels hit or found, then all: 8 / (16 + 16 - 8).
    assert [(g.name, g.prior) for g in found] == [("a", 1.0), ("c", 0.5), ("b", 0.25)]
    assert found[0].stock == pytest.approx(8 / 24)
    gained, lost = extremes(found, 2)
    assert [g.name for g in gained] == ["a"] and [g.name for g in lost] == ["b"]


@pytest.mark.parametrize(
    ("changes", "headings", "says"),
    [
        ([0.3, 0.1, 0.0, -0.2], {"Gained most": "ab", "Lost most": "d"}, "the ends"),
        ([0.3, 0.1, 0.0], {"Gained most": "ab", "Lost most": ""}, "the ends"),
        ([0.0, 0.0], {"Some of the label maps": "abcd"}, "no label map gained or lost"),
        ([], {"Some of the label maps": "abcd"}, "without a segmenter it is not known"),
    ],
)
def test_there_are_always_label_maps_to_show(changes, headings, says):
    found = [Gain(name, 0.5, 0.5 + c) for name, c in zip("abcd", changes, strict=False)]
    groups, text = shown_maps(found, "abcd")
    assert {heading: "".join(name for name, _ in maps) for heading, maps in groups} == headings
    assert says in text
    assert ("a", "mIoU 0.500 to 0.800 (+0.300)") in groups[0][1] or changes[:1] != [0.3]


# --- pictures ---


@pytest.fixture
def strip(tmp_path) -> Strip:
    """A label map of ids 1 and 2, wider than its images, which have a color each."""
    (tmp_path / "labels").mkdir()
    ids = np.repeat(np.uint8([[0, 1, 1, 2, 2, 0]]), 2, 0).repeat(16, 0).repeat(16, 1)
    Image.fromarray(ids * 100).save(tmp_path / "labels" / "a.png")
    for name, level in (("real", 10), ("stock", 20), ("prior", 30)):
        Image.new("RGB", (64, 32), (level, 200, 40)).save(tmp_path / f"{name}.png")
    ((label_map,), _) = find_label_maps({"a": tmp_path / "labels" / "a.png"})
    paths = [tmp_path / f"{name}.png" for name in ("real", "stock", "prior")]
    return read_strip(label_map, *paths, "what it gained")


def test_a_strip_shows_the_label_map_as_the_controlnet_saw_it_and_the_images(strip):
    label, *images = (np.asarray(picture) for picture in strip.pictures)
    # A third of the label map lies outside the images' shape, half on either side.
    expected = np.repeat([100, 200], 32)[None, :, None] * np.ones((32, 1, 3), int)
    assert (label == expected).all()
    assert [image[0, 0].tolist() for image in images] == [[r, 200, 40] for r in (10, 20, 30)]
    assert all((image == image[0, 0]).all() for image in images)


def test_the_contact_sheet_holds_all_strips_in_order_and_a_gap_for_a_missing_picture(strip):
    other = Strip("b\u00fc", "", (strip.pictures[0], None, *strip.pictures[2:]))
    sheet = np.asarray(contact_sheet([("Gained", [strip]), ("None", []), ("Lost", [other])]))
    places = {red: (sheet == (red, 200, 40)).all(-1) for red in (10, 20, 30)}
    area = 64 * 32
    assert {r: int(place.sum()) for r, place in places.items()} == {
        10: area,
        20: 2 * area,
        30: 2 * area,
    }
    columns = [np.nonzero(place.any(0))[0] for place in places.values()]
    assert [len(each) for each in columns] == [64] * 3
    assert columns[0].max() < columns[1].min() and columns[1].max() < columns[2].min()


# --- the report ---


class Page(HTMLParser):
    """Tags with attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.cells:
            self.cells[-1] += data


EVIL = "<script src=http://x/a.js></script>\"'><img src=http://x/b.png onerror=alert(1)>\udcff"


@pytest.fixture
def report(strip) -> Report:
    """Of two figures and one that is missing, with names that mean harm."""
    rows = [row("mIoU", "better"), row("pixel accuracy", "not clear")]
    skipped = {"FID": f"needs more {EVIL}"}
    bad = Strip(EVIL, EVIL, (*strip.pictures[:1], None, *strip.pictures[2:]))
    return Report(
        title=EVIL,
        date="today",
        counts="2 label maps; 2 seeds each",
        change="mode normal",
        summary=summary(rows),
        rows=rows,
        skipped=skipped,
        verdicts=verdicts(rows),
        groups=[("Gained most", [strip, bad]), ("Lost most", [])],
        chosen="The ends.",
        gains=[Gain("a", 0.1, 0.4), Gain(EVIL, 0.4, 0.2), Gain("c", 0.2, 0.2)],
        warnings=[EVIL],
        notes=[EVIL],
        settings={"Workflow": EVIL},
    )


def test_the_report_refers_to_nothing_outside_and_runs_nothing(report):
    page = Page(html_page(report))
    allowed = {"src": "data:image/jpeg;base64,"}
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "a", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"href", "srcset", "action", "style", "background"}
            assert value.startswith(allowed.get(name, ""))
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    style = html_page(report).partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    # The names are shown as they are.
    shown = EVIL.encode(errors="backslashreplace").decode()
    assert sum(shown in text for text in page.texts) >= 6


def test_the_report_holds_every_number_of_the_table_and_every_picture(report, strip):
    page = Page(html_page(report))
    cells = [cell.strip() for cell in page.cells]
    start = cells.index("mIoU")
    assert cells[start : start + 12] == [*report.rows[0], *report.rows[1]]
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2]))) for s in sources]
    assert [picture.size for picture in pictures] == [strip.size] * (4 + 3)
    reds = [int(np.asarray(picture)[..., 0].mean()) for picture in pictures[1:4]]
    assert np.abs(np.array(reds) - [10, 20, 30]).max() <= 2
    text = html.unescape(" ".join(page.texts))
    for said in (report.summary, report.counts, report.change, *report.verdicts.unclear, "None."):
        assert said in text
    assert "Of 3 label maps 1 gained and 1 lost" in text
    assert all(text.count(MEANINGS[name]) == 1 for name in ("mIoU", "pixel accuracy"))
    assert MEANINGS["FID"] not in text
    assert [t for t, _ in page.tags if t == "figcaption"] == ["figcaption"] * 2 * len(COLUMNS)
