"""The network as a transformers model: waveforms in, states of every resolution out."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import Padding, block_plan, frontend_length
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.frontend import ConvExtractor, LogMel, split_runs
from speechstrata.mrhubert.packing import Frames
from speechstrata.mrhubert.sampling import SamplingModule
from speechstrata.mrhubert.taps import all_block_taps, benchmark_states, front_end_names
from speechstrata.mrhubert.transformer import TransformerBlock


class MRHubertPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialising, for both models."""

    config_class = MRHubertConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = "audio"
    _supports_sdpa = True
    _no_split_modules = ["TransformerLayer"]  # noqa: RUF012 - transformers declares it so

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights as the published code does, except those that a checkpoint brought."""
        if isinstance(module, MRHubertModel):
            init.uniform_(module.mask_embedding)
            if module.projection is not None:
                bound = module.projection.in_features**-0.5
                init.uniform_(module.projection.weight, -bound, bound)
                init.uniform_(module.projection.bias, -bound, bound)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()


class MRHubertModel(MRHubertPreTrainedModel):
    """Waveforms to states, at every resolution.

    An utterance's states are the same alone and in any batch, and padding costs nothing: frames are packed
    (:mod:`speechstrata.mrhubert.packing`). With ``padding="reference"`` in the config, padded batches behave as in the
    published code instead.
    """

    _keys_to_ignore_on_load_unexpected = [r"heads\..*"]  # noqa: RUF012 - transformers declares it so

    def __init__(self, config: MRHubertConfig) -> None:
        super().__init__(config)
        network = self.network = config.network
        self.plan = block_plan(network)
        log_mel = network.extractor == "log_mel"
        self.front_end = LogMel(network) if log_mel else ConvExtractor(network)
        self.feature_norm = None if log_mel else nn.LayerNorm(network.frontend_dim)
        self.projection = nn.Linear(network.frontend_dim, network.dim) if network.has_projection else None
        self.mask_embedding = nn.Parameter(torch.empty(network.dim))
        self.samplings = nn.ModuleDict(
            {block.sampling.name: SamplingModule(network, block.sampling) for block in self.plan if block.sampling}
        )
        self.blocks = nn.ModuleList(TransformerBlock(network, block) for block in self.plan)
        self.post_init()

    def taps(
        self,
        inputs: Tensor,
        lengths: Sequence[int],
        mask: Tensor | None = None,
        *,
        every_conv: bool = False,
        padding: Padding | None = None,
        frame_limit: int | None = None,
    ) -> Iterator[tuple[str, Frames]]:
        """Run the network and yield every tap as it appears: (name, frames), in the order of computation.

        What follows the last tap that a caller takes is not computed. Names and their meaning:
        :func:`speechstrata.mrhubert.taps.tap_plan`.

        Args:
            inputs: (batch, samples), padded with anything; or, for the log-mel front-end, (batch, 10 ms frames,
                bins) from :func:`~speechstrata.mrhubert.frontend.log_mel`.
            lengths: samples (10 ms frames) of each.
            mask: (batch, frames) bool at the front-end's rate: frames to be replaced by the mask embedding.
            every_conv: yield all layers of the extractor, not only the last.
            padding: ``valid`` or ``reference``; the config's by default.
            frame_limit: keep only so many frames of the front-end.

        Raises:
            InputError: lengths that do not fit, or a waveform too short for one frame.
        """
        reference = (padding or self.network.padding) == "reference"
        counts = [int(length) for length in lengths]
        inputs, parts = self._split(inputs, counts, reference)
        names = front_end_names(self.network)
        features, index = None, 0 if every_conv else len(names) - 1
        states = self.front_end(parts, every_conv)
        learns = torch.is_grad_enabled() and self.network.feature_grad_mult > 0
        while True:
            with torch.set_grad_enabled(learns):
                features = next(states, None)
            if features is None:
                break
            if index == len(names) - 1:
                features = last = self._finish_features(features, inputs, counts, frame_limit, reference)
            yield names[index], features
            index += 1
        x = last.replace(self._project(last.data))
        yield "projection", x
        x = x.replace(F.dropout(x.data, self.network.input_dropout, self.training))
        if mask is not None:
            if mask.shape[0] != len(x.lengths) or mask.shape[1] < max(x.lengths):
                raise InputError(
                    f"a mask of shape {tuple(mask.shape)} does not cover {len(x.lengths)} x {max(x.lengths)} frames",
                    "make it for the front-end's frames: see frontend_length",
                )
            packed = Frames.pack(mask[:, : max(x.lengths)], x.lengths).data
            x = x.replace(torch.where(packed[:, None], self.mask_embedding.to(x.data.dtype), x.data))
        yield from self._chain(x)

    def _split(self, inputs: Tensor, lengths: list[int], reference: bool) -> tuple[Tensor, list[Tensor]]:
        """The batch as runs without padding; as one padded run where the published behaviour is wanted."""
        normalize = self.network.normalize
        parts = split_runs(inputs, lengths, normalize)
        if inputs.dim() == 2:
            for length in set(lengths):
                if frontend_length(self.network, length) == 0:
                    raise InputError(
                        f"a waveform of {length} samples is too short for a frame",
                        f"give at least {self.network.receptive_field} samples",
                    )
        if not reference:
            return inputs, parts
        padded = inputs.new_zeros(inputs.shape)
        start = 0
        for part in parts:
            padded[start : start + len(part), : part.shape[1]] = part
            start += len(part)
        return padded, [padded]

    def _finish_features(
        self, features: Frames, inputs: Tensor, lengths: list[int], limit: int | None, reference: bool
    ) -> Frames:
        """The extractor's output with its gradient scaled and, for parity, its padding marked."""
        if limit is not None:
            features = features.trimmed([min(length, limit) for length in features.lengths])
        data = features.data
        if data.requires_grad and self.network.feature_grad_mult != 1:
            data = _ScaleGradient.apply(data, self.network.feature_grad_mult)
        padding = features.padding
        if reference and set(lengths) != {inputs.shape[1]}:
            padding = _frame_padding(inputs, lengths, features.lengths[0])
        return Frames(data, features.lengths, padding)

    def _project(self, features: Tensor) -> Tensor:
        if self.feature_norm is not None:
            features = self.feature_norm(features)
        return features if self.projection is None else self.projection(features)

    def _chain(self, x: Frames) -> Iterator[tuple[str, Frames]]:
        """The blocks in order of execution, with their sampling modules and skip connections."""
        outputs: dict[str, Frames] = {}
        pairs = all_block_taps(self.network)
        for (spec, names), block in zip(pairs, self.blocks, strict=True):
            if spec.sampling is not None:
                x = cast(SamplingModule, self.samplings[spec.sampling.name])(x)
                yield spec.sampling.name, x
                if spec.role == "decoder" and spec.skip and self.network.residual == "pre":
                    x = _add(x, outputs[spec.skip])
                    yield f"{spec.sampling.name}.post_skip", x
            if x.padding is not None:  # the published code zeroes a block's padded input in place
                x = x.replace(x.data.masked_fill(x.padding[:, None], 0))
            source = x
            states = cast(TransformerBlock, block).states(x)
            for name, state in zip((names.first, *names.layers, names.output), states, strict=True):
                x = source.replace(state)
                yield name, x
            if spec.role == "middle":
                x = _add(x, source)
                yield names.joined, x
            elif spec.role == "decoder" and spec.skip and self.network.residual == "post":
                x = _add(x, outputs[spec.skip])
                yield names.joined, x
            outputs[spec.name] = x

    def block_outputs(
        self,
        inputs: Tensor,
        lengths: Sequence[int],
        mask: Tensor | None = None,
        frame_limit: int | None = None,
    ) -> tuple[Frames, dict[str, Frames]]:
        """The front-end's output, and each block's output after its skip connection, by block name."""
        wanted = {names.joined: spec.name for spec, names in all_block_taps(self.network)}
        features, outputs = None, {}
        last = front_end_names(self.network)[-1]
        for name, frames in self.taps(inputs, lengths, mask, frame_limit=frame_limit):
            if name == last:
                features = frames
            elif name in wanted:
                outputs[wanted[name]] = frames
        assert features is not None
        return features, outputs

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        mask_time_indices: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        lengths: Sequence[int] | Tensor | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """States of a padded batch, as transformers users expect them.

        Args:
            input_values: (batch, samples) waveforms, padded on the right.
            attention_mask: (batch, samples), 1 where a sample is the utterance's; all by default.
            mask_time_indices: (batch, frames) bool, frames to be replaced by the mask embedding.
            output_hidden_states: also give the states of every Transformer layer.
            return_dict: False gives a tuple.
            lengths: in samples, instead of ``attention_mask``.

        Returns:
            ``last_hidden_state`` (batch, frames, dim), zero beyond each utterance; ``hidden_states``: the
            input of each block's first layer and each layer's output (for HuBERT those of
            transformers' ``HubertModel``; names: :func:`~speechstrata.mrhubert.taps.benchmark_states`), each
            at its own resolution.
        """
        counts = batch_lengths(input_values, attention_mask, lengths)
        if output_hidden_states is None:
            output_hidden_states = bool(getattr(self.config, "output_hidden_states", False))
        wanted = set(benchmark_states(self.network)) if output_hidden_states else set()
        states, frames = [], None
        for name, frames in self.taps(input_values, counts, mask_time_indices):
            if name in wanted:
                states.append(frames.padded())
        assert frames is not None
        output = BaseModelOutput(
            last_hidden_state=frames.padded(), hidden_states=tuple(states) if output_hidden_states else None
        )
        return output if return_dict is not False else output.to_tuple()


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, data: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return data.view_as(data)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def _add(left: Frames, right: Frames) -> Frames:
    """The sum of two states, trimmed to the shorter, utterance by utterance."""
    lengths = [min(pair) for pair in zip(left.lengths, right.lengths, strict=True)]
    left, right = left.trimmed(lengths), right.trimmed(lengths)
    return left.replace(left.data + right.data)


def _frame_padding(inputs: Tensor, lengths: list[int], frames: int) -> Tensor:
    """True where all samples of a frame's share of the batch are padding (golden behaviour 5): (frames,)."""
    share = inputs.shape[1] // frames
    starts = torch.arange(frames, device=inputs.device) * share
    return (starts >= torch.tensor(lengths, device=inputs.device)[:, None]).flatten()


def batch_lengths(inputs: Tensor, attention_mask: Tensor | None, lengths: Sequence[int] | Tensor | None) -> list[int]:
    """The lengths of a batch as a list: as given, or by the mask, or all of its width."""
    if lengths is None:
        if attention_mask is None:
            return [inputs.shape[1]] * inputs.shape[0]
        lengths = attention_mask.sum(-1)
    return [int(length) for length in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


AutoConfig.register(MRHubertConfig.model_type, MRHubertConfig)
AutoModel.register(MRHubertConfig, MRHubertModel)
