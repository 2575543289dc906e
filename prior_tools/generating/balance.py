"""How many images of each label map make classes more even.

Label maps are drawn one after the other, each time the one whose classes are lacking most in what
was drawn so far. That is a greedy ascent of sum(w log g), which is greatest where the shares g of
the classes in what is drawn are the wanted ones w, or as near as these label maps come to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..datasets.label_files import read_label_file
from ..errors import PriorError
from ..labels.class_matching import class_named, described
from ..labels.palettes import Palette
from .jobs import Job
from .label_maps import LabelMap

SQUARE_ROOTS = "sqrt"

# No label map is drawn more often than so many times the mean: its images would be too much alike.
_MOST = 4
# What a draw of a label map costs its next ones, so that label maps that are alike take turns.
_TURNS = 0.02
# Of many label maps those that are wanted most are drawn together, so many times in each round.
_STEPS = 100


def class_shares(label_maps: Sequence[LabelMap]) -> tuple[list[int], np.ndarray]:
    """Class ids [C] that occur, and float [N, C] their shares of the pixels of each label map.

    Ignored classes are left out. The label maps have rules. Raises PriorError as `read_label_file`
    does, and where there is no class at all.
    """
    found: dict[str, dict[int, float]] = {}
    for one in label_maps:
        rules = one.rules
        assert rules is not None, "classes are known by a palette"
        # A mirrored one has the classes of the other.
        if one.sha256 not in found:
            tally = read_label_file(one.path, rules, one.name).tally
            found[one.sha256] = {
                i: tally.share(n) for i, n in tally.classes.items() if i not in rules.ignore_ids
            }
    ids = sorted({class_id for shares in found.values() for class_id in shares})
    column = {class_id: index for index, class_id in enumerate(ids)}
    table = np.zeros((len(label_maps), len(ids)))
    for row, one in enumerate(label_maps):
        for class_id, share in found[one.sha256].items():
            table[row, column[class_id]] = share
    if not ids:
        raise PriorError("--balance: the label maps hold no class that is not ignored")
    return ids, table


def wanted_shares(
    text: str, palette: Palette, ids: Sequence[int], shares: np.ndarray
) -> np.ndarray:
    """float [C], summing to 1: what share of the labelled pixels each class is to have.

    Args:
        text: "sqrt" for square roots of the shares that the classes have, scaled to sum to 1; or
            CLASS=SHARE, one or several: the others keep their proportions in what is left.
        palette: of the label maps.
        ids, shares: see `class_shares`.

    Raises PriorError for classes that the palette or the label maps lack, and for shares that are
    none.
    """
    now = _scaled(shares.sum(0))
    if text.strip() == SQUARE_ROOTS:
        return _scaled(np.sqrt(now))
    given = _given(text, palette, ids)
    rest = np.array([class_id not in given for class_id in ids])
    left = 1 - sum(given.values())
    if left < -1e-9 or (left > 1e-9 and not rest.any()):
        raise PriorError(
            f"the shares of --balance sum to {1 - left:g}; expected "
            + ("at most 1" if rest.any() else "1, since they are of all classes")
        )
    wanted: np.ndarray = np.where(rest, now, 0.0)
    if rest.any():
        wanted *= max(left, 0.0) / wanted.sum()
    for class_id, share in given.items():
        wanted[ids.index(class_id)] = share
    return wanted


def balanced_counts(shares: np.ndarray, wanted: np.ndarray, total: int) -> np.ndarray:
    """int [N]: of each label map at least one image, `total` in all; see the module.

    A larger total only adds. shares [N, C] and wanted [C]: see above.
    """
    number = len(shares)
    counts = np.ones(number, np.int64)
    drawn = shares.sum(0)
    weight = shares.sum(1)
    made = number
    while made < total:
        have = drawn / drawn.sum()
        gain = shares @ (wanted / have) - weight - _TURNS * counts * (number / made)
        gain[(counts >= max(2, _MOST * made / number)) | (weight == 0)] = -np.inf
        best = np.argsort(-gain, kind="stable")[: max(1, number // _STEPS)][: total - made]
        best = best[np.isfinite(gain[best])]
        if not len(best):
            best = np.array([counts.argmin()])
        counts[best] += 1
        drawn += shares[best].sum(0)
        made += len(best)
    return counts


@dataclass(frozen=True)
class Balance:
    """Wanted shares of classes, and the label maps to come near them with.

    Attributes:
        label_maps: N, with rules.
        ids, shares: see `class_shares`.
        wanted: see `wanted_shares`.
    """

    label_maps: Sequence[LabelMap]
    ids: list[int]
    shares: np.ndarray
    wanted: np.ndarray

    @classmethod
    def of(cls, text: str, label_maps: Sequence[LabelMap], palette: Palette) -> Balance:
        """By the text of `wanted_shares`; raises PriorError as that and `class_shares` do."""
        ids, shares = class_shares(label_maps)
        return cls(label_maps, ids, shares, wanted_shares(text, palette, ids, shares))

    def counts(self, per_map: int) -> dict[str, int]:
        """How many images of each label map by its stem, `per_map` in the mean."""
        counts = balanced_counts(self.shares, self.wanted, per_map * len(self.label_maps))
        return {m.stem: int(n) for m, n in zip(self.label_maps, counts, strict=True)}

    def table(self, jobs: Iterable[Job], done: Collection[str]) -> list[dict[str, float | int]]:
        """For each class its shares in the label maps, wanted, and got in images that are done."""
        found = Counter(job.label_maps[0].stem for job in jobs if job.files[0] in done)
        got = np.array([found[one.stem] for one in self.label_maps]) @ self.shares
        columns = (_scaled(self.shares.sum(0)), self.wanted, _scaled(got))
        return [
            {"id": i, "in_label_maps": float(a), "wanted": float(b), "got": float(c)}
            for i, a, b, c in zip(self.ids, *columns, strict=True)
        ]


def _scaled(shares: np.ndarray) -> np.ndarray:
    """To sum to 1, where there is anything."""
    scaled: np.ndarray = shares / (shares.sum() or 1)
    return scaled


def _given(text: str, palette: Palette, ids: Sequence[int]) -> Mapping[int, float]:
    given: dict[int, float] = {}
    for entry in text.split(","):
        name, equals, value = (part.strip() for part in entry.rpartition("="))
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not equals or not 0 < share <= 1:
            raise PriorError(
                f"--balance holds {entry.strip()!r}; expected {SQUARE_ROOTS}, or CLASS=SHARE such "
                "as car=0.2 with a share above 0 and up to 1"
            )
        class_id = class_named(name, palette)
        if class_id in given:
            raise PriorError(f"--balance names {described(class_id, palette)} twice")
        if class_id not in ids:
            raise PriorError(
                f"--balance names {described(class_id, palette)}, which no label map holds, or "
                "which is ignored; leave it out"
            )
        given[class_id] = share
    return given
