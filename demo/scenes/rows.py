"""The rows along a street: houses, park, gardens and what fences them."""

from __future__ import annotations

from .buildings import draw_building
from .canvas import Color, mix
from .plants import draw_hedge
from .stage import Stage
from .street import draw_fence, draw_wall
from .walls import Building

# Per palette: walls, trims, roofs, accents.
_PALETTES: dict[str, tuple[tuple[Color, ...], tuple[Color, ...], tuple[Color, ...]]] = {
    "nordic": (
        (
            (228, 190, 116),
            (202, 110, 82),
            (234, 218, 184),
            (146, 174, 166),
            (188, 86, 72),
            (218, 160, 108),
            (166, 184, 206),
            (240, 226, 206),
        ),
        ((246, 242, 232), (236, 230, 218)),
        ((152, 76, 56), (90, 84, 86), (126, 62, 50)),
    ),
    "brick": (
        (
            (158, 86, 66),
            (138, 74, 60),
            (178, 110, 82),
            (124, 86, 76),
            (198, 164, 130),
            (168, 98, 88),
        ),
        ((228, 216, 198), (206, 196, 182)),
        ((84, 82, 88), (110, 70, 60)),
    ),
    "stone": (
        ((224, 208, 178), (214, 198, 170), (232, 220, 196), (202, 190, 170), (220, 196, 160)),
        ((240, 230, 210), (226, 216, 196)),
        ((88, 96, 110), (74, 80, 92)),
    ),
    "southern": (
        (
            (244, 236, 222),
            (240, 214, 184),
            (232, 182, 148),
            (246, 226, 178),
            (226, 150, 116),
            (208, 218, 208),
        ),
        ((252, 246, 236), (214, 186, 150)),
        ((188, 102, 70), (170, 88, 62)),
    ),
    "modern": (
        (
            (188, 192, 194),
            (154, 160, 166),
            (210, 206, 198),
            (120, 126, 134),
            (176, 152, 128),
            (226, 226, 222),
        ),
        ((232, 232, 228), (92, 96, 102)),
        ((96, 98, 102), (120, 120, 122)),
    ),
}

_ACCENTS = (
    (52, 92, 96),
    (120, 50, 46),
    (58, 88, 62),
    (46, 66, 108),
    (160, 112, 60),
    (84, 70, 88),
    (190, 198, 200),
    (74, 120, 128),
)

_MIXES = {
    "centre": (("modern", 0.34), ("flats", 0.24), ("stone", 0.22), ("brick", 0.20)),
    "old": (("old", 0.74), ("stone", 0.12), ("brick", 0.14)),
    "houses": (("house", 1.0),),
    "avenue": (("stone", 0.42), ("brick", 0.26), ("flats", 0.20), ("modern", 0.12)),
    "park": (("stone", 0.3), ("brick", 0.3), ("old", 0.2), ("flats", 0.2)),
}


