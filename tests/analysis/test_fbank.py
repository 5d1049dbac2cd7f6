from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.analysis.fbank import (
    VIEW_DIM,
    acoustic_view,
    average_to_hop,
    averaging_windows,
    matching_frames,
)
from speechstrata.errors import InputError, TooFewSamplesError


def tone(seconds=1.0, hertz=1000.0):
    time = np.arange(int(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("view", ["fbank", "mfcc"])
def test_views_have_their_frames_and_dimensions(view):
    frames = {"fbank": 1 + 16_000 // 160, "mfcc": 1 + (16_000 - 400) // 160}[view]
    features = acoustic_view(tone(), view)
    assert features.shape == (frames, VIEW_DIM[view])
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_a_tone_is_loudest_in_its_own_band_and_loudness_does_not_matter():
    low, high = (acoustic_view(tone(hertz=hertz))[50].argmax() for hertz in (300, 3000))
    assert low < 20 < 45 < high
    np.testing.assert_allclose(acoustic_view(tone()), acoustic_view(0.1 * tone()), atol=1e-5)


def test_silence_is_a_view_too():
    assert np.isfinite(acoustic_view(np.zeros(800, dtype=np.float32))).all()


def test_what_cannot_be_viewed_is_refused():
    with pytest.raises(InputError, match="one channel"):
        acoustic_view(np.zeros((2, 800), dtype=np.float32))
    with pytest.raises(InputError, match="not finite"):
        acoustic_view(np.full(800, np.nan, dtype=np.float32))
    with pytest.raises(TooFewSamplesError, match="399 samples"):
        acoustic_view(np.zeros(399, dtype=np.float32), "mfcc")
    with pytest.raises(TooFewSamplesError, match="0 samples"):
        acoustic_view(np.zeros(0, dtype=np.float32))


@pytest.mark.parametrize(("stride", "step"), [(160, 1), (320, 2), (640, 4), (1280, 8)])
def test_published_strides_decimate_the_view(stride, step):
    pairs = matching_frames(20, stride, 200)
    assert pairs.layer.tolist() == list(range(20))
    assert pairs.view.tolist() == list(range(0, 20 * step, step))


@given(
    frames=st.integers(0, 500),
    stride=st.fractions(min_value=1, max_value=3000, max_denominator=12),
    view_frames=st.integers(0, 500),
)
def test_a_frame_takes_the_nearest_of_the_view(frames, stride, view_frames):
    layer, view = matching_frames(frames, stride, view_frames)
    assert len(layer) == len(view) <= frames
    exact = [t * stride / 160 for t in range(frames)]
    for t, chosen in zip(layer.tolist(), view.tolist(), strict=True):
        assert abs(exact[t] - chosen) <= Fraction(1, 2)
        assert chosen < view_frames
    if len(layer) < frames:  # the rest lie beyond the view
        assert exact[len(layer)] >= view_frames - Fraction(1, 2)


@pytest.mark.parametrize(
    ("stride", "width", "step"),
    [(5, 79, 32), (10, 39, 16), (20, 19, 8), (40, 9, 4), (80, 4, 2), (160, 2, 1)],
)
def test_windows_of_the_published_layers(stride, width, step):
    windows = averaging_windows(1000, stride)
    assert windows.width == width
    assert set(np.diff(windows.starts)) == {step}
    assert windows.starts[-1] + width <= 1000 < windows.starts[-1] + step + width
    assert len(averaging_windows(width, stride).starts) == 1
    assert len(averaging_windows(width - 1, stride).starts) == 0


@given(frames=st.integers(0, 300), stride=st.fractions(min_value=3, max_value=160, max_denominator=7))
def test_windows_of_any_stride_start_at_each_ten_milliseconds_and_average_their_frames(frames, stride):
    starts, width = averaging_windows(frames, stride)
    states = np.random.default_rng(0).standard_normal((frames, 3)).astype(np.float32)
    pooled = average_to_hop(states, stride)
    assert pooled.shape == (len(starts), 3)
    assert width * stride < 400 <= (width + 1) * stride
    for number, start in enumerate(starts.tolist()):
        assert abs(start * stride - 160 * number) <= stride / 2
        np.testing.assert_allclose(pooled[number], states[start : start + width].mean(axis=0), atol=1e-6)


def test_coarser_layers_are_not_averaged():
    with pytest.raises(InputError, match="stride of 320"):
        average_to_hop(np.zeros((10, 3), dtype=np.float32), 320)
