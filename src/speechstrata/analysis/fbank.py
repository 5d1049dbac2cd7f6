"""The acoustic views of frame-level scores, and how frames of any rate are matched with theirs.

The views are 16 kHz log-mel (the control encoder's own) and MFCC (HuBERT's first targets). Both have a
frame every 10 ms: ``matching_frames`` pairs coarser layers with them, ``average_to_hop`` brings finer ones
to their rate.
"""

from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from speechstrata.encoders.fbank import HOP, SAMPLE_RATE, WINDOW, FbankEncoder
from speechstrata.errors import InputError, TooFewSamplesError
from speechstrata.pretraining.mfcc import mfcc

FrameView = Literal["fbank", "mfcc"]

#: Dimensions of the views.
VIEW_DIM: dict[FrameView, int] = {"fbank": 80, "mfcc": 39}


class FramePairs(NamedTuple):
    """Which frames of a layer go with which frames of a view, both (pairs,)."""

    layer: NDArray[np.intp]
    view: NDArray[np.intp]


class AveragingWindows(NamedTuple):
    """Windows over a layer's frames, one for each frame of 10 ms: ``starts`` (windows,), of ``width`` frames."""

    starts: NDArray[np.intp]
    width: int


def acoustic_view(waveform: NDArray[np.float32], view: FrameView = "fbank") -> NDArray[np.float32]:
    """The acoustic view of an utterance: (frames, 80) for "fbank", (frames, 39) for "mfcc".

    fbank: frame t is centred on sample 160 t, 1 + samples // 160 frames; see ``encoders.fbank``. mfcc: frame t
    covers samples 160 t to 160 t + 400, only where a whole window fits; Kaldi's conventions, see
    ``pretraining.mfcc``.

    Args:
        waveform: (samples,) at 16 kHz.
        view: which.

    Raises:
        InputError: the waveform is not one-dimensional, or has values that are not finite.
        TooFewSamplesError: it is too short for one frame.
    """
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise InputError(
            f"a waveform of shape {waveform.shape} that is not finite or not one channel",
            "give (samples,) finite values",
        )
    if len(waveform) < (WINDOW if view == "mfcc" else 1):
        raise TooFewSamplesError(
            f"{len(waveform)} samples are too short for a frame of {view}", "leave the utterance out"
        )
    samples = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None]
    length = torch.tensor([samples.shape[1]])
    if view == "mfcc":
        features = mfcc(samples, length).features
    else:
        features = _log_mel_encoder().hidden_states(samples, length)["fbank"].states
    return np.asarray(features[0].numpy(), dtype=np.float32)


@lru_cache(maxsize=1)
def _log_mel_encoder() -> FbankEncoder:
    return FbankEncoder()


def matching_frames(layer_frames: int, stride: int | Fraction, view_frames: int) -> FramePairs:
    """Pair frame t of a layer with frame round(t x stride / 160) of a view, as long as there is one.

    Halves are rounded up. For the published strides this is decimation: every 2nd frame at 20 ms.

    Args:
        layer_frames: frames of the layer.
        stride: the layer's, in samples at 16 kHz.
        view_frames: frames of the view.
    """
    time = np.arange(layer_frames)
    ratio = Fraction(stride) / HOP
    # floor(t p / q + 1/2) in whole numbers: no rounding error, however long the utterance.
    numerator, denominator = 2 * ratio.numerator, 2 * ratio.denominator
    frames = (time * numerator + ratio.denominator) // denominator
    inside = frames < view_frames
    return FramePairs(time[inside], frames[inside].astype(np.intp))


def averaging_windows(layer_frames: int, stride: int | Fraction) -> AveragingWindows:
    """The windows that average a layer of 10 ms or finer to the view's rate, one window per 10 ms.

    Window i starts at frame round(160 i / stride) and has ceil(400 / stride) - 1 frames: what fits strictly
    inside the view's own 25 ms window. For the wav2vec 2.0 front-end's strides 5, 10, 20, 40, 80 and 160 that
    gives the published (width, step) pairs (79, 32), (39, 16), (19, 8), (9, 4), (4, 2) and (2, 1). Only
    windows that lie wholly inside the layer count.

    Args:
        layer_frames: frames of the layer.
        stride: the layer's, in samples at 16 kHz, at most 160.

    Raises:
        InputError: the stride is larger than 160: such layers are matched, not averaged.
    """
    stride = Fraction(stride)
    if not 0 < stride <= HOP:
        raise InputError(
            f"a layer with a stride of {stride} samples is not averaged to {HOP}",
            "pair coarser layers by matching_frames",
        )
    width = -(-WINDOW * stride.denominator // stride.numerator) - 1
    step = HOP / stride
    most = int((layer_frames - width) / step) + 2 if layer_frames >= width else 0
    starts = (np.arange(most) * (2 * step.numerator) + step.denominator) // (2 * step.denominator)
    return AveragingWindows(starts[starts + width <= layer_frames].astype(np.intp), width)


def average_to_hop(states: NDArray[np.floating], stride: int | Fraction) -> NDArray[np.float32]:
    """Average the frames (frames, dim) of a fine layer in ``averaging_windows``: (windows, dim).

    Raises:
        InputError: see ``averaging_windows``.
    """
    starts, width = averaging_windows(len(states), stride)
    columns = (starts[:, None] + np.arange(width)).ravel()
    weights = np.full(len(columns), 1 / width, dtype=np.float32)
    windows = sparse.csr_matrix(
        (weights, columns, np.arange(len(starts) + 1) * width), shape=(len(starts), len(states))
    )
    return np.asarray(windows @ states.astype(np.float32, copy=False))


__all__ = [
    "SAMPLE_RATE",
    "VIEW_DIM",
    "AveragingWindows",
    "FramePairs",
    "FrameView",
    "acoustic_view",
    "average_to_hop",
    "averaging_windows",
    "matching_frames",
]
