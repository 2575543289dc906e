"""What stands in the street: lamps, signs, signals, bicycles, traffic and people."""

from __future__ import annotations

from .canvas import KERB
from .people import draw_person
from .stage import Stage
from .street import draw_lamp, draw_sign, draw_signal
from .transit import draw_bicycle, draw_bus
from .vehicles import car_footprint, draw_car


def place_furniture(stage: Stage, side: int) -> None:
    """Trees, lamps, signs and bicycles along the kerb."""
    rng, street = stage.rng, stage.street
    x = side * (street.road + (0.75 if not street.verge else street.verge / 2))
    lamp_kind = "lantern" if street.kind in ("old", "park") or rng.random() < 0.25 else "arm"
    tall = float(rng.uniform(3.4, 4.2) if lamp_kind == "lantern" else rng.uniform(6.0, 7.6))
    pitch = 15.0 if lamp_kind == "lantern" else 23.0
    start = float(rng.uniform(6.5, 6.5 + pitch * 0.6)) + (0 if side > 0 else pitch / 2)
    taken: list[float] = []
    z = start
    while z < 95:
        if not stage.at_crossing(z, 1.5):
            _lamp(stage, side, x - side * 0.2, z, lamp_kind, tall)
            taken.append(z)
        z += pitch
    leafy = {"centre": 0.4, "old": 0.15, "houses": 0.5, "avenue": 0.95, "park": 0.6}
    if street.verge or (street.walk > 2.6 and rng.random() < leafy[street.kind]):
        height = float(rng.uniform(5.2, 8.5)) * min(1.0, 0.6 + 0.08 * street.road)
        z, step = float(rng.uniform(7.5, 13)), float(rng.uniform(7.5, 11))
        while z < 90:
            if (
                not stage.at_crossing(z, 2.5)
                and all(abs(z - t) > 1.6 for t in taken)
                and not (street.zebra is not None and street.zebra - 2 < z < street.zebra + 4)
            ):
                which = 0 if rng.random() < 0.85 else 2
                stage.tree(
                    x + side * 0.15,
                    KERB,
                    z,
                    height * float(rng.uniform(0.85, 1.1)),
                    which=which,
                )
                taken.append(z)
            z += step
    for _ in range(int(rng.integers(1, 4))):
        z = float(rng.uniform(7, 34))
        if all(abs(z - t) > 1.3 for t in taken) and not stage.at_crossing(z, 0.5):
            kind = str(rng.choice(("stop", "yield", "limit", "blue", "park", "warn")))
            tall_sign = float(rng.uniform(2.1, 2.5))
            _sign(stage, x - side * 0.25, z, kind, tall_sign)
            taken.append(z)
    if rng.random() < 0.5 and street.walk > 2.2:
        z = float(rng.uniform(7.5, 19))
        if not stage.at_crossing(z + 1, 3):
            angle = float(rng.uniform(0.35, 1.0))
            for i in range(int(rng.integers(1, 5))):
                _bicycle(stage, side, z + i * 0.75, angle)


def _lamp(stage: Stage, side: int, x: float, z: float, kind: str, tall: float) -> None:
    canvas, cam, mood, paint = stage.canvas, stage.cam, stage.mood, stage.iron
    stage.cast(x, z, 0.14, tall)
    stage.fore.append(
        (z, lambda: draw_lamp(canvas, cam, mood, side, x, z, kind, tall, paint, KERB))
    )


def _sign(stage: Stage, x: float, z: float, kind: str, tall: float) -> None:
    canvas, cam, mood = stage.canvas, stage.cam, stage.mood
    stage.cast(x, z, 0.08, tall)
    stage.fore.append((z, lambda: draw_sign(canvas, cam, mood, x, z, kind, KERB, tall)))


def _bicycle(stage: Stage, side: int, z: float, angle: float) -> None:
    canvas, cam, mood, seed = stage.canvas, stage.cam, stage.mood, stage.seed()
    x = side * (stage.street.road + stage.street.verge + 0.55) - (1.05 if side < 0 else 0)
    span = cam.span(z)
    foot = cam.point(x + 0.5, KERB, z + 0.2)
    canvas.press_disc(foot, 0.7 * span, 0.09 * span, 90)
    stage.fore.append((z, lambda: draw_bicycle(canvas, cam, mood, x, KERB, z, angle, seed)))


def place_signals(stage: Stage) -> None:
    """Traffic lights at the crossing."""
    street, rng, canvas, cam, mood = stage.street, stage.rng, stage.canvas, stage.cam, stage.mood
    if street.zebra is None or (not street.cross and rng.random() < 0.5):
        return
    z = street.zebra - 0.6
    state = str(rng.choice(("red", "green", "amber"), p=(0.5, 0.4, 0.1)))
    reach = -2.6 if street.road > 5 and rng.random() < 0.6 else 0.0
    for x, over in ((street.road + 0.45, reach), (-street.road - 0.45, 0.0)):
        stage.cast(x, z, 0.14, 3.2)
        stage.fore.append(
            (z, lambda x=x, over=over: draw_signal(canvas, cam, mood, x, z, state, over, KERB))
        )


