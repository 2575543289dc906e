"""A prior of a model's own images, for whom no dataset is at hand: `build` on what it paints.

The images are made at the stock start and strong guidance for label maps of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from demo.ablation.plan import FULL, OWN_IMAGES, STRONG, Row
from demo.ablation.sampling import ImageSet, made, make, workflow
from demo.ablation.subject import Subject
from demo.start_graph import Settings
from demo.training import autoencoder, companions
from demo.training.stages import Stages
from prior_tools import save_prior
from prior_tools.generating.workflow_file import Prompt


def own_images(model: str) -> Row:
    """What the images of a row's `model` are made with."""
    return Row("itself", "", FULL, Settings(cfg=STRONG), OWN_IMAGES, 1, model)


def make_prior_of_own(
    subject: Subject, model: str, servers: Sequence[str], prior_name: str, folder: Path
) -> None:
    """Make `subject.prior_of_own(model)` and its images; those that are there are kept.

    Args:
        servers: addresses of servers that have the model.
        prior_name: any prior that they have; a stock start does not use it.
        folder: for images and label maps.
    """
    row, labels = own_images(model), subject.source.dataset.labels[:OWN_IMAGES]
    prompt: Prompt = workflow(row, subject.weights_of(row), prior_name)
    make(ImageSet(row, OWN_IMAGES, 1), prompt, subject.source.hints(labels), servers, folder)
    vae = Stages(subject.source, base=subject.files.weights).autoencoder
    latents = autoencoder.encode_all(vae, made(row, 0, folder))
    prior = companions.make_prior(latents, labels, subject.source, subject.files.weights)
    save_prior(prior, subject.prior_of_own(model))
