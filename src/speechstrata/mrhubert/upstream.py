"""Our networks in the SUPERB benchmark's clothes: s3prl's upstream interface, without s3prl.

Register it by a ``hubconf`` entry that returns ``UpstreamExpert(checkpoint)``.
"""

from fractions import Fraction
from functools import reduce
from math import gcd
from pathlib import Path

from torch import Tensor, nn

from speechstrata.mrhubert.checkpoints import base_model, open_model
from speechstrata.mrhubert.config import Padding
from speechstrata.mrhubert.packing import Frames
from speechstrata.mrhubert.taps import benchmark_states, tap_plan


class UpstreamExpert(nn.Module):
    """A network that gives ``hidden_states`` as the benchmark's toolkit expects them.

    The states are those of :func:`~speechstrata.mrhubert.taps.benchmark_states`: for each block the input of each
    layer and the block's output (13 for HuBERT base, 15 for MR-HuBERT base), repeated in time to the finest common
    rate and trimmed to the shortest. The benchmark's copy of the network runs the up-sampling modules of networks
    of three resolutions in the wrong order; this one runs them as they were trained.

    Args:
        ckpt: a released ``.pt`` file, or a folder; anything that ``open_model`` reads.
        padding: ``valid``: states do not depend on the batch, and are zero beyond an utterance; ``reference``: padded
            batches behave as in the benchmark.
    """

    def __init__(self, ckpt: str | Path, padding: Padding = "valid") -> None:
        super().__init__()
        self.model = base_model(open_model(ckpt))
        self.padding = padding
        strides = {tap.name: tap.stride for tap in tap_plan(self.model.network)}
        self._names = benchmark_states(self.model.network)
        self._rate = reduce(_common, (strides[name] for name in self._names))
        self._repeats = {name: int(strides[name] / self._rate) for name in self._names}

    def get_downsample_rates(self, key: str) -> int:
        """Samples from one frame of every state to the next, whatever the ``key``."""
        return int(self._rate)

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        """States of waveforms (samples,) at 16 kHz: ``{"hidden_states": [(batch, frames, dim), ...]}``."""
        lengths = [len(wav) for wav in wavs]
        batch = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        states = []
        for name, frames in self.model.taps(batch, lengths, padding=self.padding):
            if name in self._repeats:
                states.append(_repeated(frames, self._repeats[name]))
                if len(states) == len(self._names):
                    break
        shortest = [min(counts) for counts in zip(*(state.lengths for state in states), strict=True)]
        return {"hidden_states": [state.trimmed(shortest).padded() for state in states]}


def _repeated(frames: Frames, times: int) -> Frames:
    repeated = frames.map_runs(lambda run: run.repeat_interleave(times, dim=1))
    return Frames(repeated.data, repeated.lengths)


def _common(left: Fraction, right: Fraction) -> Fraction:
    """The greatest stride of which both are multiples."""
    scale = left.denominator * right.denominator
    return Fraction(gcd(int(left * scale), int(right * scale)), scale)
