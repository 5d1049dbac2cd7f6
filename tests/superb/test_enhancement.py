"""Speech enhancement: spectra, the loss against its formula, metrics, recordings from disk."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from labelled import GRID, cut, cuts
from lhotse import Recording

from speechstrata.audio import load_cut
from speechstrata.errors import CorpusError, EncoderError
from speechstrata.superb.spectra import fit_frames, hop_of, phase_sensitive_loss, spectrum, waveform_of, window_of
from speechstrata.superb.speech_quality import LOWEST_PESQ, pesq, si_sdr, stoi
from speechstrata.superb.task import Recipe
from speechstrata.superb.tasks import load_task
from speechstrata.superb.tasks.se import enhance

TASK = load_task("se")
HOP = 320


def speech_like(seconds=2.0, seed=0):
    """A voiced sound whose pitch and loudness come and go."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)) / 16_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30))
    return (0.1 * voice * np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)).astype(np.float32)


def noise(samples, seed=0):
    return (0.05 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def noisy_cut(folder: Path, clean, noisy, rate=16_000):
    """A cut of a noisy recording with its clean one, both on disk."""
    for name, samples in (("clean", clean), ("noisy", noisy)):
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="FLOAT")
    example = Recording.from_file(folder / "noisy.wav").to_cut()
    example.custom = {"clean": Recording.from_file(folder / "clean.wav"), "snr": 5.0, "noise": "white"}
    return example


def target_of(clean, noisy):
    return {"noisy": noisy, "clean": clean, "hop": HOP, "sample_rate": 16_000}


