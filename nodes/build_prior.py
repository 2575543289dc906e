"""Build SCP Prior."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from comfy_api.v0_0_2 import io
from torch import Tensor

from ..prior_tools import BuildOptions, Layout, Palette, Prior, PriorError, build_prior
from ..prior_tools.building.options import ON_ERROR
from ..prior_tools.datasets.dataset import PairDataset
from ..prior_tools.datasets.images import (
    ImageDataset,
    ImageFile,
    find_images,
    label_folders_among,
)
from ..prior_tools.datasets.label_files import pictures_of
from ..prior_tools.datasets.layouts import layout_of_folders, recognise_dataset
from ..prior_tools.datasets.pairs import choose_subset, same_files
from ..prior_tools.errors import listing
from ..prior_tools.labels.geometry import LABEL_METHODS, RESIZE_POLICIES
from ..prior_tools.labels.ids import parse_ids
from ..prior_tools.labels.tally import LabelTally
from ..prior_tools.latent_formats import AUTO, CHOICES, choose_format
from ..prior_tools.picture import describe_prior
from .host_folders import dataset_folder, inside_roots
from .host_models import (
    keeps_warnings,
    notify,
    progress_bar,
    raise_if_cancelled,
    vae_decode,
    vae_encoder,
    vae_fingerprint,
    vae_latents,
)
from .label_images import tell_labels
from .palettes import NO_LABELS, palette_named, palette_names, palette_state
from .saving import check_new, preview_of_saved, save_new
from .schema import (
    ADVANCED,
    CATEGORY,
    MAX_SEED,
    PriorType,
    check_choices,
    found_by,
    overwrite_input,
)


class BuildPrior(io.ComfyNode):
    """Collects the priors of a folder of images and label maps in one pass."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_BuildPrior",
            display_name="Build SCP Prior",
            category=CATEGORY,
            **found_by("noise prior", "dataset", "label maps"),
            description="Makes a prior from a folder of images and a folder of their label maps. "
            "Encodes every image once, and saves the mean and deviation of the latents per place, "
            "per class, and per class and place under models/scp_priors. A few dozen pairs are "
            "enough to try it, a few thousand are better. Without label maps (palette none) the "
            "prior keeps the images' light and colors.",
            inputs=[
                io.Vae.Input(
                    "vae",
                    tooltip="The VAE of the model that will sample. A prior belongs to one VAE.",
                ),
                io.String.Input(
                    "images",
                    default="",
                    placeholder="my_dataset/images",
                    tooltip="Folder of images, inside ComfyUI's input folder or a folder "
                    "registered as scp_datasets in extra_model_paths.yaml; name [output] is one in "
                    "ComfyUI's output folder. Subfolders are read as well. With labels empty: the "
                    "folder of a whole known dataset, such as Cityscapes.",
                ),
                io.String.Input(
                    "labels",
                    default="",
                    placeholder="my_dataset/labels",
                    tooltip="Folder of label maps with the same file names as the images: "
                    "pictures in the palette's colors, or pictures of one channel whose values "
                    "are class ids. Leave it empty where palette is none.",
                ),
                io.Combo.Input(
                    "palette",
                    options=_palettes(),
                    default="ade20k",
                    tooltip="The dataset's classes and their colors: built-in, or a file in "
                    "models/scp_palettes. cityscapes has trainIds. grey_ids takes any class ids "
                    "and has no colors. none (images alone), the last entry: there are no label "
                    "maps, and the prior is for mode spatial only.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=16,
                    max=8192,
                    step=8,
                    tooltip="Images are resized to this width, in pixels. Best is the size that "
                    "you will sample at.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=16,
                    max=8192,
                    step=8,
                    tooltip="Images are resized to this height, in pixels.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=4,
                    min=1,
                    max=256,
                    tooltip="How many images the VAE encodes at once.",
                ),
                io.Int.Input(
                    "max_images",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="0 takes all images, another number a random subset of that many.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    # Unless told not to, the frontend rolls a new seed for each run, and so every
                    # run would build the prior again.
                    control_after_generate=False,
                    **ADVANCED,
                    tooltip="Decides which images the random subset holds.",
                ),
                io.Combo.Input(
                    "latent_format",
                    options=list(CHOICES),
                    default=AUTO,
                    tooltip="The family of the model that will sample; the sampler refuses a "
                    "prior of another one. auto finds it by the VAE; where several families have "
                    "such a VAE, it stops and names them: sd15 (Stable Diffusion 1.x, 2.x) or "
                    "sdxl, sd3 or flux. Qwen-Image is wan21.",
                ),
                io.String.Input(
                    "filename",
                    default="my_prior",
                    tooltip="Saved under models/scp_priors; may name a subfolder.",
                ),
                io.Combo.Input(
                    "resize",
                    options=list(RESIZE_POLICIES),
                    default="stretch",
                    optional=True,
                    tooltip="stretch changes the aspect ratio; crop keeps it and cuts the edges "
                    "off.",
                ),
                io.Combo.Input(
                    "label_method",
                    options=list(LABEL_METHODS),
                    default="majority",
                    optional=True,
                    **ADVANCED,
                    tooltip="The class of a latent cell: that of most of its pixels, or that of "
                    "its corner pixel as in the published toolkit.",
                ),
                io.String.Input(
                    "ignore_ids",
                    default="",
                    optional=True,
                    **ADVANCED,
                    tooltip="Class ids to leave out of the class statistics, such as 0, 255. "
                    "Empty: the palette's own (ade20k 0, camvid 11, most others 255). none: keep "
                    "all.",
                ),
                io.Combo.Input(
                    "on_error",
                    options=list(ON_ERROR),
                    default="stop",
                    optional=True,
                    tooltip="What to do with files that cannot be read or have no partner: stop "
                    "names the first one, skip leaves them out.",
                ),
                overwrite_input(),
                io.String.Input(
                    "split",
                    default="train",
                    optional=True,
                    **ADVANCED,
                    tooltip="Which part of a whole dataset, where labels is empty: train, val, or "
                    "the name of the split's folder or list.",
                ),
            ],
            outputs=[
                PriorType.Output("prior", display_name="prior", tooltip="The prior, also saved.")
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        palette: str | None,
        latent_format: str | None,
        resize: str | None = None,
        label_method: str | None = None,
        on_error: str | None = None,
    ) -> bool | str:
        return check_choices(
            ("palette", palette, _palettes()),
            ("latent_format", latent_format, CHOICES),
            ("resize", resize, RESIZE_POLICIES),
            ("label_method", label_method, LABEL_METHODS),
            ("on_error", on_error, ON_ERROR),
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        images: str | None = None,
        labels: str | None = None,
        palette: str | None = None,
        split: str = "train",
        **_: object,
    ) -> str:
        """Changes when a file of the dataset or the palette does: the prior is then built again."""
        digest = hashlib.sha256(palette_state(palette).encode(errors="surrogateescape"))
        try:
            if palette == NO_LABELS:
                files = [image.path for image in _images(images or "")]
            else:
                layout = _layout(images or "", labels or "", palette_named(palette or ""), split)
                files = [
                    path
                    for pair in layout.pairs
                    for path in (pair.image, *pictures_of(pair.label, layout.rules))
                ]
                if layout.form:
                    for pair in layout.pairs:
                        digest.update(layout.form.told(pair.label).encode())
            for path in files:
                state = path.stat()
                line = f"{path} {state.st_mtime_ns} {state.st_size}\n"
                # Names on Linux are bytes, which need not be text.
                digest.update(line.encode(errors="surrogateescape"))
        except (PriorError, OSError) as error:
            digest.update(str(error).encode(errors="surrogateescape"))
        return digest.hexdigest()

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        vae: Any,
        images: str,
        labels: str,
        palette: str,
        width: int,
        height: int,
        batch_size: int,
        max_images: int,
        seed: int,
        latent_format: str,
        filename: str,
        resize: str = "stretch",
        label_method: str = "majority",
        ignore_ids: str = "",
        on_error: str = "stop",
        overwrite: bool = False,
        split: str = "train",
    ) -> io.NodeOutput:
        # All that can be wrong without reading a picture is said before the first one is encoded.
        path = check_new(filename, overwrite)
        found = vae_latents(vae)
        latent_format, factor = choose_format(latent_format, found), found.downscale_factor
        if width % factor or height % factor:
            raise PriorError(
                f"{width}x{height} pixels are not whole latent cells; expected multiples of "
                f"{factor} for this VAE"
            )
        name, unpaired = images.strip(), None
        dataset: ImageDataset | PairDataset
        if palette == NO_LABELS:
            _check_no_labels(labels, ignore_ids)
            dataset = ImageDataset(_images(images), (width, height), resize)
            if among := label_folders_among(dataset.images):
                notify(among, "pictures that may be label maps")
        else:
            layout = _layout(images, labels, palette_named(palette), split)
            unpaired = layout.unpaired
            if not labels.strip():
                name = f"{name} {layout.split}".strip()
            if unpaired and on_error == "stop":
                raise PriorError(f"{unpaired}. To leave such files out, set on_error to skip")
            if ignore_ids.strip():
                layout = replace(layout, ignore_ids=parse_ids(ignore_ids, "ignore_ids"))
            dataset = layout.dataset((width, height), resize)
        dataset = dataset.subset(choose_subset(len(dataset), max_images, seed))

        files = {dataset.name(i): dataset.files(i)[0] for i in range(len(dataset))}
        if linked := same_files(files, "images"):
            notify(linked, "images under several names")
        left_out: list[str] = []
        tallies: list[LabelTally] = []
        show = progress_bar(len(dataset))
        prior = build_prior(
            dataset,
            vae_encoder(vae),
            BuildOptions(factor, label_method, batch_size, on_error),
            progress=lambda done, _total: show(done),
            cancelled=raise_if_cancelled,
            skipped=lambda _name, reason: left_out.append(reason),
            tallied=tallies.append,
            latent_format=latent_format,
            vae=vae_fingerprint(vae),
            dataset_name=name,
        )
        save_new(prior, path, overwrite)
        if unpaired:
            left_out.append(str(unpaired))
        if left_out:
            text = f"left out: {listing(left_out, 5)}"
            notify(text, "files left out")
        if isinstance(dataset, PairDataset):
            for tally in tallies:
                tell_labels(tally, dataset.rules.palette, dataset.ignored, "ignore_ids")
        preview = preview_of_saved(cls, path, lambda: _picture(prior, vae, path.stem))
        return io.NodeOutput(prior, ui=preview)


