"""Wav2Vec2-Conformer: the convolutional stack of wav2vec 2.0 under a Conformer."""

from collections.abc import Sequence
from typing import Any

import transformers
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.masking import frame_mask, zero_tails_
from speechstrata.encoders.registry import LoadRequest
from speechstrata.encoders.wav2vec2 import Wav2Vec2Encoder, load_as


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a Wav2Vec2-Conformer folder or hub name."""
    return load_as(request, transformers.Wav2Vec2ConformerModel, Wav2Vec2ConformerEncoder)


class Wav2Vec2ConformerEncoder(Wav2Vec2Encoder):
    """The model as layers: ``conv1``.., ``T0`` (the projection's output), ``T1``...

    A block's depthwise convolution reads both ways, and transformers does not mask it: in a padded batch it would
    see what the padding has become. Here the tails of its input are zeroed, which is what it sees alone.
    """

    def __init__(self, model: Any, **settings: Any) -> None:
        self._frames: Sequence[int] = ()
        for layer in model.encoder.layers:
            layer.conv_module.depthwise_conv.register_forward_pre_hook(self._zero_tails)
        super().__init__(model, **settings)

    def _zero_tails(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (zero_tails_(inputs[0], self._frames, dim=2),)

    def _is_pre_norm(self, config: Any) -> bool:
        return True

    def _describe(self, config: Any, unnormed: bool) -> tuple[Layer, ...]:
        layers = super()._describe(config, unnormed)
        return tuple(layer for layer in layers if layer.kind != "projection")  # which T0 is, here

    def _enter(self, encoder: Any, projected: Tensor, frames: Sequence[int]) -> tuple[Tensor, dict[str, Tensor | None]]:
        self._frames = frames
        mask = frame_mask(frames, projected.shape[1], projected.device)
        positions = encoder.embed_positions(projected) if encoder.embed_positions else None
        return projected, {
            "attention_mask": create_bidirectional_mask(encoder.config, projected, mask),
            "relative_position_embeddings": positions,
        }
