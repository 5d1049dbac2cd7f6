"""The state of a training on disk: written whole or not at all, read without running anything in it."""

from pathlib import Path
from typing import Any

import torch

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.files import atomic_path


def save_state(content: dict[str, Any], path: Path | str) -> None:
    """Write tensors and plain values beside the old file, flush them to the disk, then rename.

    Raises:
        SpeechstrataError: it cannot be written; what was at ``path`` is still there.
    """
    try:
        with atomic_path(path) as partial:
            torch.save(content, partial)
    except (OSError, RuntimeError, InputError) as error:  # torch wraps a full disk in a RuntimeError
        kept = "the one before is untouched" if Path(path).exists() else "there is none before it"
        raise SpeechstrataError(
            f"cannot write the checkpoint {path} ({str(error).splitlines()[0]}); {kept}",
            "free some space and run the same command again; it continues from the last checkpoint",
        ) from error


def read_state(path: Path, remedy: str) -> dict[str, Any]:
    """The content of a state, on the CPU; only tensors and plain values are ever unpickled.

    Args:
        path: of the file.
        remedy: what to do where it cannot be read.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for a broken file
        raise InputError(f"the checkpoint {path} cannot be read: {str(error).splitlines()[0]}", remedy) from error
    return content
