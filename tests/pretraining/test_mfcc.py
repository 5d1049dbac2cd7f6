"""MFCC against Kaldi's (through kaldi-native-fbank 1.23: ``tests/data/pretraining/mfcc.npz``)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speechstrata.pretraining.mfcc import DIM, mfcc, mfcc_length

KALDI = np.load(Path(__file__).parents[1] / "data/pretraining/mfcc.npz")
LENGTHS = torch.tensor([len(KALDI["long_waveform"]), len(KALDI["short_waveform"])])


def waveform(name: str) -> torch.Tensor:
    return torch.from_numpy(KALDI[f"{name}_waveform"].astype(np.float32) / 32768)


def slow_differences(values: np.ndarray) -> np.ndarray:
    """Kaldi's and torchaudio's definition, written out."""
    padded = np.concatenate([values[:1]] * 2 + [values] + [values[-1:]] * 2)
    return np.stack([sum(n * (padded[t + 2 + n] - padded[t + 2 - n]) for n in (1, 2)) / 10 for t in range(len(values))])


@pytest.mark.parametrize("name", ["long", "short"])
def test_features_equal_kaldis_and_the_written_out_differences(name: str) -> None:
    audio = waveform(name)
    features = mfcc(audio[None], torch.tensor([len(audio)])).features[0].numpy()
    cepstra = KALDI[f"{name}_cepstra"]
    first = slow_differences(cepstra)
    expected = np.concatenate([cepstra, first, slow_differences(first)], axis=1)
    assert features.shape == expected.shape == (mfcc_length(len(audio)), DIM)
    assert np.abs(features - expected).max() < 5e-3 * expected.std()


def test_a_batch_gives_what_its_rows_give_alone() -> None:
    batch = torch.full((2, 16_000), 7.0)
    for row, name in enumerate(["long", "short"]):
        batch[row, : LENGTHS[row]] = waveform(name)
    together = mfcc(batch, LENGTHS)
    for row, name in enumerate(["long", "short"]):
        alone = mfcc(waveform(name)[None], LENGTHS[row : row + 1])
        frames = int(alone.lengths[0])
        assert int(together.lengths[row]) == frames
        torch.testing.assert_close(together.features[row, :frames], alone.features[0], atol=1e-4, rtol=1e-5)
        assert not together.features[row, frames:].any()


def test_a_waveform_shorter_than_a_window_has_no_frames() -> None:
    assert mfcc(torch.zeros(1, 399), torch.tensor([399])).features.shape == (1, 0, DIM)
    assert [mfcc_length(samples) for samples in (0, 399, 400, 559, 560)] == [0, 0, 1, 1, 2]
