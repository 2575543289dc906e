"""What an ablation is about: label maps that no training saw, their real images, and models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from demo.ablation.plan import Row
from demo.training import companions
from demo.training.command import Files
from demo.training.images import Scenes
from demo.training.sources import Source
from demo.training.stages import Stages
from prior_tools import Prior, load_prior, pooled_prior, save_prior
from prior_tools.evaluation.model_files import hash_file


@dataclass(frozen=True)
class Subject:
    """A source of images with the models that were trained on it.

    choosing: whether its label maps are those to choose by, in place of those to judge by.
    """

    source: Source
    choosing: bool = False

    @property
    def name(self) -> str:
        """Of its folder and of its parts in the report."""
        return self.source.name

    @property
    def labels(self) -> np.ndarray:
        """Class ids uint8 [N, H, W] of the unseen label maps; 255 is not counted."""
        return np.asarray(self._scenes.labels)

    @property
    def colors(self) -> np.ndarray:
        """The same as the ControlNet takes them, uint8 [N, H, W, 3]."""
        return self.source.hints(self.labels)

    @property
    def real(self) -> np.ndarray:
        """Their images, uint8 [N, H, W, 3]."""
        # A copy: torch warns of arrays that it cannot write to.
        return np.array(self._scenes.images)

    @property
    def _scenes(self) -> Scenes:
        return self.source.apart if self.choosing else self.source.unseen

    @property
    def files(self) -> Files:
        """Where its models lie."""
        return Files.of(self.source)

    @property
    def models(self) -> dict[str, Path]:
        """Files of weights by the `model` of a row; only those that were trained."""
        files = self.files
        all_of_them = {
            "own": files.weights,
            "general": files.general,
            "sd": files.sd,
            "tuned": files.tuned,
            "started": files.started,
        }
        return {name: path for name, path in all_of_them.items() if path.exists()}

    @property
    def weights_digest(self) -> str:
        """Of the dataset's own model."""
        return _digest(self.files.weights)

    def prior(self, images: int, pooled: bool = False) -> Path:
        """The file of the prior of so many images of the dataset, made if need be; 0 for all."""
        if not images and not pooled:
            return self.files.prior
        kind = f"{images or 'all'}{'_pooled' if pooled else ''}"
        of = _digest(self.files.prior if pooled else self.files.weights)
        path = self.source.cache / "made" / "priors" / f"{self.name}_{kind}_{of}.safetensors"
        if not path.exists():
            save_prior(self._pooled(images) if pooled else self._collected(images), path)
        return path

    def prior_of_own(self, model: str) -> Path:
        """The file of the prior of a model's own images; see `own_images`, which makes it."""
        name = f"{self.name}_{model}_itself_{_digest(self.models[model])}.safetensors"
        return self.source.cache / "made" / "priors" / name

    def prior_for(self, row: Row) -> Path:
        """The file of the prior that a row starts from."""
        return self.prior_of_own(row.model) if row.of_own else self.prior(row.images, row.pooled)

    def _pooled(self, images: int) -> Prior:
        pooled = pooled_prior(load_prior(self.prior(images)))
        # It tells two images of every class at every cell, or a draw would fall back there; a file
        # takes no more of them than it has images.
        counts = pooled.joint_count
        return replace(
            pooled,
            class_image_count=pooled.class_image_count.maximum(counts.flatten(1).amax(1)),
            num_images=max(pooled.num_images, int(counts.sum(0).max())),
        )

    def _collected(self, images: int) -> Prior:
        latents = Stages(self.source, base=self.files.weights).dataset_latents[:images]
        labels = self.source.dataset.labels[:images]
        return companions.make_prior(latents, labels, self.source, self.files.weights)

    def weights_of(self, row: Row) -> str:
        """The name of the weights that a row samples with, in models/scp_demo_models.

        It tells what is in them: so nothing that was made with others is gone on with.
        """
        return f"{self.name}_{row.model}_{_digest(self.models[row.model])}.safetensors"

    def prior_of(self, row: Row) -> str:
        """The name of the prior that a row starts from, in models/scp_priors; see `weights_of`."""
        of = "itself" if row.of_own else row.images or "all"
        return f"{self.name}_{of}_{_digest(self.prior_for(row))}.safetensors"


def _digest(file: Path) -> str:
    return hash_file(file)[:8]
