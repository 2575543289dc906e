"""One split of a dataset, as found on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import PriorError
from ..labels.forms import LabelForm
from ..labels.id_maps import CITYSCAPES_TRAIN_IDS
from ..labels.palettes import PALETTES, Palette, get_palette
from ..labels.reading import LabelRules
from .dataset import PairDataset
from .pairs import Pair, Unpaired


@dataclass(frozen=True)
class Layout:
    """One split of a dataset, as found on disk.

    Attributes:
        name: one of LAYOUTS.
        split: name of the split's folder, such as "train2017"; "" if there is none.
        pairs: the images that have a label, in the order of their names.
        unpaired: names of images without a label and of labels without an image.
        palette: the dataset's own, a default; see `with_palette`.
        ignore_ids: class ids that label files may hold and that statistics leave out.
        label_kind: what label files hold, in words: "trainIds", "labelIds", "colors", "ids",
            "ids or colors", "segments", "masks".
        id_map: see `PairDataset`.
        form: see `PairDataset`.

    >>> layout = find_dataset("pairs", folder, split="").with_palette("camvid")
    >>> layout.dataset(size=(32, 16)).name(0)
    'a'
    """

    name: str
    split: str
    pairs: list[Pair]
    unpaired: Unpaired
    palette: Palette
    ignore_ids: tuple[int, ...]
    label_kind: str
    id_map: Mapping[int, int] | None
    form: LabelForm | None = None

    def with_palette(self, palette: Palette | str) -> Layout:
        """The same files read by another palette, with the ids that this one ignores.

        Cityscapes' labelIds are then read as what the palette counts: labelIds or trainIds. Raises
        PriorError for a palette of labelIds where the files hold trainIds.

        >>> layout.with_palette("cityscapes").ignore_ids
        (255,)
        """
        palette = get_palette(palette)
        id_map = self.id_map
        if palette.names == PALETTES["cityscapes_label_ids"].names:
            if self.label_kind == "trainIds":
                raise PriorError(
                    f"palette '{palette.name}' counts Cityscapes' labelIds, and the label files "
                    f"that were found hold trainIds, such as {self.pairs[0].label.name}; choose "
                    "palette cityscapes, or layout pairs with the endings of the files to read"
                )
            if id_map is CITYSCAPES_TRAIN_IDS:
                id_map = {}
        return replace(self, palette=palette, ignore_ids=palette.ignore_ids, id_map=id_map)

    def with_id_map(self, id_map: Mapping[int, int]) -> Layout:
        """The same files, which hold ids that this map makes the palette's; see `PairDataset`.

        >>> layout.with_id_map({1: 0, 2: 1}).label_kind
        'ids'
        """
        return replace(self, id_map=id_map, label_kind="ids")

    @property
    def rules(self) -> LabelRules:
        """How the label files are read.

        >>> layout.rules.palette.name
        'camvid'
        """
        return LabelRules(self.palette, self.ignore_ids, self.id_map, form=self.form)

    def dataset(self, size: tuple[int, int], resize: str = "stretch") -> PairDataset:
        """The pairs, read at `size` (width, height) in pixels; see `PairDataset`.

        >>> layout.dataset((16, 16), resize="crop")[0].image.shape
        torch.Size([16, 16, 3])
        """
        return PairDataset(
            self.pairs,
            size,
            self.palette,
            resize,
            self.ignore_ids,
            self.id_map,
            form=self.form,
        )


@dataclass(frozen=True)
class Found:
    """What a dataset's folders hold: files, and how the labels are read; see `Layout`."""

    pairs: list[Pair]
    unpaired: Unpaired
    palette: Palette
    label_kind: str = "ids"
    id_map: Mapping[int, int] | None = None
    form: LabelForm | None = None

    def layout(self, name: str, split: str, palette: Palette | None) -> Layout:
        """As a layout of this name, read by another palette if one is given."""
        own = self.palette
        layout = Layout(
            name,
            split,
            self.pairs,
            self.unpaired,
            own,
            own.ignore_ids,
            self.label_kind,
            self.id_map,
            self.form,
        )
        return layout if palette is None else layout.with_palette(palette)
