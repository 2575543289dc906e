"""Models from local files: what they are named and hashed as, and TorchScript only on demand."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import PriorError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelFiles:
    """Which model gave a figure.

    Attributes:
        name: of the file or folder, without the folders above it.
        sha256: name of each file that says what the model computes -> 64 hex digits.
    """

    name: str
    sha256: dict[str, str]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def load_torchscript(
    path: Path, trust: bool, device: str
) -> tuple[torch.jit.ScriptModule, ModelFiles]:
    """A TorchScript file as a module in evaluation mode, and its hash.

    Raises PriorError if `trust` is false (the file is a program, which runs when it is called) or
    if the file is no TorchScript; OSError if it cannot be opened.
    """
    if path.is_dir():
        raise PriorError(f"{path} is a folder; expected a TorchScript file")
    files = ModelFiles(path.name, {path.name: hash_file(path)})
    if not trust:
        raise PriorError(
            f"{path} is used as TorchScript, which is a program: using it runs what its maker "
            "wrote. If you know where the file is from, add --trust-torchscript"
        )
    try:
        with warnings.catch_warnings():
            # torch advises torch.export to those who write such files; here they are only read.
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise PriorError(
            f"{path.name} is not a TorchScript file: {short(error)}. Expected what torch.jit.save "
            "writes"
        ) from error
    return module.eval(), files


def short(error: Exception) -> str:
    """The last line of an error's text: torch puts the cause after a long trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
