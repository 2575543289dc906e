"""An evaluation of folders: reads pictures, runs the models, and collects the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets.label_files import check_shape, differs, survey
from ..datasets.picture_files import upright_size
from ..errors import PriorError, listing
from ..labels.findings import check_any_class
from ..labels.forms import LabelForm
from ..labels.palettes import Palette
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally
from .cache import load_features, save_features
from .features import InceptionFeatures, extract_features
from .files import (
    GeneratedImage,
    hash_files,
    match_generated,
    read_generated,
    read_labels,
    read_real,
)
from .intervals import DRAWS
from .measure import (
    distribution_figures,
    diversity_figure,
    figure_differences,
    segmentation_figures,
)
from .pairing import Paired, pair
from .report import Figure
from .segmentation import class_counts, class_iou, confusion_matrices, predict
from .segmenters import Segmenter

# (what is being done, how many) -> a context with a function to call with the number just done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(_what: str, _total: int) -> Iterator[Callable[[int], None]]:
    """No progress shown."""
    yield lambda _done: None


@dataclass(frozen=True)
class RealImages:
    """Features [M, 2048] of real images, and their names."""

    names: list[str]
    features: Tensor


@dataclass
class Evaluation:
    """Generated images and what was found about them.

    Attributes:
        images: with their label maps.
        size: (width, height) of every image.
        figures: in the order in which they were measured.
        skipped: figure -> why it is missing.
        classes: IoU of each class that the labels hold.
        counts: int64 [N, 3, K], what the segmenter saw in each image, see `class_counts`; None
            where nothing was measured against label maps.
        real_images: how many there are.
        rules: how label maps are read; None where nothing was measured against them.
        labels: what the label maps hold.
        other_shape: names of label maps of another shape than the images.
        what: these images are, "generated" or "baseline".
        baseline: what these are compared with: other images of the same label maps, equally many
            of each, measured whenever these are.
        paired: how the two were set against each other.
    """

    images: list[GeneratedImage]
    size: tuple[int, int]
    batch_size: int = 16
    draws: int = DRAWS
    seed: int = 0
    progress: Progress = silent
    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    classes: list[dict[str, Any]] = field(default_factory=list)
    counts: Tensor | None = None
    real_images: int = 0
    rules: LabelRules | None = None
    labels: LabelTally = field(default_factory=LabelTally)
    other_shape: list[str] = field(default_factory=list)
    what: str = "generated"
    baseline: Evaluation | None = None
    paired: Paired | None = None

    @classmethod
    def of_folders(
        cls,
        generated: Path,
        labels: Mapping[str, Path],
        partial: bool = False,
        baseline: Path | None = None,
        **options: Any,
    ) -> Evaluation:
        """Match the files; see `match_generated`, and `pair` where there is a baseline.

        labels: name -> label map.
        `options` are further attributes. Raises PriorError as these do, and if the images of the
        two folders are of different sizes.
        """
        images = match_generated(generated, labels, partial)
        if baseline is None:
            return cls(images, _size(images[0]), **options)
        paired = pair(images, match_generated(baseline, labels, partial, "baseline"))
        size, other_size = _size(paired.generated[0]), _size(paired.baseline[0])
        if size != other_size:
            raise PriorError(
                "generated images have {}x{} pixels, those of the baseline {}x{}; compare images "
                "of one size".format(*size, *other_size)
            )
        other = cls(paired.baseline, size, what="baseline", **options)
        return cls(paired.generated, size, baseline=other, paired=paired, **options)

    @property
    def differences(self) -> list[Figure]:
        """The figures less those of the baseline, paired by label map; none without one."""
        return figure_differences(self.figures, self.baseline.figures) if self.baseline else []

    @property
    def maps(self) -> list[str]:
        """The label map of each image."""
        return [image.map for image in self.images]

    def measure_distribution(
        self,
        inception: InceptionFeatures,
        real: Mapping[str, Path],
        exact: bool = False,
        cache: Path | None = None,
    ) -> None:
        """FID, KID and diversity.

        Args:
            inception: see `load_inception`.
            real: name -> real image; without any FID and KID are skipped.
            exact: refuse real images of another size instead of resizing them, see `read_real`.
            cache: file that keeps the features of the real images, see `load_features`.
        """
        # First: what is wrong with these files should not be found out after the slow part.
        self._check_shapes(real)
        found = None
        if real:
            found = RealImages(sorted(real), self._real_features(inception, real, exact, cache))
        self._measure_distribution(inception, found)
        if self.baseline:
            self.baseline._measure_distribution(inception, found)

    def _measure_distribution(self, inception: InceptionFeatures, real: RealImages | None) -> None:
        images = (read_generated(image.image, self.size, self.what) for image in self.images)
        features = self._features(inception, images, len(self.images), f"{self.what} images")
        self.real_images = len(real.names) if real else 0
        if real is None:
            self.skipped |= dict.fromkeys(("FID", "KID"), "no --real images to compare with")
        elif min(len(real.names), len(features)) < 2:
            self.skipped |= dict.fromkeys(("FID", "KID"), "fewer than two images")
        else:
            self.figures += distribution_figures(
                features, self.maps, real.features, real.names, self.seed
            )
        diversity = diversity_figure(features, self.maps, self.draws, self.seed)
        if isinstance(diversity, str):
            self.skipped["diversity"] = diversity
        else:
            self.figures.append(diversity)

    def survey_labels(
        self,
        palette: Palette,
        ignore_ids: Sequence[int] | None = None,
        id_map: Mapping[int, int] | None = None,
        form: LabelForm | None = None,
    ) -> None:
        """Look through the label maps, to say what is wrong with them before a model is loaded.

        Args:
            palette: of the label maps.
            ignore_ids: classes whose pixels do not count; None takes the palette's.
            id_map: value in the files -> class id.
            form: reads label maps that are no pictures of ids or colors.

        Raises PriorError as `survey` does, and if no label map holds a class that counts.
        """
        ignored = palette.ignore_ids if ignore_ids is None else tuple(ignore_ids)
        files = sorted({(image.label.name, image.label) for image in self.images})
        self.rules, tally = survey(files, LabelRules(palette, ignored, id_map, form=form))
        if tally.files == len(files):
            check_any_class(tally, palette, ignored, "--ignore")

    def measure_segmentation(
        self,
        segmenter: Segmenter,
        seen: Callable[[GeneratedImage, Tensor], None] = lambda _image, _ids: None,
    ) -> None:
        """mIoU and pixel accuracy, of label maps that were surveyed.

        Args:
            segmenter: see `load_segmenter`.
            seen: is given each image (not those of the baseline) and the class ids int64 [h, w]
                that the model sees in it, at the resolution of the label map's part.

        Raises PriorError if label maps hold classes that the model does not score.
        """
        rules = self.rules
        assert rules is not None, "the label maps were surveyed"
        if self.baseline:
            # Of the same label maps.
            self.baseline.rules = rules
            self.baseline.measure_segmentation(segmenter)
        counts, names = [], set()
        with self.progress(f"segmentation, {self.what}", len(self.images)) as done:
            for start in range(0, len(self.images), self.batch_size):
                batch = self.images[start : start + self.batch_size]
                pixels = [read_generated(i.image, self.size, self.what) for i in batch]
                for image, scores in zip(batch, segmenter(torch.stack(pixels)), strict=True):
                    reading, size = read_labels(image.label, self.size, rules, image.mirrored)
                    self.labels += reading.tally
                    if differs(size, self.size):
                        names.add(image.map)
                    counted, predicted = _counts(
                        scores, reading.ids, segmenter, rules.ignore_ids, image.label.name
                    )
                    counts.append(counted)
                    seen(image, predicted)
                done(len(batch))
        self.other_shape = sorted(names)
        if not any(int(c[1].sum()) for c in counts):
            raise PriorError("no pixel of the label maps counts; are all classes ignored?")
        self.counts = stacked = torch.stack(counts)
        self.figures += segmentation_figures(stacked, self.maps, self.draws, self.seed)
        self.classes = _classes(stacked.sum(0), segmenter, rules.palette)

    def _check_shapes(self, real: Mapping[str, Path]) -> None:
        """Raise PriorError for a real image and a label map of one name but of two shapes."""
        for image in self.images:
            if (path := real.get(image.map)) is None:
                continue
            size = upright_size(image.label, "label map")
            check_shape(
                image.label.name, size, f"real image {path.name}", upright_size(path, "real image")
            )

    def _real_features(
        self,
        inception: InceptionFeatures,
        files: Mapping[str, Path],
        exact: bool,
        cache: Path | None,
    ) -> Tensor:
        """Features [M, 2048] of the real images by ascending name."""
        names = sorted(files)
        key = {}
        if cache is not None:
            width, height = self.size
            # An exact read of images of the right size gives the same as a resizing one; but it
            # must refuse the others, which the cache could not tell.
            key = {
                "images": hash_files(files),
                "extractor": ",".join(inception.files.sha256.values()),
                "size": f"{width}x{height}{' exact' if exact else ''}",
            }
            if (features := load_features(cache, key)) is not None:
                return features
        images = (read_real(files[name], self.size, exact) for name in names)
        features = self._features(inception, images, len(names), "real images")
        if cache is not None:
            save_features(cache, key, features)
        return features

    def _features(
        self, inception: InceptionFeatures, images: Iterator[Tensor], total: int, what: str
    ) -> Tensor:
        with self.progress(what, total) as done:
            return extract_features(images, inception, self.batch_size, done)


def _size(image: GeneratedImage) -> tuple[int, int]:
    """Width and height."""
    height, width = read_generated(image.image).shape[:2]
    return width, height


def _counts(
    scores: Tensor, labels: Tensor, segmenter: Segmenter, ignored: Sequence[int], name: str
) -> tuple[Tensor, Tensor]:
    """int64 [3, K] of one image, and predicted ids [H, W]; scores [K, h, w], labels [H, W]."""
    first, num_classes = segmenter.first_class, len(scores)
    labels = torch.where(torch.isin(labels, torch.tensor(ignored, dtype=torch.int64)), -1, labels)
    present = labels[labels >= 0].unique().tolist()
    check_scored(present, segmenter, num_classes, f"label map {name} holds")
    labels = torch.where(labels < 0, -1, labels - first)
    predicted = predict(scores[None], labels.shape)
    confusion = confusion_matrices(predicted, labels[None], num_classes)
    return class_counts(confusion)[0], predicted[0] + first


def check_scored(
    class_ids: Iterable[int], segmenter: Segmenter, num_classes: int, what: str
) -> None:
    """Raise PriorError if a model of so many scores has none for a class that counts.

    what: the beginning of the text, such as "label map a.png holds".
    """
    first = segmenter.first_class
    strange = [str(i) for i in class_ids if not first <= i < first + num_classes]
    if strange:
        raise PriorError(
            f"{what} class ids {listing(strange)}, but {segmenter.files.name} "
            f"scores {first} to {first + num_classes - 1}; add them to --ignore, or set "
            "--first-class, the id of its first score"
        )


def _classes(total: Tensor, segmenter: Segmenter, palette: Palette) -> list[dict[str, Any]]:
    iou = class_iou(total).tolist()
    rows = []
    for index in total[1].nonzero().flatten().tolist():
        class_id = index + segmenter.first_class
        rows.append(
            {
                "id": class_id,
                "name": palette.names.get(class_id, ""),
                "model_name": segmenter.names.get(class_id, ""),
                "iou": iou[index],
                "pixels": int(total[1][index]),
            }
        )
    return rows
