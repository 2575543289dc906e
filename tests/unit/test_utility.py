"""Laws of `utility`: nets learn, all of them from the same draws; what was stopped goes on to the
same figures; the test stays apart from the training; intervals hold what they promise.
"""

import importlib.util
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev.leftovers import killed_while_writing
from prior_tools import PriorError
from prior_tools.cli import main
from prior_tools.cli.utility import _exported
from prior_tools.datasets.pairs import files_by_name
from prior_tools.evaluation.files import match_generated
from prior_tools.evaluation.segmentation import mean_iou
from prior_tools.labels.palettes import PALETTES
from prior_tools.labels.reading import LabelRules
from prior_tools.utility.figures import miou
from prior_tools.utility.judging import counts_of_constant, judge
from prior_tools.utility.net import SmallNet
from prior_tools.utility.overlap import check_generated, check_real, doubts
from prior_tools.utility.run import BOTH, GENERATED, REAL, Comparison, Mixture, run_all
from prior_tools.utility.sets import (
    VOID,
    IndexedSet,
    Source,
    check_same_classes,
    read_set,
    with_ignored,
)
from prior_tools.utility.training import Plan, TrainingCancelled, _batch, train

SIDE = 32
SIZE = (SIDE, SIDE)
CLASSES = 3
# Levels of classes 0, 1, 2; those of neighbors lie nearer than the noise is wide.
LEVELS = np.array([[90, 90, 90], [130, 110, 90], [90, 110, 130]])


