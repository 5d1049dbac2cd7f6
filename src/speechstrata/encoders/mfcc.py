"""A control encoder: 39 MFCCs with differences, HuBERT's first training targets, as one layer."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.fbank import refuse_control
from speechstrata.encoders.fingerprints import model_fingerprint
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest, refuse_normalize
from speechstrata.pretraining.config import SAMPLE_RATE
from speechstrata.pretraining.mfcc import DIM, HOP, WINDOW, mfcc, mfcc_length


def load(request: LoadRequest) -> SpeechEncoder:
    """Load ``mfcc``.

    Raises:
        EncoderError: the random control is asked for, or ``normalize``.
    """
    refuse_control(request)
    refuse_normalize(request, "its windows are of fixed scale")
    return MfccEncoder(request.name)


class MfccEncoder(ModuleEncoder):
    """One layer, ``mfcc``: (batch, frames, 39), frame t over the samples 160 t to 160 t + 399."""

    def __init__(self, name: str = "mfcc") -> None:
        super().__init__(
            name=name,
            module=nn.Identity(),
            layers=(Layer("mfcc", HOP, (WINDOW - 1) / 2, DIM, "fbank"),),
            sample_rate=SAMPLE_RATE,
            fingerprint=model_fingerprint({"front_end": "mfcc", "hop": HOP}, {}),
            supervision="none",
        )

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        return mfcc_length(samples)

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        features = mfcc(audio, torch.tensor(lengths, device=audio.device)).features
        yield Step("mfcc", features, [mfcc_length(length) for length in lengths])
