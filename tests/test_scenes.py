"""The demo scenes: deterministic, street-like, and labelled to the pixel."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from PIL import Image

from demo.flicker import MARGIN, flicker
from demo.looks import Moved
from demo.scenes import CLASS_COLORS, USED_IDS, Scene, generate_scene, main, write_dataset
from demo.scenes.looks import LOOKS, draw_setting

ROAD, BUILDING, SKY = 0, 2, 10


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Twenty small scenes."""
    return [generate_scene(seed, 192, 96) for seed in range(20)]


def test_same_seed_same_arrays(scenes: list[Scene]) -> None:
    again = generate_scene(3, 192, 96)
    assert np.array_equal(again.image, scenes[3].image)
    assert np.array_equal(again.labels, scenes[3].labels)


def test_a_camera_a_little_aside_sees_the_same_street(scenes: list[Scene]) -> None:
    for seed in (0, 3, 8):
        aside = generate_scene(seed, 192, 96, aside=0.1)
        changed = (aside.labels != scenes[seed].labels).mean()
        assert 0.005 < changed < 0.1
        assert (aside.labels != scenes[seed + 1].labels).mean() > 3 * changed


@pytest.mark.parametrize("hour", ["noon", "dusk", "night"])
def test_a_look_of_an_hour_holds_scenes_of_that_hour_alone(hour: str) -> None:
    seeds = list(islice(LOOKS[hour].seeds(600_000), 5))
    assert len(set(seeds)) == 5
    for seed in seeds:
        mood, _, mirrored = draw_setting(np.random.default_rng([seed, 0]))
        assert mood.hour == hour and not mirrored


def test_images_have_moved_by_the_share_of_the_way_from_the_stock_starts_to_the_folders() -> None:
    def grey(*level: int) -> np.ndarray:
        return np.full((2, 4, 6, 3), level, np.uint8)

    stock, folder = grey(120, 120, 120), grey(40, 60, 80)
    for results, share in ((stock, 0.0), (folder, 1.0), (grey(80, 90, 100), 0.5)):
        moved = Moved.of(results, stock, folder)
        assert moved.share == pytest.approx(share) and moved.brightness == results.mean()
    assert Moved.of(results, stock, grey(121, 118, 122)).share is None
    # What goes aside of the way does not count.
    assert Moved.of(grey(120 + 60, 120 - 80, 120), stock, folder).share == pytest.approx(
        0, abs=0.01
    )


def test_flicker_is_the_change_away_from_labels_that_change() -> None:
    labels = np.zeros((3, 20, 40), int)
    labels[1, :, 30] = 1
    frames = np.zeros((3, 20, 40, 3), np.uint8)
    frames[1, :, 30 - MARGIN : 31 + MARGIN] = 200
    assert flicker(frames, labels) == 0
    frames[1, :, : 30 - MARGIN] = 8
    # The other side of the line, of 9 columns less the margin, stays.
    assert flicker(frames, labels) == pytest.approx(8 * 28 / 35)


def test_different_seeds_differ(scenes: list[Scene]) -> None:
    for a, b in pairwise(scenes):
        assert not np.array_equal(a.image, b.image)
        assert (a.labels != b.labels).mean() > 0.05


@pytest.mark.parametrize(
    ("width", "height"), [(240, 176), (256, 128), (96, 96), (64, 160), (33, 47)]
)
def test_shapes_and_types(width: int, height: int) -> None:
    scene = generate_scene(5, width, height)
    assert scene.image.shape == (height, width, 3)
    assert scene.labels.shape == (height, width)
    assert scene.label_colors.shape == (height, width, 3)
    assert scene.image.dtype == scene.labels.dtype == scene.label_colors.dtype == np.uint8