def place_houses(stage: Stage, side: int) -> None:
    """A row of buildings, with gaps for gardens and the side street."""
    rng, street = stage.rng, stage.street
    wall = street.wall(side)
    park = side == street.lawn
    if park:
        _park(stage, side)
        wall += 26.0
    z = 1.2 + float(rng.uniform(0, 3))
    walls, trims, roofs = _PALETTES[stage.palette]
    styles = _MIXES[street.kind]
    last = -1
    after_gap = False
    while z < 116:
        detached = street.kind == "houses"
        long = float(
            rng.uniform(7.0, 11.0) if detached or street.kind == "old" else rng.uniform(9.0, 17.0)
        )
        end = z + long
        if street.cross and end > street.cross[0] - 0.5 and z < street.cross[1]:
            end = street.cross[0] - street.walk * 0.8
            if end - z < 5.0:
                z, after_gap = street.cross[1] + street.walk * 0.8, True
                continue
        style = str(rng.choice([s for s, _ in styles], p=[p for _, p in styles]))
        pick = int(rng.integers(len(walls)))
        pick = (pick + 1) % len(walls) if pick == last else pick
        last = pick
        storeys = {
            "modern": (2, 6),
            "flats": (2, 5),
            "stone": (2, 4),
            "brick": (2, 4),
            "old": (1, 3),
            "house": (0, 1),
        }[style]
        count = int(rng.integers(storeys[0], storeys[1] + 1))
        storey = float(rng.uniform(2.8, 3.3))
        # Keep near rows low enough that sky stays in the picture.
        limit = (1.0 if z < 30 else 1.6) * wall + 2.0
        while count > 1 and 4.0 + count * storey > limit:
            count -= 1
        roof = {
            "modern": "flat",
            "flats": "flat",
            "old": "pitched",
            "house": "pitched",
            "stone": "mansard" if rng.random() < 0.7 else "flat",
            "brick": "flat" if rng.random() < 0.6 else "pitched",
        }[style]
        depth = float(rng.uniform(9, 13))
        building = Building(
            side=side,
            x=wall + (float(rng.uniform(0, 1.2)) if detached else 0.0),
            z0=z,
            z1=end,
            depth=depth,
            ground=float(rng.uniform(3.6, 4.3) if style != "house" else rng.uniform(2.9, 3.2)),
            storey=storey,
            storeys=count,
            style=style,
            wall=mix(walls[pick], (128, 128, 128), 0.06 * float(rng.random())),
            trim=trims[int(rng.integers(len(trims)))],
            accent=_ACCENTS[int(rng.integers(len(_ACCENTS)))],
            roof=roof,
            roof_rgb=mix(roofs[int(rng.integers(len(roofs)))], (120, 110, 104), 0.15),
            rise=float(rng.uniform(0.34, 0.5)) * depth if roof == "pitched" else 2.7,
            shop=bool(style not in ("house",) and rng.random() < (0.3 if park else 0.62)),
            corner=after_gap or detached,
            seed=stage.seed(),
        )
        after_gap = False
        _raise(stage, building)
        z = end
        if detached:
            gap = float(rng.uniform(2.0, 5.5))
            _garden_trees(stage, side, z, z + gap)
            z, after_gap = z + gap, True
        elif rng.random() < 0.07 and z > 14:
            gap = float(rng.uniform(4, 8))
            _garden_trees(stage, side, z, z + gap)
            z, after_gap = z + gap, True


def _raise(stage: Stage, b: Building) -> None:
    canvas, cam, mood = stage.canvas, stage.cam, stage.mood
    stage.back.append((b.z0, lambda: draw_building(canvas, cam, mood, b)))
    sx, sz = mood.shadow_shift()
    height = b.eaves + (b.rise * 0.5 if b.roof != "flat" else 0)
    p, x = cam.point, b.side * b.x
    base = [p(x, 0, b.z0), p(x, 0, b.z1)]
    if sx * b.side < 0:  # the sun stands behind this row
        reach = min(abs(sx) * height, b.x * 1.9) / max(abs(sx), 1e-6)
        dx, dz = sx * reach, sz * reach
        far = [p(x + dx, 0, max(1.0, b.z1 + dz)), p(x + dx, 0, max(1.0, b.z0 + dz))]
        canvas.shade(base + far)
    strip = 0.5
    inner = x - b.side * strip
    canvas.press([*base, p(inner, 0, b.z1), p(inner, 0, b.z0)], 60)


def _garden_trees(stage: Stage, side: int, z0: float, z1: float) -> None:
    rng = stage.rng
    for _ in range(int(rng.integers(1, 4))):
        x = stage.street.wall(side) + float(rng.uniform(2.5, 9))
        z = float(rng.uniform(z0 + 0.5, z1))
        stage.tree(side * x, 0.0, z, float(rng.uniform(4.0, 8.0)), back=True)


