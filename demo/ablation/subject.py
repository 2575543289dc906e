"""What an ablation is about: label maps that no training saw, their real images, and models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.ablation.plan import Row
from demo.training import companions
from demo.training.command import Files
from demo.training.sources import Source
from demo.training.stages import Stages
from prior_tools import save_prior
from prior_tools.evaluation.model_files import hash_file


@dataclass(frozen=True)
class Subject:
    """A source of images with the models that were trained on it."""

    source: Source

    @property
    def name(self) -> str:
        """Of its folder and of its parts in the report."""
        return self.source.name

    @property
    def labels(self) -> np.ndarray:
        """Class ids uint8 [N, H, W] of the unseen label maps; 255 is not counted."""
        return np.asarray(self.source.unseen.labels)

    @property
    def colors(self) -> np.ndarray:
        """The same as the ControlNet takes them, uint8 [N, H, W, 3]."""
        return self.source.hints(self.labels)

    @property
    def real(self) -> np.ndarray:
        """Their images, uint8 [N, H, W, 3]."""
        # A copy: torch warns of arrays that it cannot write to.
        return np.array(self.source.unseen.images)

    @property
    def files(self) -> Files:
        """Where its models lie."""
        return Files.of(self.source)

    @property
    def models(self) -> dict[str, Path]:
        """Files of weights by the `model` of a row; only those that were trained."""
        files = self.files
        all_of_them = {"own": files.weights, "general": files.general, "sd": files.sd}
        return {name: path for name, path in all_of_them.items() if path.exists()}

    def prior(self, images: int) -> Path:
        """The file of the prior of so many images of the dataset, made if need be; 0 for all."""
        if not images:
            return self.files.prior
        made = self.source.cache / "made" / "priors"
        path = made / f"{self.name}_{images}_{_digest(self.files.weights)}.safetensors"
        if not path.exists():
            latents = Stages(self.source, base=self.files.weights).dataset_latents[:images]
            labels = self.source.dataset.labels[:images]
            prior = companions.make_prior(latents, labels, self.source, self.files.weights)
            save_prior(prior, path)
        return path

    def weights_of(self, row: Row) -> str:
        """The name of the weights that a row samples with, in models/scp_demo_models.

        It tells what is in them: so nothing that was made with others is gone on with.
        """
        return f"{self.name}_{row.model}_{_digest(self.models[row.model])}.safetensors"

    def prior_of(self, row: Row) -> str:
        """The name of the prior that a row starts from, in models/scp_priors; see `weights_of`."""
        digest = _digest(self.prior(row.images))
        return f"{self.name}_{row.images or 'all'}_{digest}.safetensors"


def _digest(file: Path) -> str:
    return hash_file(file)[:8]
