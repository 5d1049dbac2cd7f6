"""Our networks as speech encoders: every tap of HuBERT and MR-HuBERT as a layer with its own clock."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder, Visitor
from speechstrata.encoders.huggingface import fingerprint_of, load_model, random_model, supervision_of
from speechstrata.encoders.module_encoder import ModuleEncoder, Step, check_batch
from speechstrata.encoders.registry import LoadRequest
from speechstrata.mrhubert.checkpoints import base_model, open_model
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.taps import Tap, benchmark_states, front_end_names, tap_lengths, tap_plan


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a released ``.pt`` file, or a folder or hub name of ``model_type`` "mrhubert".

    Raises:
        CheckpointError: a file that is damaged, hostile, or no HuBERT.
        EncoderError: a folder that is incomplete.
    """
    if Path(request.source).is_file():
        model = base_model(open_model(request.source))
        if request.control == "random":
            config = model.config
            model = random_model(lambda: MRHubertModel(config), request.seed)
    else:
        model = load_model(MRHubertModel, request)
    if request.normalize is not None:
        model.config.normalize = request.normalize
        model.network = model.config.network
    return MRHubertEncoder(
        model,
        unnormed=request.unnormed,
        name=request.name,
        fingerprint=fingerprint_of(model, model.config),
        supervision=supervision_of(request, "self-supervised"),
        precision=request.precision,
    )


class MRHubertEncoder(ModuleEncoder):
    """A network of the family as layers; names and clocks: :mod:`speechstrata.mrhubert.taps`.

    An utterance's states are the same alone and in any batch, whatever the network's ``padding`` setting says.

    Args:
        model: the network.
        unnormed: in pre-LN models, also tap each block's last layer before the block's LayerNorm.
        settings: see :class:`ModuleEncoder`.
    """

    module: MRHubertModel

    def __init__(self, model: MRHubertModel, *, unnormed: bool = False, **settings: str) -> None:
        self.network = model.network
        taps = [tap for tap in tap_plan(self.network) if unnormed or not tap.name.endswith("-unnormed")]
        self._aliases = {alias: tap.name for tap in taps for alias in tap.aliases}
        super().__init__(
            module=model,
            layers=tuple(map(_layer, taps)),
            sample_rate=self.network.sample_rate,
            **settings,  # type: ignore[arg-type]
        )

    @property
    def benchmark_states(self) -> tuple[str, ...]:
        """The layers that the SUPERB benchmark's wrapper lists: 13 for HuBERT base, 15 for MR-HuBERT base."""
        return benchmark_states(self.network)

    def layer(self, name: str) -> Layer:
        """The layer of that name, or of that other name (``middle.pre_skip`` is ``T8`` in MR-HuBERT base)."""
        return super().layer(self._aliases.get(name, name))

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        return tap_lengths(self.network, samples)[layer.name]

    @torch.inference_mode()
    def visit(self, waveforms: Tensor, lengths: Tensor, visitor: Visitor, layers: Sequence[str] | None = None) -> None:
        """See :meth:`SpeechEncoder.visit`; only what is wanted is unpacked, nothing after it is computed."""
        chosen = self.layers if layers is None else [self.layer(name) for name in layers]
        wanted = {layer.name: layer for layer in chosen}
        samples = check_batch(self, waveforms, lengths, list(wanted.values()))
        audio = waveforms[:, : max(samples)].to(self.device, torch.float32)
        with self._autocast():
            for name, states, frames in self._steps(audio, samples, wanted):
                counts = torch.tensor(frames, dtype=torch.long, device=states.device)
                visitor(wanted.pop(name), HiddenStates(states.float(), counts))
                if not wanted:
                    return

    def _steps(self, audio: Tensor, lengths: Sequence[int], wanted: Collection[str] | None = None) -> Iterator[Step]:
        wanted = [layer.name for layer in self.layers] if wanted is None else wanted
        every_conv = any(name in wanted for name in front_end_names(self.network)[:-1])
        for name, frames in self.module.taps(audio, lengths, every_conv=every_conv, padding="valid"):
            if name in wanted:
                yield Step(name, frames.padded(), frames.lengths)


def _layer(tap: Tap) -> Layer:
    stride = tap.stride.numerator if tap.stride.denominator == 1 else tap.stride
    return Layer(tap.name, stride, tap.offset, tap.dim, tap.kind)