def _park(stage: Stage, side: int) -> None:
    """Lawn with scattered trees instead of houses."""
    rng, edge = stage.rng, stage.street.edge
    for _ in range(int(rng.integers(16, 26))):
        x = edge + 2.2 + 22 * float(rng.random()) ** 1.4
        z = float(rng.uniform(7, 85))
        if not stage.at_crossing(z, 3):
            stage.tree(side * x, 0.0, z, float(rng.uniform(5.5, 10.5)), back=True)


def place_frontage(stage: Stage, side: int) -> None:
    """Hedges, fences, walls and shrubs between pavement and houses or lawn."""
    rng, street = stage.rng, stage.street
    park = side == street.lawn
    if not park and street.front[0 if side < 0 else 1] < 2:
        return
    x = street.edge + 0.15
    stone = mix((172, 160, 144), (146, 132, 124), float(rng.random()))
    wood: Color = ((236, 232, 222), (150, 108, 74), (110, 84, 64), (96, 112, 104))[
        int(rng.integers(4))
    ]
    z = 2.0
    kind = str(rng.choice(("hedge", "fence", "wall")))
    while z < 84:
        long = float(rng.uniform(7, 14)) if not park else 84.0
        end = min(84.0, z + long)
        if street.cross and z < street.cross[1] and end > street.cross[0]:
            end = max(z, street.cross[0] - 2.4)
        if not park or z < 3:
            kind = str(rng.choice(("hedge", "fence", "wall", "none"), p=(0.34, 0.28, 0.24, 0.14)))
            if park and kind == "none":
                kind = "wall"
        tall = {
            "hedge": float(rng.uniform(0.9, 1.5)),
            "fence": float(rng.uniform(0.9, 1.2)),
            "wall": float(rng.uniform(0.6, 1.0)),
            "none": 0.0,
        }[kind]
        a = z
        while kind != "none" and a < end - 0.8:
            b = min(end, a + 3.6)
            _boundary(stage, kind, side, x, a, b, tall, stone, wood)
            a = b
        z = end + (1.3 if not park else 0.0)
        if stage.at_crossing(z, 2.6):
            z = street.cross[1] + 2.4
    if not park:
        room = street.front[0 if side < 0 else 1]
        for _ in range(int(rng.integers(5, 11))):
            z = float(rng.uniform(5, 70))
            if stage.at_crossing(z, 3.5):
                continue
            away = side * (street.edge + 1.0 + (room - 1.6) * float(rng.random()))
            if rng.random() < 0.6:
                stage.tree(away, 0.0, z + 3.7, float(rng.uniform(0.9, 1.5)), which=3)
            elif room > 3.4:
                stage.tree(away, 0.0, z + 3.7, float(rng.uniform(3.5, 5.5)))


def _boundary(
    stage: Stage,
    kind: str,
    side: int,
    x: float,
    a: float,
    b: float,
    tall: float,
    stone: Color,
    wood: Color,
) -> None:
    canvas, cam, mood, seed = stage.canvas, stage.cam, stage.mood, stage.seed()
    stage.cast_box(min(side * x, side * (x + 0.3)), max(side * x, side * (x + 0.3)), a, b, tall)
    inner = side * (x - 0.25)
    canvas.press(
        [
            cam.point(side * x, 0, a),
            cam.point(side * x, 0, b),
            cam.point(inner, 0, b),
            cam.point(inner, 0, a),
        ],
        90,
    )
    if kind == "hedge":
        hue = stage.hedge

        def draw() -> None:
            draw_hedge(canvas, cam, mood, side, x, 0.0, a, b, tall, hue, seed)
    elif kind == "fence":

        def draw() -> None:
            draw_fence(canvas, cam, mood, side, x, 0.0, a, b, tall, wood)
    else:

        def draw() -> None:
            draw_wall(canvas, cam, mood, side, x, 0.0, a, b, tall, stone, seed)

    stage.fore.append((b, draw))
