"""How close an enhanced waveform is to the clean one: PESQ, STOI, SI-SDR."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.audio import resample
from speechstrata.superb.metric_packages import metric_package

#: Wide-band PESQ is defined at this rate, in hertz; STOI is taken at it too.
RATE = 16_000
#: What counts where the enhanced waveform has no speech in it that PESQ could find: the low end of its scale.
LOWEST_PESQ = 1.0
#: SI-SDR lies within so many decibels, so that perfect and silent results stay numbers.
_LIMIT = 100.0


def si_sdr(estimate: NDArray[Any], clean: NDArray[Any]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, equation 5), within ±100.

    Args:
        estimate: (samples,).
        clean: (samples,), not silent.
    """
    estimate, clean = estimate.astype(np.float64), clean.astype(np.float64)
    target = (estimate @ clean) / (clean @ clean) * clean
    signal, distortion = float(target @ target), float((estimate - target) @ (estimate - target))
    if signal == 0:
        return -_LIMIT
    if distortion == 0:
        return _LIMIT
    return float(np.clip(10 * np.log10(signal / distortion), -_LIMIT, _LIMIT))


def pesq(estimate: NDArray[Any], clean: NDArray[Any], sample_rate: int) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2), 1 to 4.64; None where the clean waveform has no speech that it could find.

    Raises:
        MissingExtraError: without the package pesq.
    """
    package = metric_package("pesq", "scoring enhanced speech")
    degraded, reference = (_at_rate(samples, sample_rate) for samples in (estimate, clean))
    if degraded.any():  # the package stumbles over silence
        try:
            return float(package.pesq(RATE, reference, degraded, "wb"))
        except package.PesqError:
            pass  # whose fault it is, the clean waveform tells
    if not reference.any():
        return None
    try:
        package.pesq(RATE, reference, reference, "wb")
    except package.PesqError:
        return None
    return LOWEST_PESQ


def stoi(estimate: NDArray[Any], clean: NDArray[Any], sample_rate: int) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), 0 to 1; None with less than 0.4 s of speech.

    Raises:
        MissingExtraError: without the package pystoi.
    """
    package = metric_package("pystoi", "scoring enhanced speech")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(package.stoi(_at_rate(clean, sample_rate), _at_rate(estimate, sample_rate), RATE))
        except RuntimeWarning:
            return None


def _at_rate(samples: NDArray[Any], sample_rate: int) -> NDArray[np.float32]:
    return resample(samples.astype(np.float32), sample_rate, RATE)
