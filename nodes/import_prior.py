"""Import SCP Prior."""

from __future__ import annotations

from functools import partial

from comfy_api.v0_0_2 import io

from ..prior_tools.errors import listing
from ..prior_tools.labels.ids import parse_id_map
from ..prior_tools.latent_formats import SCALES
from ..prior_tools.picture import describe_prior
from ..prior_tools.published.files import read_published
from ..prior_tools.published.prior import ImportReport, prior_from_published
from .host_folders import dataset_file, file_state
from .host_models import keeps_warnings, notify
from .palettes import palette_named, palette_names, palette_state
from .saving import check_new, preview_of_saved, save_new
from .schema import ADVANCED, CATEGORY, PriorType, check_choices, found_by, overwrite_input

NO_PALETTE = "none"


class ImportPrior(io.ComfyNode):
    """Turns the statistics files that the paper published into a prior."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        where = "In ComfyUI's input folder or a folder registered as scp_datasets."
        return io.Schema(
            node_id="SCP_ImportPrior",
            display_name="Import SCP Prior",
            category=CATEGORY,
            **found_by("noise prior", "npy", "statistics"),
            description="Reads the statistics files (.npy) that the paper published and saves them "
            "as a prior under models/scp_priors. Nothing in the files is run. They are of Stable "
            "Diffusion's VAE (1.x and 2.x).",
            inputs=[
                io.String.Input(
                    "joint",
                    default="",
                    placeholder="NAME_spatial_class_mean_std.npy",
                    tooltip=f"The joint file. {where}",
                ),
                io.String.Input(
                    "spatial",
                    default="",
                    optional=True,
                    placeholder="NAME_spatial_mean_std.npy",
                    tooltip="The spatial file. If it is missing, it is computed from the joint "
                    "one.",
                ),
                io.String.Input(
                    "categorical",
                    default="",
                    optional=True,
                    placeholder="NAME_categorical_mean_std.npy",
                    tooltip="The categorical file. If it is missing, it is computed from the "
                    "joint one.",
                ),
                io.Combo.Input(
                    "palette",
                    options=[NO_PALETTE, *palette_names()],
                    default="cityscapes",
                    tooltip="Names and colors of the classes.",
                ),
                io.String.Input(
                    "id_map",
                    default="",
                    optional=True,
                    placeholder="0-149=1, 255=-1",
                    **ADVANCED,
                    tooltip="For files whose class numbers differ from the palette's: OLD=NEW, "
                    "with -1 to drop a class.",
                ),
                io.Combo.Input(
                    "latent_format",
                    options=list(SCALES),
                    default="sd15",
                    optional=True,
                    **ADVANCED,
                    tooltip="Format of the VAE that made the files' latents; sd15 for the "
                    "published ones.",
                ),
                io.String.Input(
                    "filename",
                    default="imported",
                    tooltip="Saved under models/scp_priors; may name a subfolder.",
                ),
                overwrite_input(),
            ],
            outputs=[
                PriorType.Output("prior", display_name="prior", tooltip="The prior, also saved.")
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, palette: str | None, latent_format: str | None = None) -> bool | str:
        return check_choices(
            ("palette", palette, [NO_PALETTE, *palette_names()]),
            ("latent_format", latent_format, SCALES),
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        joint: str = "",
        spatial: str = "",
        categorical: str = "",
        palette: str | None = None,
        **_: object,
    ) -> str:
        """Changes when one of the files does, so that they are then read again."""
        kinds = (("joint", joint), ("spatial", spatial), ("categorical", categorical))
        states = [file_state(text or "", partial(dataset_file, what=k)) for k, text in kinds]
        return "; ".join([*states, palette_state(palette)])

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        joint: str,
        palette: str,
        filename: str,
        spatial: str = "",
        categorical: str = "",
        id_map: str = "",
        latent_format: str = "sd15",
        overwrite: bool = False,
    ) -> io.NodeOutput:
        path = check_new(filename, overwrite)
        kinds = (("joint", joint), ("spatial", spatial), ("categorical", categorical))
        files = [dataset_file(text, k) for k, text in kinds if text.strip() or k == "joint"]
        prior, report = prior_from_published(
            read_published(files),
            latent_format=latent_format,
            palette=None if palette == NO_PALETTE else palette_named(palette),
            id_map=parse_id_map(id_map, "id_map") if id_map.strip() else None,
            dataset_name=path.stem,
        )
        save_new(prior, path, overwrite)
        said = _said(report)
        if said:
            notify(said)
        preview = preview_of_saved(cls, path, lambda: describe_prior(prior, title=path.stem))
        return io.NodeOutput(prior, ui=preview)


def _said(report: ImportReport) -> str:
    """What a user should know of the import; empty if there is nothing."""
    told = []
    if report.derived:
        told.append(f"derived from the joint file: {' and '.join(report.derived)} prior")
    for ids, what in (
        (report.repaired, "repaired a NaN deviation of classes"),
        (report.without_entry, "not in the categorical file: classes"),
        (report.outside_palette, "not in the palette: classes"),
    ):
        if ids:
            told.append(f"{what} {listing([str(i) for i in ids])}")
    return "; ".join(told)
