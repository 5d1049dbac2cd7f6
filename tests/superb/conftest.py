"""A small encoder with random weights, and a corpus of three "keywords": tones of different heights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment

from speechstrata.superb.corpora.probe_corpus import write_probe_corpus

HEIGHTS = {"low": 250.0, "middle": 900.0, "high": 2600.0}


def tone(folder: Path, name: str, keyword: str, rng: np.random.Generator) -> Any:
    """Noise and a tone of about the keyword's height."""
    seconds = rng.uniform(0.4, 0.9)
    time = np.arange(int(seconds * 16_000)) / 16_000
    wave = 0.2 * np.sin(2 * np.pi * HEIGHTS[keyword] * rng.uniform(0.9, 1.1) * time) + 0.02 * rng.normal(size=len(time))
    soundfile.write(folder / f"{name}.wav", wave, 16_000)
    recording = Recording.from_file(folder / f"{name}.wav")
    supervision = SupervisionSegment(name, name, 0.0, recording.duration, custom={"keyword": keyword})
    return MonoCut(name, 0.0, recording.duration, 0, supervisions=[supervision], recording=recording)


@pytest.fixture(scope="session")
def keywords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe corpus: 60 examples to train on, 24 for dev and test."""
    folder = tmp_path_factory.mktemp("keywords")
    rng = np.random.default_rng(0)
    sizes = {"train": 60, "dev": 24, "test": 24}
    splits = {
        split: [tone(folder, f"{split}{n:02d}", list(HEIGHTS)[n % 3], rng) for n in range(size)]
        for split, size in sizes.items()
    }
    write_probe_corpus(
        folder, task="ks", name="tones", splits=splits, mini=True, licence="", source="", description="Tones."
    )
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A three-block network with random weights."""
    from speechstrata.mrhubert.configuration import MRHubertConfig
    from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
    from speechstrata.mrhubert.named import named_config

    config = replace(named_config("tiny"), layers=(1, 1, 1), dim=48, heads=2, ffn_dim=96, positional_groups=4)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network") / "small"
    MRHubertForPreTraining(MRHubertConfig(config)).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Sums in one order, whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
