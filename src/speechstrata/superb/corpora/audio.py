"""Cuts of recordings, and recordings that are made here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from numpy.typing import NDArray

from speechstrata.audio import audio_info
from speechstrata.corpora.audio_files import write_flac

RATE = 16_000


def write_audio(path: Path, wave: NDArray[np.floating], rate: int = RATE) -> Recording:
    """Write a mono recording (16-bit FLAC) and describe it."""
    write_flac(path, wave, rate)
    return recording(path)


def recording(path: Path, name: str | None = None) -> Recording:
    """A recording as lhotse describes it.

    Raises:
        InputError: it cannot be read.
    """
    info = audio_info(path)
    channels = list(range(info.channels))
    source = AudioSource(type="file", channels=channels, source=str(path))
    return Recording(name or path.stem, [source], info.sample_rate, info.samples, info.duration, channel_ids=channels)


def example(
    name: str,
    audio: Recording,
    supervisions: Sequence[SupervisionSegment] | None = None,
    *,
    text: str | None = None,
    speaker: str | None = None,
    label: dict[str, Any] | None = None,
    custom: dict[str, Any] | None = None,
) -> Any:
    """A cut of a whole recording, with the supervisions given or one over all of it."""
    whole = SupervisionSegment(name, audio.id, 0.0, audio.duration, text=text, speaker=speaker, custom=label)
    return MonoCut(
        name, 0.0, audio.duration, 0, supervisions=list(supervisions or [whole]), recording=audio, custom=custom
    )
