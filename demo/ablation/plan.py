"""Which images the ablation makes: rows of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from demo.start_graph import Settings, Start
from prior_tools.draw import REGION_STRENGTH

MU = 0.8


def paper(prior: str, mu: float, deviation: float = 1.0) -> Start:
    """A start as in the paper, of white noise."""
    return Start(prior, mu, deviation, "white")


def grain(strength: float, prior: str = "joint", mu: float = MU) -> Start:
    """A start of the dataset's own grain, of such a strength of its regions."""
    return Start(prior, mu, strength / REGION_STRENGTH, "grain")


FULL = paper("normal", 1.0)
JOINT = paper("joint", MU)
MEAN = paper("joint", MU, 0.0)
GRAIN = grain(REGION_STRENGTH)
PRIORS = ("spatial", "categorical", "joint")
SAMPLERS = ("dpmpp_2m", "uni_pc")
GUIDANCES = (1.0, 4.0)
CURVE = (0.5, 0.6, 0.7, MU, 0.9, 1.0)
# Strong guidance, as users have it who paint without a prior.
STRONG = max(GUIDANCES)
IMAGES_OF_PRIOR = (10, 30, 100)
# Of the model's own, that a prior is collected from in place of the dataset's.
OWN_IMAGES = 100
# Of regions, with what they leave in proportion: what the strength of grain is chosen from.
STRENGTHS = (1.0, 1.5, 2.0)
TABLES = (
    "main",
    "noise",
    "mu",
    "sampler",
    "guidance",
    "control",
    "schedule",
    "images",
    "itself",
    "tuned",
    "learned",
)
CHOICE = "choice"
# A start that is no mode of Joint Prior Noise: draws of a net, see `learned`.
LEARNED = "learned"


@dataclass(frozen=True)
class Row:
    """One line of a table: a way to sample, for some label maps and seeds.

    Attributes:
        table: one of TABLES, or CHOICE.
        name: of the line.
        start, settings: how to sample; each image has a seed of its own.
        maps: how many of the label maps.
        per_map: images of each.
        model: "own" for the ControlNet trained on the prior's dataset, "general" for one that was
            not, "sd" for models of Stable Diffusion's own noise schedule, "tuned" and "started" for
            the own one trained on, with batches as before and with some from the prior's draws.
        images: how many images the prior was collected from; 0 for all.
        pooled: whether the prior's moments are the pooled ones in place of the paper's.
        of_own: whether the prior was collected from images that the model made at the stock start,
            in place of the dataset's.
    """

    table: str
    name: str
    start: Start
    settings: Settings
    maps: int
    per_map: int
    model: str = "own"
    images: int = 0
    pooled: bool = False
    of_own: bool = False

    @property
    def key(self) -> str:
        """A folder's name that tells all that decides an image but label map and seed."""
        start, settings = self.start, self.settings
        return (
            f"{start.prior}-mu{start.mu:g}-d{start.deviation:g}-"
            f"{start.noise}-{settings.sampler}-"
            f"{settings.scheduler}-{settings.steps}-cfg{settings.cfg:g}-{self.model}-{self.images}"
            f"{'-pooled' if self.pooled else ''}{'-of_own' if self.of_own else ''}"
        )

    @property
    def cost(self) -> str:
        """What decides how long an image takes, of all that rows differ in."""
        drawn = "drawn" if self.start.prior != "normal" else "empty"
        settings = self.settings
        return (
            f"{drawn}-mu{self.start.mu:g}-{settings.sampler}-{settings.scheduler}-"
            f"{settings.steps}-cfg{settings.cfg:g}"
        )