def test_only_allowed_ids(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert set(np.unique(scene.labels).tolist()) <= set(USED_IDS)


def test_every_class_occurs_somewhere() -> None:
    seen: set[int] = set()
    for seed in range(100, 160):
        seen |= set(np.unique(generate_scene(seed, 160, 80).labels).tolist())
        if seen == set(USED_IDS):
            break
    assert seen == set(USED_IDS)


def test_label_colors_are_the_cityscapes_colors(scenes: list[Scene]) -> None:
    scene = scenes[0]
    assert tuple(CLASS_COLORS[13]) == (0, 0, 142)
    for label in np.unique(scene.labels):
        assert (scene.label_colors[scene.labels == label] == CLASS_COLORS[label]).all()


def test_composition_is_street_like(scenes: list[Scene]) -> None:
    for label in (ROAD, BUILDING, SKY):
        present = sum((scene.labels == label).mean() > 0.01 for scene in scenes)
        assert present >= 17, label
    labels = np.stack([scene.labels for scene in scenes])
    half = labels.shape[1] // 2
    sky, road = labels == SKY, labels == ROAD
    assert sky[:, :half].sum() > 0.9 * sky.sum()
    assert road[:, half:].sum() > 0.9 * road.sum()
    # Road at the bottom centre, houses at the sides.
    assert road[:, -8:, 80:112].mean() > 0.7
    building = labels == BUILDING
    assert building[:, :half, :24].mean() > building[:, :half, 84:108].mean()


def test_sizes_show_the_same_scene() -> None:
    for seed in range(3):
        large = Image.fromarray(generate_scene(seed, 384, 192).labels)
        small = generate_scene(seed, 256, 128).labels
        resized = np.asarray(large.resize((256, 128), Image.Resampling.NEAREST))
        assert (resized == small).mean() > 0.95


def _edge_strength(scene: Scene, shift: int) -> float:
    """Mean step of brightness across the label edges, moved sideways by `shift` pixels."""
    gray = scene.image.astype(np.float32).mean(axis=-1)
    step = np.abs(np.diff(gray, axis=1))
    edge = np.diff(scene.labels.astype(int), axis=1) != 0
    return float(step[np.roll(edge, shift, axis=1)].mean())


def test_label_edges_are_picture_edges(scenes: list[Scene]) -> None:
    strength = {
        shift: np.mean([_edge_strength(scene, shift) for scene in scenes]) for shift in range(-4, 5)
    }
    assert max(strength, key=strength.get) == 0
    for shift in (-4, -3, -2, 2, 3, 4):
        assert strength[0] > 1.15 * strength[shift]


def test_cells_of_one_label_are_smoother(scenes: list[Scene]) -> None:
    pure, mixed = [], []
    for scene in scenes:
        cells = scene.labels.reshape(12, 8, 24, 8).swapaxes(1, 2).reshape(-1, 64)
        gray = scene.image.mean(axis=-1).reshape(12, 8, 24, 8).swapaxes(1, 2).reshape(-1, 64)
        one = (cells == cells[:, :1]).all(axis=1)
        pure.append(gray[one].std(axis=1).mean())
        mixed.append(gray[~one].std(axis=1).mean())
    assert np.mean(mixed) > 1.5 * np.mean(pure)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="seed"):
        generate_scene(-1)
    with pytest.raises(ValueError, match="at least"):
        generate_scene(0, 8, 8)


@pytest.mark.parametrize("style", ["colors", "ids"])
def test_write_dataset(tmp_path, style: str) -> None:
    root = write_dataset(tmp_path / "set", 2, 64, 48, seed=7, label_style=style)
    names = ["scene_00000.png", "scene_00001.png"]
    assert root == tmp_path / "set"
    for folder in ("images", "labels"):
        assert sorted(p.name for p in (root / folder).iterdir()) == names
    for i, name in enumerate(names):
        scene = generate_scene(7 + i, 64, 48)
        assert np.array_equal(np.asarray(Image.open(root / "images" / name)), scene.image)
        wanted = scene.labels if style == "ids" else scene.label_colors
        assert np.array_equal(np.asarray(Image.open(root / "labels" / name)), wanted)


def test_a_dataset_of_one_look_skips_the_scenes_of_others(tmp_path) -> None:
    root = write_dataset(tmp_path / "set", 2, 64, 48, seed=3, look="night")
    for i, seed in enumerate(islice(LOOKS["night"].seeds(3), 2)):
        picture = np.asarray(Image.open(root / "images" / f"scene_{i:05d}.png"))
        assert np.array_equal(picture, generate_scene(seed, 64, 48).image)


def test_write_dataset_rejects_unknown_style(tmp_path) -> None:
    with pytest.raises(ValueError, match="label_style"):
        write_dataset(tmp_path, 1, 64, 48, label_style="names")


def test_command_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--count", "1", "--width", "64", "--height", "48", "--seed", "2"])
    assert (tmp_path / "images" / "scene_00000.png").is_file()
    assert "1 scenes" in capsys.readouterr().out
