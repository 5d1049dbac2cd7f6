"""A small corpus of noises and tones that all tests of the room share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

RATE = 16_000


def tone_cut(folder: Path, name: str, speaker: str, phones: list[str], rng: np.random.Generator) -> MonoCut:
    """An utterance that is a sequence of tones with noise; each phone is a tone of its own pitch."""
    pitches = {"A": 300.0, "E": 700.0, "S": 2500.0, "T": 5000.0}
    pieces, items, start = [], [], 0.0
    for phone in phones:
        seconds = float(rng.uniform(0.08, 0.25))
        time = np.arange(int(seconds * RATE)) / RATE
        pieces.append(0.3 * np.sin(2 * np.pi * pitches[phone] * time) + 0.01 * rng.standard_normal(len(time)))
        items.append(AlignmentItem(phone, start, len(time) / RATE))
        start += len(time) / RATE
    path = folder / f"{name}.wav"
    soundfile.write(path, np.concatenate(pieces), RATE, subtype="PCM_16")
    recording = Recording.from_file(path, recording_id=name)
    supervision = SupervisionSegment(
        id=name, recording_id=name, start=0.0, duration=recording.duration, speaker=speaker
    ).with_alignment("phone", items)
    return MonoCut(
        id=name,
        start=0.0,
        duration=recording.duration,
        channel=0,
        recording=recording,
        supervisions=[supervision],
    )


@pytest.fixture(scope="session")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Forty utterances of one to three seconds by eight speakers, with phone alignments."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    return [
        tone_cut(folder, f"u{n:02d}", f"speaker{n % 8}", rng.choice(list("AEST"), rng.integers(6, 18)).tolist(), rng)
        for n in range(40)
    ]


@pytest.fixture(scope="session")
def units(cuts: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve MFCC units of the corpus."""
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.targets import cluster_cuts

    config = TargetsConfig(clusters=12, sample_frames=2_000, iterations=10)
    return cluster_cuts(cuts, tmp_path_factory.mktemp("units") / "mfcc", config)


@pytest.fixture(scope="session")
def settings(units: Path) -> dict[str, Any]:
    """A recipe that trains in seconds: 20 steps of two batches, with all that draws random numbers switched on."""
    model = {"name": "tiny", "layers": [1, 1, 1], "dim": 48, "ffn_dim": 96, "positional_groups": 4, "layerdrop": 0.1}
    data = {
        "targets": [str(units)],
        "batch_seconds": 8.0,
        "batches_per_step": 2,
        "minimum_seconds": 0.5,
        "maximum_seconds": 8.0,
    }
    data |= {"buckets": 4, "validation_share": 0.2, "cache": "logmel", "workers": 0}
    return {
        "model": model,
        "data": data,
        "optimizer": {"steps": 20, "warmup_steps": 4, "learning_rate": 2e-3},
        "run": {"log_every": 1, "checkpoint_every": 5, "validate_every": 10, "keep_every": 0, "accelerator": "cpu"},
    }


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Sums in one order, whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