def scene(seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 [side, side, 3] of two rectangles on ground, and its ids uint8."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((side, side), np.uint8)
    for class_id in (1, 2):
        top, left = rng.integers(0, side // 2, 2)
        height, width = rng.integers(side // 4, side // 2, 2)
        ids[top : top + height, left : left + width] = class_id
    image = LEVELS[ids] + rng.normal(0, 20, (side, side, 3))
    return image.clip(0, 255).astype(np.uint8), ids


def indexed_set(count: int, seed: int) -> IndexedSet:
    images, labels = zip(*(scene(seed + i) for i in range(count)), strict=True)
    return IndexedSet(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(labels)),
        tuple(str(i) for i in range(count)),
        f"digest {seed}",
    )


def write_pairs(folder: Path, count: int, seed: int, split: str = "", side: int = SIDE) -> Path:
    for index in range(count):
        image, ids = scene(seed + index, side)
        for kind, pixels in (("images", image), ("labels", ids)):
            path = folder / kind / split / f"scene_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def write_generated(folder: Path, maps: dict[str, Path], mirrored: bool = False) -> Path:
    """Images alone, named as `generate` names them, that show their label maps."""
    folder.mkdir(parents=True)
    for number, (name, path) in enumerate(sorted(maps.items())):
        ids = np.array(Image.open(path))
        ids = ids[:, ::-1] if mirrored else ids
        noise = np.random.default_rng(900 + number).normal(0, 20, (*ids.shape, 3))
        image = (LEVELS[ids] + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{name}{'_mirrored' * mirrored}_00.png")
    return folder


@pytest.fixture
def folders(tmp_path) -> Path:
    """Real images, generated ones of their label maps and of others, and held-out ones."""
    write_pairs(tmp_path / "real", 6, 0)
    write_pairs(tmp_path / "val", 5, 100)
    write_pairs(tmp_path / "exported", 4, 200, "train")
    write_generated(tmp_path / "stock", files_by_name(tmp_path / "real" / "labels", "label"))
    return tmp_path


def argv(folders: Path, **options) -> list[str]:
    given = {
        "real": folders / "real",
        "generated": folders / "stock",
        "val": folders / "val",
        "out": folders / "out",
        "steps": 3,
        "seeds": 1,
        "batch": 4,
        "draws": 100,
        **options,
    }
    flat = [str(part) for k, v in given.items() for part in (f"--{k.replace('_', '-')}", v)]
    return ["utility", *flat]


def fails(capsys, arguments: list[str]) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].startswith("utility: error: ")
    return printed[-1]


def result(folders: Path, out: str = "out") -> dict:
    return json.loads((folders / out / "utility.json").read_text())


# training


def test_the_net_learns_what_no_single_class_and_no_pixel_alone_tells(tmp_path):
    """Far above answering one class everywhere."""
    plan = Plan(steps=80, batch=4, rate=2e-3)
    val = indexed_set(12, 500)
    net = train(SmallNet, [indexed_set(24, 0)], CLASSES, plan, 0, tmp_path / "c", "")
    found = float(mean_iou(judge(net, val, CLASSES, 4, "cpu").sum(0)))
    chance = float(mean_iou(counts_of_constant(val, 0, CLASSES).sum(0)))
    assert chance < 0.3 and found > 0.75
    assert sum(p.numel() for p in net.parameters()) < 1_000_000


def test_a_training_that_was_stopped_ends_at_the_same_weights(tmp_path):
    plan, sets = Plan(steps=6, batch=4, rate=2e-3), [indexed_set(5, 0), indexed_set(4, 50)]
    at_once = train(SmallNet, sets, CLASSES, plan, 1, tmp_path / "one", "x").state_dict()
    asked = iter([False, False, True])
    with pytest.raises(TrainingCancelled):
        train(
            SmallNet,
            sets,
            CLASSES,
            plan,
            1,
            tmp_path / "two",
            "x",
            cancelled=lambda: next(asked),
        )
    done: list[int] = []
    gone_on = train(
        SmallNet, sets, CLASSES, plan, 1, tmp_path / "two", "x", progress=done.append
    ).state_dict()
    assert done == [3, 4, 5, 6]
    assert all(torch.equal(at_once[name], gone_on[name]) for name in at_once)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(tmp_path):
    plan, sets, path = Plan(steps=2, batch=4, rate=2e-3), [indexed_set(4, 0)], tmp_path / "c"
    with pytest.raises(TrainingCancelled):
        train(SmallNet, sets, CLASSES, plan, 0, path, "x", cancelled=lambda: True)
    with pytest.raises(PriorError, match="of another training"):
        train(SmallNet, sets, CLASSES, plan, 0, path, "y")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PriorError, match="bytes are missing"):
        train(SmallNet, sets, CLASSES, plan, 0, path, "x")


def test_random_numbers_of_the_caller_stay_as_they_were(tmp_path):
    before = torch.random.get_rng_state()
    train(SmallNet, [indexed_set(4, 0)], CLASSES, Plan(1, 4, 1e-3), 0, tmp_path / "c", "")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    plan = Plan(steps=4, batch=4, rate=1e30)
    with pytest.raises(PriorError, match="lower --rate"):
        train(SmallNet, [indexed_set(4, 0)], CLASSES, plan, 0, tmp_path / "c", "")


def test_both_together_are_equal_halves_and_all_images_come_before_one_comes_again():
    """However many there are of each: here half of the batch is black, half is white."""
    black, white = (
        IndexedSet(
            torch.full((count, SIDE, SIDE, 3), level, dtype=torch.uint8),
            torch.arange(count, dtype=torch.uint8).view(-1, 1, 1).expand(-1, SIDE, SIDE),
            ("",) * count,
            "",
        )
        for count, level in ((3, 0), (9, 255))
    )
    seen = []
    for step in range(6):
        images, labels = _batch([black, white], 4, 0, step)
        assert (images.amax((1, 2, 3)) > 0.5).tolist() == [False, False, True, True]
        seen += labels[:2, 0, 0].tolist()
    assert sorted(seen) == sorted([0, 1, 2] * 4)
    assert [sorted(seen[i : i + 3]) for i in range(0, 12, 3)] == [[0, 1, 2]] * 4


def test_images_and_labels_are_mirrored_together():
    one = indexed_set(4, 0)
    ids = one.labels[..., None].expand(-1, -1, -1, 3).contiguous()
    images, labels = _batch([replace(one, images=ids)], 4, 0, 0)
    # The level of a pixel is its class, but for the factor of its image and channel.
    per_class = images.amax((2, 3)) / 2
    assert torch.allclose(images, labels[:, None] * per_class[:, :, None, None], atol=1e-6)


def test_what_is_void_neither_trains_nor_counts(tmp_path):
    """Pixels marked as void may hold any class: the weights are the same."""
    plan, one = Plan(steps=2, batch=4, rate=2e-3), indexed_set(4, 0)
    labels = one.labels.clone()
    labels[:, :8] = VOID
    one = replace(one, labels=labels)
    net = train(SmallNet, [one], CLASSES, plan, 0, tmp_path / "c", "")
    counts = judge(net, one, CLASSES, 4, "cpu")
    assert int(counts[:, 1].sum()) == int((labels != VOID).sum()) == int(counts[:, 2].sum())
    nothing = replace(one, labels=torch.full_like(labels, VOID))
    still = train(SmallNet, [nothing], CLASSES, plan, 0, tmp_path / "c", "")
    assert all(bool(p.isfinite().all()) for p in still.parameters())


# reading


def rules(*ignored: int) -> LabelRules:
    return LabelRules(PALETTES["grey_ids"], (*ignored, 255))


def read(folder: Path, *ignored: int, size: tuple[int, int] = SIZE, title: str = ""):
    maps = files_by_name(folder / "labels", "label")
    images = match_generated(folder / "images", maps)
    return read_set(Source(title or folder.name, images, rules(*ignored)), size)


def test_ignored_classes_and_255_are_no_class(folders):
    path = folders / "val" / "labels" / "scene_0.png"
    ids = np.array(Image.open(path))
    ids[0, 0] = 255
    Image.fromarray(ids).save(path)
    found = read(folders / "val", 1)
    assert found.classes == {0, 2}
    assert torch.equal(found.ids[0] == -1, torch.from_numpy((ids == 1) | (ids == 255)))


def test_255_is_void_unless_the_palette_has_such_a_class():
    palette = PALETTES["camvid"]
    assert with_ignored(LabelRules(palette, (11,)), None).ignore_ids == (11, 255)
    assert with_ignored(LabelRules(palette, (11,)), [3]).ignore_ids == (3,)
    of_255 = replace(palette, names={255: "sky"})
    assert with_ignored(LabelRules(of_255, ()), None).ignore_ids == ()


def test_another_size_keeps_ids_and_cuts_what_is_of_another_shape(folders):
    whole = read(folders / "real")
    half = read(folders / "real", size=(SIDE, SIDE // 2))
    assert half.images.shape[1:3] == (SIDE // 2, SIDE)
    quarter = SIDE // 4
    assert torch.equal(half.ids, whole.ids[:, quarter:-quarter])
    assert torch.equal(half.images, whole.images[:, quarter:-quarter])


def test_images_of_mirrored_label_maps_are_read_as_such(folders):
    maps = files_by_name(folders / "real" / "labels", "label")
    images = write_generated(folders / "mirrored", maps, mirrored=True)
    matched = match_generated(images, maps, partial=True)
    found = read_set(Source("", matched, rules(), made_of_maps=True), SIZE)
    assert torch.equal(found.ids, read(folders / "real").ids.flip(-1))


def test_an_id_of_two_names_is_refused(folders):
    one = read(folders / "real")
    palettes = [
        replace(PALETTES["camvid"], name=name, names={1: told})
        for name, told in (("a", "Road"), ("b", "road"), ("c", "sky"))
    ]
    a, b, c = (replace(one, title=p.name, palette=p) for p in palettes)
    check_same_classes(a, b)
    with pytest.raises(PriorError, match="class 1 is 'Road' in a and 'sky' in c"):
        check_same_classes(a, c)


@pytest.mark.parametrize("form", ["pairs", "cityscapes"])
def test_what_export_writes_is_read_as_the_images_that_it_was_written_of(folders, form):
    labels = folders / "real" / "labels"
    maps = files_by_name(labels, "label")
    arguments = ["--generated", folders / "stock", "--labels", labels, "--palette", "cityscapes"]
    arguments += ["--format", form, "--out", folders / form, "--license", "cc0-1.0"]
    assert main(["export", *map(str, arguments)]) == 0
    images = match_generated(folders / "stock", maps)
    made = read_set(Source("", images, rules(), made_of_maps=True), SIZE)
    exported = read_set(Source.of_layout("", _exported(folders / form, "")), SIZE)
    assert torch.equal(made.images, exported.images) and torch.equal(made.ids, exported.ids)


# held out


def test_label_maps_of_held_out_images_are_refused_whatever_they_are_called(folders):
    val = read(folders / "val")
    for mirrored in (False, True):
        maps = files_by_name(folders / "val" / "labels", "label")
        images = write_generated(folders / f"leak_{mirrored}", maps, mirrored)
        matched = match_generated(images, maps, partial=True)
        renamed = [replace(image, map=f"other_{image.map}") for image in matched]
        leak = read_set(Source("leak", renamed, rules(), made_of_maps=True), SIZE)
        with pytest.raises(PriorError, match=r"5 images of leak are of label maps of val"):
            check_generated(leak, val)
    check_generated(read(folders / "exported", title="exported"), val)


def test_label_maps_of_a_single_class_are_not_taken_for_each_other(folders):
    for name in ("val", "exported/"):
        path = next((folders / name / "labels").rglob("scene_0.png"))
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)
    val, exported = read(folders / "val"), read(folders / "exported")
    check_generated(exported, val)
    assert not doubts(replace(exported, maps=("a", "b", "c", "d")), val, read(folders / "real"))


def test_label_maps_of_another_resolution_and_names_of_held_out_images_are_told(folders):
    real = read(folders / "real")
    larger = folders / "larger"
    write_pairs(larger, 2, 300, side=4 * SIDE)
    held_out = read(larger)
    small = folders / "small"
    for kind in ("images", "labels"):
        (small / kind).mkdir(parents=True)
        for path in (larger / kind).iterdir():
            picture = Image.open(path).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST)
            picture.save(small / kind / path.name)
    (near,) = doubts(read(small), held_out, real)
    assert "nearly those of larger (scene_0 and scene_0, scene_1 and scene_1)" in near
    val = replace(read(folders / "val"), maps=tuple("vwxyz"))
    (named,) = doubts(replace(read(folders / "exported"), maps=tuple("abcz")), val, real)
    assert "(z)" in named
    # A name that the training images have as well says nothing.
    assert not doubts(read(folders / "exported"), read(folders / "val"), real)


def test_held_out_images_that_are_trained_on_are_refused(folders):
    real = read(folders / "real")
    with pytest.raises(PriorError, match="6 images of real are among those of real as well"):
        check_real(real, real)
    check_real(real, read(folders / "val"))


# figures


def simulated(
    rng: np.random.Generator, labelled: np.ndarray, ease: np.ndarray, skill: float, spread: float
) -> list[torch.Tensor]:
    """Counts of three seeds, [N, 3, K]: images are easy or hard, and seeds more or less able."""
    found = []
    for _ in range(3):
        able = skill + spread * rng.standard_normal(CLASSES)
        noise = 0.3 * rng.standard_normal(labelled.shape)
        right = 1 / (1 + np.exp(-(able + ease[:, None] + noise)))
        hit = np.round(labelled * right)
        seen = hit + np.round(0.7 * labelled * (1 - right))
        found.append(torch.from_numpy(np.stack([hit, labelled, seen], 1)).long())
    return found


@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_intervals_hold_the_true_figure_and_the_true_difference_as_often_as_they_say(spread):
    """300 experiments of 30 images and 3 seeds, whether images or seeds differ more."""
    rng = np.random.default_rng(0)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = np.round(rng.lognormal(6, 0.7, (count, CLASSES)))
        return sizes, 0.8 * rng.standard_normal(count)

    everything = images(4000)

    def truth(skill: float) -> float:
        many = [c for _ in range(50) for c in simulated(rng, *everything, skill, spread)]
        return float(np.mean([float(mean_iou(c.sum(0))) for c in many]))

    true, better = truth(1.0), truth(1.3)
    names = [str(i) for i in range(30)]
    held = np.zeros(2)
    for _ in range(300):
        some = images(30)
        one, other = (
            miou(simulated(rng, *some, skill, spread), names, 400) for skill in (1.0, 1.3)
        )
        for i, (figure, value) in enumerate(((one, true), (other - one, better - true))):
            held[i] += figure.interval.low <= value <= figure.interval.high
    assert (held / 300 >= 0.93).all()


def test_differences_are_paired_by_image_and_seed():
    rng = np.random.default_rng(1)
    labelled, ease = np.full((20, CLASSES), 100.0), rng.standard_normal(20)
    counts = simulated(rng, labelled, ease, 1.0, 0.5)
    names = [str(i) for i in range(20)]
    one = miou(counts, names, 200)
    same = one - miou(counts, names, 200)
    assert same.value == 0 and same.interval.low == same.interval.high == 0
    # Seeds that changed places are other pairs.
    moved = one - miou([*counts[1:], counts[0]], names, 200)
    assert moved.interval.half > 0.01
    with pytest.raises(PriorError, match="pairs"):
        one - miou(counts, [*names[:-1], "other"], 200)


def test_one_seed_tells_nothing_of_others_and_few_images_nothing_at_all():
    rng = np.random.default_rng(2)
    counts = simulated(rng, np.full((6, CLASSES), 100.0), rng.standard_normal(6), 1.0, 0.5)
    assert "one seed" in miou(counts[:1], list("abcdef"), 100).method
    few = miou([c[:3] for c in counts], list("abc"), 100)
    assert few.interval is None and "fewer than 6 images" in few.method
    assert len(few.by_seed) == 3


# the command


def test_repeated_runs_are_equal_and_finished_trainings_are_not_repeated(folders, capsys):
    arguments = argv(folders)
    arguments.insert(arguments.index("--val"), str(folders / "exported"))
    assert main(arguments) == 0
    first, printed = result(folders), capsys.readouterr().out
    assert [one["trained_on"] for one in first["trainings"]] == [
        "real",
        "stock",
        "real + stock",
        "exported",
        "real + exported",
    ]
    for text in ("real + stock", "6 + 6", "less real alone", "less stock", "answering class 0"):
        assert text in printed
    values = [one["miou"]["value"] for one in first["trainings"]]
    for kind, index, other in (("less_real_alone", 4, 0), ("less_first_generated", 4, 2)):
        difference = first["trainings"][index][kind]["value"]
        assert difference == pytest.approx(values[index] - values[other])
    assert [one["less_first_generated"] is None for one in first["trainings"]] == [
        *[True] * 3,
        *[False] * 2,
    ]
    arguments[arguments.index("--out") + 1] = str(folders / "again")
    assert main(arguments) == 0
    again = result(folders, "again")
    assert again.pop("date") and first.pop("date") and again == first

    kept = {path: path.stat().st_mtime_ns for path in (folders / "again").rglob("*counts*")}
    assert len(kept) == 5 and not list((folders / "again").rglob("*checkpoint*"))
    arguments[arguments.index("--seeds") + 1] = "2"
    assert main(arguments) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    more = result(folders, "again")["trainings"]
    for before, now in zip(first["trainings"], more, strict=True):
        assert now["miou"]["by_seed"][:1] == before["miou"]["by_seed"]
        assert len(now["miou"]["by_seed"]) == 2


def test_a_comparison_that_was_stopped_goes_on_to_the_same_counts(tmp_path):
    real, made = indexed_set(4, 0), indexed_set(4, 50)
    mixtures = [Mixture(REAL, "", (real,)), Mixture(GENERATED, "a", (made,))]
    mixtures.append(Mixture(BOTH, "a", (real, made)))
    comparison = Comparison(
        mixtures, indexed_set(4, 90), (0, 1, 2), SmallNet, Plan(3, 4, 2e-3), 1, {"--steps": "3"}
    )
    at_once = run_all(tmp_path / "one", comparison)
    asked = iter([False] * 4 + [True])
    with pytest.raises(TrainingCancelled):
        run_all(tmp_path / "two", comparison, cancelled=lambda: next(asked))
    steps: list[int] = []
    gone_on = run_all(tmp_path / "two", comparison, lambda _title, done: steps.append(done))
    # The first was finished, and of the second two steps were.
    assert steps[:3] == [3, 5, 6] and steps[-1] == comparison.steps
    assert all(torch.equal(a[0], b[0]) for a, b in zip(at_once, gone_on, strict=True))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_keeps_what_is_done(folders, capsys):
    """The record is written while signals are waited for."""

    def soon() -> None:
        while not (folders / "out" / "run.json").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=soon, daemon=True).start()
    assert main(argv(folders, steps=10**6)) == 130
    assert "start the same command again" in capsys.readouterr().err
    (kept,) = (folders / "out" / "trainings").iterdir()
    assert kept.name == "real-seed0.checkpoint.safetensors"


def test_a_changed_setting_and_changed_images_are_refused_by_name(folders, capsys):
    assert main(argv(folders)) == 0
    assert "--steps was 3 and is 4" in fails(capsys, argv(folders, steps=4))
    assert "--rate was 0.002 and is 0.001" in fails(capsys, argv(folders, rate=0.001))
    path = folders / "stock" / "scene_0_00.png"
    Image.fromarray(255 - np.array(Image.open(path))).save(path)
    assert "label maps of --generated stock have changed" in fails(capsys, argv(folders))
    killed_while_writing(folders / "else" / "run.json")
    assert main(argv(folders, out=folders / "else")) == 0
    assert not list(folders.rglob(".scp-*"))
    (folders / "other").mkdir()
    (folders / "other" / "note.txt").write_text("mine")
    assert "not of this command" in fails(capsys, argv(folders, out=folders / "other"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 5}, "--batch is 5; expected an even number"),
        ({"batch": 8}, "holds 6 images (scene_0, scene_1, scene_2 and 3 more), fewer than"),
        ({"size": "40x32"}, "--size is 40x32; the small net takes multiples of 16"),
        ({"seeds": 0}, "--seeds is 0; expected at least 1"),
        ({"rate": "nan"}, "--rate is nan"),
        ({"device": "cuda:77"}, "--device cuda:77 cannot be used"),
        ({"palette": "pascal"}, "--palette"),
        ({"real": "nowhere"}, "--real: "),
        ({"val": "real"}, "so not held out; expected two splits"),
        ({"generated": "val/images", "labels": "val/labels"}, "must not come from"),
        ({"generated": "stray"}, "1 of 1 generated image has no label map: x_00"),
        ({"generated": "turned"}, "label map scene_0.png has 16x32 pixels"),
        ({"generated": "strange"}, "holds class ids 77"),
        ({"net": "real"}, "lacks config.json, preprocessor_config.json, weights"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_trained(folders, capsys, options, said):
    (folders / "stray").mkdir()
    Image.new("RGB", SIZE).save(folders / "stray" / "x_00.png")
    for name, change in (("turned", lambda ids: ids[:, :16]), ("strange", lambda ids: ids + 77)):
        path = write_pairs(folders / name, 4, 400, "train") / "labels" / "train" / "scene_0.png"
        Image.fromarray(change(np.array(Image.open(path)))).save(path)
    if "strange" in options.values():
        options = {**options, "palette": "camvid"}
    folder_options = ("real", "val", "generated", "labels", "net")
    options = {k: folders / v if k in folder_options else v for k, v in options.items()}
    assert said in fails(capsys, argv(folders, **options))
    assert not (folders / "out").exists()


def test_a_transformers_model_of_a_folder_is_trained_on_from_its_weights(folders):
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        num_labels=7,
    )
    folder = folders / "model"
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    options = {"net": folder, "size": "40x32", "steps": 2}
    assert main(argv(folders, **options)) == 0
    found = result(folders)
    assert found["rate"] == 1e-4 and found["size"] == [40, 32]
    assert main(argv(folders, **options, out=folders / "again")) == 0
    assert result(folders, "again")["trainings"] == found["trainings"]