def _palettes() -> list[str]:
    return [*palette_names(), NO_LABELS]


def _images(images: str) -> list[ImageFile]:
    """See `find_images`; PriorError if something of the folder lies outside the allowed roots."""
    return find_images(dataset_folder(images, "image"), inside_roots())


def _check_no_labels(labels: str, ignore_ids: str) -> None:
    """PriorError for what is given of label maps although there are none."""
    for name, value in (("labels", labels), ("ignore_ids", ignore_ids)):
        if value.strip():
            raise PriorError(
                f"{name} is {value.strip()!r}, but palette is {NO_LABELS}; empty {name}, or choose "
                "the palette of the label maps"
            )


def _layout(images: str, labels: str, palette: Palette, split: str) -> Layout:
    """The pairs of two folders, or of a dataset whose folder is named alone.

    PriorError if something of them lies outside the allowed roots.
    """
    folder, check = dataset_folder(images, "image"), inside_roots()
    if labels.strip():
        return layout_of_folders(folder, dataset_folder(labels, "label"), palette, check)
    try:
        return recognise_dataset(folder, split.strip() or "train", palette, check)
    except PriorError as error:
        # Where folders lie on the host is not for everyone who has its graph.
        told = str(error).replace(str(folder), images.strip())
        raise PriorError(
            f"{told}. For images without label maps choose palette {NO_LABELS}"
        ) from error


def _picture(prior: Prior, vae: Any, title: str) -> Tensor:
    mean = vae_decode(vae, prior.spatial_mean[None])[0]
    return describe_prior(prior, mean.cpu(), title)