def place_traffic(stage: Stage) -> None:
    """Cars in the lanes and at the kerbs, now and then a bus."""
    rng, street = stage.rng, stage.street
    busy = float(rng.uniform(0.15, 0.85))
    for side, parked in zip((-1, 1), street.parking, strict=True):
        if not parked:
            continue
        z = float(rng.uniform(4.5, 9))
        while z < 85:
            seed = stage.seed()
            half, long, _ = car_footprint(False, seed)
            zebra = street.zebra is not None and street.zebra - 6.5 < z < street.zebra + 4.5
            if rng.random() < 0.78 and not zebra and not stage.at_crossing(z + 2, 6.0):
                x = side * (street.road - half - 0.25 - float(rng.uniform(0, 0.12)))
                _car(stage, x, z, side < 0, False, seed)
            z += long + float(rng.uniform(0.9, 2.4))
    lane = street.road - 2.1 * street.parking[1]
    other = street.road - 2.1 * street.parking[0]
    if street.bike_lane:
        lane = min(lane, street.road - 1.8)
    for x, oncoming, room in ((lane / 2, False, lane), (-other / 2, True, other)):
        if room < 2.3:
            continue
        z = float(rng.uniform(9, 24))
        while z < 100:
            if rng.random() < busy:
                if street.zebra is not None and street.zebra - 5.5 < z < street.zebra + 3.6:
                    z = street.zebra + 4.5
                if rng.random() < 0.09 and room > 2.9 and z > 11:
                    _bus(stage, x, z, oncoming)
                    z += 9
                else:
                    _car(
                        stage, x + float(rng.uniform(-0.15, 0.15)), z, oncoming, True, stage.seed()
                    )
            z += float(rng.uniform(7.5, 22))


def _car(stage: Stage, x: float, z: float, oncoming: bool, moving: bool, seed: int) -> None:
    """A car and its shadows."""
    canvas, cam, mood = stage.canvas, stage.cam, stage.mood
    half, long, tall = car_footprint(oncoming, seed)
    stage.cast_box(x - half, x + half, z + 0.1, z + long - 0.1, tall * 0.85)
    for grow, strength in ((0.22, 70), (0.08, 130), (-0.08, 190)):
        canvas.press(cam.ground(x - half - grow, x + half + grow, z - grow, z + long), strength)
    stage.fore.append((z, lambda: draw_car(canvas, cam, mood, x, z, oncoming, moving, seed)))


def _bus(stage: Stage, x: float, z: float, oncoming: bool) -> None:
    """A bus and its shadows."""
    canvas, cam, mood, seed = stage.canvas, stage.cam, stage.mood, stage.seed()
    stage.cast_box(x - 1.25, x + 1.25, z, z + 11, 2.9)
    for grow, strength in ((0.25, 70), (0.08, 150)):
        canvas.press(cam.ground(x - 1.25 - grow, x + 1.25 + grow, z - grow, z + 11), strength)
    stage.fore.append((z, lambda: draw_bus(canvas, cam, mood, x, z, oncoming, seed)))


def place_people(stage: Stage) -> None:
    """People on the pavements and on the crossing."""
    rng, street = stage.rng, stage.street
    crowd = {"centre": 17, "old": 15, "houses": 7, "avenue": 14, "park": 11}[street.kind]
    count = int(rng.integers(crowd // 3, crowd + 1))
    for _ in range(count):
        side = 1 if rng.random() < 0.5 else -1
        near = float(rng.random()) ** 1.7
        z = 6.5 + 44 * near
        if stage.at_crossing(z, 0.3):
            continue
        low = street.road + street.verge + (1.4 if not street.verge else 0.3)
        x = side * float(rng.uniform(low, max(low + 0.2, street.edge - 0.35)))
        across = int(rng.choice((-1, 0, 0, 0, 1)))
        _person(stage, x, KERB, z, across)
        if rng.random() < 0.25:
            _person(
                stage,
                x + (0.62 if abs(x) + 0.62 < street.edge or side < 0 else -0.62),
                KERB,
                z + 0.12,
                across,
            )
    if street.zebra is not None:
        for _ in range(int(rng.integers(0, 5))):
            x = float(rng.uniform(-street.road + 0.4, street.road - 0.4))
            z = street.zebra + float(rng.uniform(0.5, 2.6))
            _person(stage, x, 0.0, z, 1 if rng.random() < 0.5 else -1)


def _person(stage: Stage, x: float, y: float, z: float, across: int) -> None:
    """A person and their shadow."""
    canvas, cam, mood, seed = stage.canvas, stage.cam, stage.mood, stage.seed()
    stage.cast(x, z, 0.42, 1.7)
    span = cam.span(z)
    canvas.press_disc(cam.point(x, y, z), 0.34 * span, 0.07 * span, 120)
    stage.fore.append((z, lambda: draw_person(canvas, cam, mood, x, y, z, across, seed)))