@pytest.mark.parametrize("samples", [16_000, 16_100, 300, 255])
@pytest.mark.parametrize("hop", [160, 320, 384, 640])
def test_a_spectrum_is_undone(samples, hop):
    waveform = torch.from_numpy(noise(samples))
    found = spectrum(waveform, hop)
    assert found.shape == (-(-samples // hop) + 1, window_of(hop) // 2 + 1)
    torch.testing.assert_close(waveform_of(found, hop, samples), waveform, atol=1e-5, rtol=1e-4)


def test_a_spectrum_is_the_fourier_transform_of_hann_windows():
    waveform = noise(1_920)
    found = spectrum(torch.from_numpy(waveform), HOP).numpy()
    padded = np.pad(waveform, 256, mode="reflect")
    window = scipy.signal.get_window("hann", 512)
    for frame in (0, 3, 6):
        direct = np.fft.rfft(window * padded[frame * HOP : frame * HOP + 512])
        np.testing.assert_allclose(found[frame], direct, atol=1e-5)


def test_loss_against_its_formula():
    clean, dirty = speech_like(0.5), speech_like(0.5) + noise(8_000)
    outputs = torch.rand(2, 30, 257)
    lengths = torch.tensor([24, 11])
    targets = [target_of(clean, dirty), target_of(clean[:4_000], dirty[:4_000])]
    losses = []
    for mask, length, target in zip(outputs, lengths, targets, strict=True):
        x = spectrum(torch.from_numpy(target["noisy"]), HOP).numpy()
        s = spectrum(torch.from_numpy(target["clean"]), HOP).numpy()
        mask = mask[:length].numpy()
        mask = np.concatenate([mask, np.repeat(mask[-1:], len(x) - length, axis=0)])
        cosine = np.maximum(np.cos(np.angle(s) - np.angle(x)), 0)
        losses.append(((mask * np.abs(x) - np.abs(s) * cosine) ** 2).sum() / len(x))
    assert TASK.loss(outputs, lengths, targets, {}).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_best_mask_has_no_loss():
    x = spectrum(torch.from_numpy(speech_like(0.5) + noise(8_000)), HOP)
    s = spectrum(torch.from_numpy(speech_like(0.5)), HOP)
    best = ((s * x.conj()).real / x.abs().square()).relu()
    assert phase_sensitive_loss(best, x, s).item() == pytest.approx(0, abs=1e-6)


def test_masks_are_fitted_to_the_spectrum():
    mask = torch.arange(6.0).view(3, 2)
    assert fit_frames(mask, 2).tolist() == [[0, 1], [2, 3]]
    assert fit_frames(mask, 5).tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]


def test_a_mask_of_ones_changes_nothing():
    clean, dirty = speech_like(), speech_like() + noise(32_000)
    np.testing.assert_allclose(enhance(torch.ones(99, 257), dirty, HOP), dirty, atol=1e-5)
    row = TASK.predict(torch.ones(1, 99, 257), torch.tensor([99]), [target_of(clean, dirty)], {})[0]
    assert row["si_sdri"] == pytest.approx(0, abs=1e-3)
    assert row["stoi"] == pytest.approx(stoi(dirty, clean, 16_000), abs=1e-4)


def test_a_good_mask_makes_every_metric_better():
    clean, dirty = speech_like(), speech_like() + noise(32_000)
    x, s = (spectrum(torch.from_numpy(samples), HOP) for samples in (dirty, clean))
    ideal = (s.abs() / x.abs()).clamp(max=1)
    targets = [target_of(clean, dirty)] * 2
    lengths = torch.tensor([99, 99])
    outputs = torch.stack([ideal[:99], torch.ones(99, 257)])
    good, plain = TASK.predict(outputs, lengths, targets, {})
    assert good["si_sdri"] > 3
    assert good["pesq"] > plain["pesq"]
    assert good["stoi"] > plain["stoi"]
    scores = TASK.score([good, plain], {}, {})
    assert scores["pesq"] == pytest.approx((good["pesq"] + plain["pesq"]) / 2)
    assert scores["left_out"] == 0


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies():
    clean = np.sin(np.arange(1_000) * 2 * np.pi / 10)
    other = np.cos(np.arange(1_000) * 2 * np.pi / 10)
    assert si_sdr(clean + 0.1 * other, clean) == pytest.approx(20)
    assert si_sdr(7 * (clean + 0.1 * other), clean) == pytest.approx(20)
    assert si_sdr(np.zeros(1_000), clean) == -100
    assert si_sdr(clean, clean) == 100


def test_metrics_of_silence_are_numbers():
    clean, silence = speech_like(), np.zeros(32_000, np.float32)
    assert pesq(silence, clean, 16_000) == LOWEST_PESQ
    assert pesq(clean, clean, 16_000) == pytest.approx(4.64, abs=0.01)
    assert pesq(clean[:2_000], clean[:2_000], 16_000) is None
    assert pesq(clean, silence, 16_000) is None
    assert np.isfinite(stoi(silence, clean, 16_000))
    assert stoi(clean[:3_000], clean[:3_000], 16_000) is None
    silent = TASK.predict(torch.zeros(1, 99, 257), torch.tensor([99]), [target_of(clean, clean)], {})
    scores = TASK.score([*silent, {"pesq": None, "stoi": None, "si_sdr": 1.0, "si_sdri": 1.0}], {}, {})
    assert scores["pesq"] == LOWEST_PESQ
    assert scores["left_out"] == 1


def test_recordings_are_read_at_the_rate_of_the_encoder(tmp_path):
    clean = speech_like()
    example = noisy_cut(tmp_path, clean, clean + noise(32_000))
    target = TASK.target(example, {}, load_cut(example, 16_000), GRID)
    np.testing.assert_allclose(target["clean"], clean)
    np.testing.assert_allclose(target["noisy"] - target["clean"], noise(32_000), atol=1e-6)
    slow = TASK.target(example, {}, None, replace(GRID, sample_rate=8_000))
    assert len(slow["clean"]) == len(slow["noisy"]) == 16_000
    part = TASK.target(example.truncate(offset=0.5, duration=1.0), {}, None, GRID)
    np.testing.assert_allclose(part["clean"], clean[8_000:24_000])


def test_recordings_that_do_not_belong_together_are_refused(tmp_path):
    clean = speech_like()
    with pytest.raises(CorpusError, match=r"noisy, 1\.00 s clean"):
        TASK.target(noisy_cut(tmp_path, clean[:16_000], clean), {}, None, GRID)
    with pytest.raises(CorpusError, match="silent"):
        TASK.target(noisy_cut(tmp_path, 0 * clean, clean), {}, None, GRID)
    with pytest.raises(CorpusError, match="no clean"):
        TASK.target(cut("x"), {}, clean, GRID)


def test_a_batch_gives_what_each_utterance_gives_alone():
    head = TASK.build_head(10, {}, Recipe(hidden=6, recurrent_layers=3, dropout=0.5), GRID).eval()
    features, lengths = torch.randn(3, 30, 10), torch.tensor([12, 30, 7])
    outputs = head(features, lengths)
    assert outputs.shape == (3, 30, 257)
    assert (outputs >= 0).all()
    for row, length in enumerate(lengths):
        alone = head(features[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(outputs[row, :length], alone[0])


def test_the_published_head_and_recipe():
    recipe = TASK.published
    assert (recipe.steps, recipe.batch_size, recipe.evaluate_every) == (150_000, 8, 1_250)
    assert (recipe.optimizer, recipe.epsilon, recipe.dropout) == ("adamw", 1e-7, 0.5)
    head = TASK.build_head(768, {}, recipe, GRID)
    lstm = sum(2 * 4 * 896 * (dim + 896 + 2) for dim in (768, 1792, 1792))
    assert sum(p.numel() for p in head.parameters()) == lstm + 1793 * 257
    assert TASK.fit_labels(cuts()) == {}


def test_strides_that_are_not_whole_samples_are_refused():
    with pytest.raises(EncoderError, match="whole samples"):
        hop_of(replace(GRID, stride=Fraction(641, 2)))
