"""What a person should know of the label files that were read, in words."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import PriorError, counted, listing
from .colors import shown, what_fits
from .palettes import Palette
from .reading import WORTH_SAYING
from .tally import EITHER, IDS_IN_CHANNEL, IDS_IN_GREY, LOSSY, SHIFTED, LabelTally

# Ignored ids that cover more than this may be what the person is after.
_MUCH_IGNORED = 1 / 3


def findings(
    tally: LabelTally, palette: Palette, ignored: Collection[int] = (), option: str = "ignore_ids"
) -> list[tuple[str, str]]:
    """(kind, text) of all that is worth saying.

    Args:
        tally: of all label files or images.
        palette: that they were read by.
        ignored: class ids that do not count.
        option: what names them, for a message; "" where nothing does.
    """
    said = [_unknown(tally, palette), _near(tally, palette), _ignored(tally, ignored, option)]
    said += [
        (kind, _filled(text, tally.notes[note], tally.files, palette))
        for note, (kind, text) in _NOTES.items()
        if tally.notes[note]
    ]
    return [each for each in said if each is not None]


def _filled(text: str, number: int, files: int, palette: Palette) -> str:
    """A note on some of the files, without its reason where that is of colors of no palette."""
    if palette.is_grey:
        text = text.partition(":")[0]
    one = number == 1
    return text.format(
        some=f"{number} of {counted(files, 'label map')}",
        are="is" if one else "are",
        have="has" if one else "have",
        were="was" if one else "were",
        palette=palette.name,
    )


def check_any_class(
    tally: LabelTally, palette: Palette, ignored: Collection[int], option: str = "ignore_ids"
) -> None:
    """Raise PriorError if no pixel is of a class that counts."""
    if tally.labelled(ignored):
        return
    found = [f"{tally.share(tally.void):.1%} say no class"] if tally.void else []
    if tally.unknown:
        found.append(f"{tally.share(tally.unknown):.1%} are of unknown colors")
    found += [f"{tally.share(n):.1%} are of the ignored class {i}" for i, n in _out(tally, ignored)]
    raise PriorError(
        f"no pixel of {counted(tally.files, 'label file')} is of a class: of them "
        f"{listing(found, 4)}. Choose the palette that they were drawn with (now "
        f"{palette.name}), or the ids to ignore in {option}"
    )


def _out(tally: LabelTally, ignored: Collection[int]) -> list[tuple[int, int]]:
    return [(i, n) for i, n in tally.classes.most_common() if i in ignored]


def _unknown(tally: LabelTally, palette: Palette) -> tuple[str, str] | None:
    share = tally.share(tally.unknown)
    if share <= WORTH_SAYING:
        return None
    return (
        "unknown colors",
        f"{share:.1%} of the label pixels are in no color of palette '{palette.name}' and count as "
        f"unknown: {shown(tally.colors, tally.pixels)}; {what_fits(tally.colors, palette)}",
    )


def _near(tally: LabelTally, palette: Palette) -> tuple[str, str] | None:
    share = tally.share(tally.near)
    if share <= WORTH_SAYING or tally.notes[LOSSY]:
        return None
    return (
        "inexact colors",
        f"{share:.1%} of the label pixels are only near a color of palette '{palette.name}', and "
        "were taken for it; check that it is the palette they were drawn with, and avoid JPEG and "
        "smooth resizing of label maps",
    )


def _ignored(tally: LabelTally, ignored: Collection[int], option: str) -> tuple[str, str] | None:
    out = _out(tally, ignored)
    share = tally.share(sum(n for _, n in out))
    kept = [i for i in tally.classes if i not in ignored]
    if not option or not out or not (share > _MUCH_IGNORED or len(kept) == 1):
        return None
    return (
        "ignored labels",
        f"{share:.1%} of the label pixels are of ids that are ignored "
        f"({listing([str(i) for i, _ in out], 5)}); classes that count are "
        f"{listing([str(i) for i in sorted(kept)], 5) or 'none'}. If an ignored id is a class, "
        f"change which are ignored by {option}",
    )


_NOTES = {
    LOSSY: (
        "lossy label maps",
        "{some} {are} lossy (JPEG, lossy WebP): colors near those of "
        "palette '{palette}' were taken for them. Save label maps as PNG",
    ),
    IDS_IN_GREY: (
        "ids in grey pictures",
        "{some} {are} grey in three channels, and {were} read as class ids: "
        "not all levels are colors of palette '{palette}'",
    ),
    IDS_IN_CHANNEL: (
        "ids in one channel",
        "{some} {have} one channel that is not black, and it was read as class ids",
    ),
    EITHER: (
        "grey pictures that could be ids or colors",
        "{some} could be class ids as well as colors of palette '{palette}', and {were} read as "
        "the other label maps are, or as colors where none tells",
    ),
    SHIFTED: (
        "inexact grey levels",
        "{some} {have} the inexact levels that Load Image of newer ComfyUI makes of grey files, "
        "where ids from 128 on come out one lower; that was mended here, but not for the "
        "ControlNet. Load the file by Load SCP Label Map instead",
    ),
}