def rows(maps: int, per_map: int, of_noise: int, few: int, settings: Settings) -> list[Row]:
    """The plan.

    Args:
        maps, per_map: label maps of the main table, and images of each.
        of_noise: images of each label map in the table of noise.
        few: label maps of all other rows, with one image each.
        settings: sampler, steps and guidance where a row says nothing else.
    """
    stock, joint, mean = "normal from sigma_max", f"joint at {MU:g} T", "mean alone"
    main = [
        (stock, FULL),
        *((prior, paper(prior, MU)) for prior in PRIORS),
        (f"joint, {mean}", MEAN),
        ("joint, grain", GRAIN),
    ]
    plan = [Row("main", name, start, settings, maps, per_map) for name, start in main]
    of_kinds = [
        (stock, FULL, False),
        ("joint, white (the paper's)", JOINT, False),
        ("joint, grain", GRAIN, False),
        ("joint, pooled moments, grain", GRAIN, True),
    ]
    for name, start, pooled in of_kinds:
        plan.append(Row("noise", name, start, settings, maps, of_noise, pooled=pooled))

    def add(table: str, name: str, start: Start, changed: Settings = settings, **more) -> None:  # noqa: ANN003
        plan.append(Row(table, name, start, changed, few, 1, **more))

    # Each table holds the stock start that it is compared with; equal rows are made once.
    for mu in CURVE:
        for prior in ("normal", "joint"):
            add("mu", f"{prior} {f'at {mu:g} T' if mu < 1 else 'from sigma_max'}", paper(prior, mu))
    for start, name in ((FULL, stock), (JOINT, joint)):
        for sampler in SAMPLERS:
            add("sampler", f"{sampler}: {name}", start, replace(settings, sampler=sampler))
        for cfg in GUIDANCES:
            add("guidance", f"{cfg:g}: {name}", start, replace(settings, cfg=cfg))
        add("control", name, start, model="general")
        add("schedule", name, start, model="sd")
    strong = replace(settings, cfg=STRONG)
    add("guidance", f"{strong.cfg:g}: {joint}, grain", GRAIN, strong)
    add("guidance", f"{strong.cfg:g}: {joint}, pooled moments, grain", GRAIN, strong, pooled=True)
    add("control", f"{joint}, {mean}", MEAN, model="general")
    add("control", f"{joint}, grain", GRAIN, model="general")
    add("schedule", f"{joint}, {mean}", MEAN, model="sd")
    add("schedule", f"normal at {MU:g} T", paper("normal", MU), model="sd")
    add("schedule", "joint from sigma_max", paper("joint", 1.0), model="sd")
    of_own = f"of {OWN_IMAGES} own images"
    for model, images in (("own", per_map), ("general", 1)):
        what = "" if model == "own" else "other ControlNet: "
        for name, start, own in [
            (stock, FULL, False),
            ("joint of the dataset", JOINT, False),
            (f"joint {of_own}", JOINT, True),
            (f"joint {of_own}, grain", GRAIN, True),
        ]:
            row = Row("itself", f"{what}{name}", start, settings, few, images, model, of_own=own)
            plan.append(row)
    trained_on = (("own", "as it is"), ("tuned", "trained on"), ("started", "from draws too"))
    for model, what in trained_on:
        for start, name in ((FULL, stock), (GRAIN, "joint, grain")):
            row = Row("tuned", f"{what}: {name}", start, settings, few, per_map, model)
            plan.append(row)
    kinds = [paper(LEARNED, MU, 0.0), paper(LEARNED, MU), grain(REGION_STRENGTH, LEARNED)]
    names = [f"net, {mean}", "net, white", "net, grain"]
    for name, start in [(stock, FULL), ("joint, grain", GRAIN), *zip(names, kinds, strict=True)]:
        plan.append(Row("learned", name, start, settings, few, per_map))
    add("images", stock, FULL)
    for count in IMAGES_OF_PRIOR:
        add("images", f"joint of {count} images", JOINT, images=count)
    add("images", "joint of all images", JOINT)
    return plan


def choices(maps: int, per_map: int, settings: Settings) -> list[Row]:
    """What the strength of grain and the moments are chosen from, on label maps of their own."""
    tried = [
        ("normal from sigma_max", FULL, False),
        ("joint, white (the paper's)", JOINT, False),
        ("joint, mean alone", MEAN, False),
        *((f"joint, grain at {strength:g}", grain(strength), False) for strength in STRENGTHS),
        ("joint, pooled moments, white", JOINT, True),
        (f"joint, pooled moments, grain at {REGION_STRENGTH:g}", GRAIN, True),
    ]
    return [
        Row(CHOICE, name, start, settings, maps, per_map, pooled=pooled)
        for name, start, pooled in tried
    ]


def baseline_of(row: Row, plan: Sequence[Row]) -> Row | None:
    """The stock start of the row's table, at its settings and of its model; None for itself."""
    for other in plan:
        same = (other.table, other.settings, other.model) == (row.table, row.settings, row.model)
        if same and other.start == FULL and other is not row:
            return other
    return None
