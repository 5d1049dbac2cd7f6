"""How the tensors of a network are called elsewhere: one list of rules for each dialect.

fairseq's names cover HuBERT and MR-HuBERT; transformers' cover HuBERT.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speechstrata.mrhubert.config import NetworkConfig, block_plan, sampling_convs


@dataclass(frozen=True)
class Rule:
    """How one of our tensors is written in a dialect.

    Attributes:
        ours: its name in ``MRHubertForPreTraining``.
        theirs: the dialect's tensors: one, or several stacked along the first axis.
        order: permutation of axes from theirs to ours, where they differ.
        shape: shape in the dialect of a tensor that is flat in ours.
    """

    ours: str
    theirs: tuple[str, ...]
    order: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def read(self, tensors: Sequence[Tensor]) -> Tensor:
        """Theirs to ours."""
        value = torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]
        value = value.flatten() if self.shape is not None else value
        return (value.permute(self.order) if self.order else value).contiguous()

    def write(self, tensor: Tensor) -> list[Tensor]:
        """Ours to theirs."""
        if self.order:
            tensor = tensor.permute([self.order.index(axis) for axis in range(tensor.dim())])
        if self.shape is not None:
            tensor = tensor.reshape(self.shape)
        return [part.contiguous() for part in tensor.chunk(len(self.theirs))]


_CONV = (0, 2, 1)  # (out, in, kernel) -> (out, kernel, in)
_TRANSPOSED = (2, 1, 0)  # (in, out, kernel) -> (kernel, out, in)


def _affine(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}.{name}", (f"{theirs}.{name}",)) for name in ("weight", "bias")]


def fairseq_rules(config: NetworkConfig, heads: bool = True) -> list[Rule]:
    """The published code's names, for HuBERT (one block) and MR-HuBERT."""
    single = not config.ratios
    rules = [Rule("model.mask_embedding", ("mask_emb",)), *_affine("model.feature_norm", "layer_norm")]
    layer_norm = config.extractor == "layer_norm"
    for index in range(len(config.conv_layers)):
        theirs = f"feature_extractor.conv_layers.{index}"
        ours = f"model.front_end.convolutions.{index}"
        rules.append(Rule(f"{ours}.weight", (f"{theirs}.0.weight",), _CONV))
        if config.conv_bias:
            rules.append(Rule(f"{ours}.bias", (f"{theirs}.0.bias",)))
        if layer_norm or index == 0:
            norm = f"{theirs}.2.1" if layer_norm else f"{theirs}.2"
            rules += _affine(f"model.front_end.norms.{index}", norm)
    if config.has_projection:
        rules += _affine("model.projection", "post_extract_proj")
    steps = len(config.ratios)
    for index, block in enumerate(block_plan(config)):
        number = block.name.removeprefix("encoder").removeprefix("decoder")
        theirs = {"encoder": "encoder" if single else f"encoders.{number}", "middle": "middle_encoder"}.get(
            block.role, f"decoders.{number}"
        )
        ours = f"model.blocks.{index}"
        if block.positional:
            gain = (1, 1, config.positional_kernel)
            rules += [
                Rule(f"{ours}.positional.gain", (f"{theirs}.pos_conv.0.weight_g",), shape=gain),
                Rule(f"{ours}.positional.direction", (f"{theirs}.pos_conv.0.weight_v",)),
                Rule(f"{ours}.positional.bias", (f"{theirs}.pos_conv.0.bias",)),
            ]
        rules += _affine(f"{ours}.norm", f"{theirs}.layer_norm")
        for layer in range(block.layers):
            rules += _layer_rules(f"{ours}.layers.{layer}", f"{theirs}.layers.{layer}", _FAIRSEQ_LAYER)
        if block.sampling is None:
            continue
        way = block.sampling.name.rstrip("0123456789")
        step = int(block.sampling.name.removeprefix(way))
        # the published code stores the modules of the way up in the order of the way down
        theirs = f"{way}sample_modules.{step if way == 'down' else steps - 1 - step}"
        has_up, has_down = sampling_convs(config, block.sampling)
        ours = f"model.samplings.{block.sampling.name}"
        for part, present, order in (("up", has_up, _TRANSPOSED), ("down", has_down, _CONV)):
            if present:
                rules.append(Rule(f"{ours}.{part}_conv.weight", (f"{theirs}.{part}sample_conv.0.weight",), order))
                rules += _affine(f"{ours}.{part}_norm", f"{theirs}.{part}sample_conv.2")
    if heads:
        for head in range(config.head_count):
            projection, classes = (
                ("final_proj", "label_embs_concat") if single else (f"final_projs.{head}", f"label_embs_concat.{head}")
            )
            rules += _affine(f"heads.{head}.projection", projection)
            rules.append(Rule(f"heads.{head}.classes", (classes,)))
    return rules


_FAIRSEQ_LAYER = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "ffn_in": ("fc1",),
    "ffn_out": ("fc2",),
    "ffn_norm": ("final_layer_norm",),
}
_TRANSFORMERS_LAYER = {
    "qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "out": ("attention.out_proj",),
    "attention_norm": ("layer_norm",),
    "ffn_in": ("feed_forward.intermediate_dense",),
    "ffn_out": ("feed_forward.output_dense",),
    "ffn_norm": ("final_layer_norm",),
}


def _layer_rules(ours: str, theirs: str, names: Mapping[str, tuple[str, ...]]) -> Iterator[Rule]:
    for ours_name, parts in names.items():
        for kind in ("weight", "bias"):
            yield Rule(f"{ours}.{ours_name}.{kind}", tuple(f"{theirs}.{part}.{kind}" for part in parts))


def transformers_rules(config: NetworkConfig) -> list[Rule]:
    """The names of transformers' ``HubertModel``."""
    rules = [Rule("model.mask_embedding", ("masked_spec_embed",))]
    rules += _affine("model.feature_norm", "feature_projection.layer_norm")
    rules += _affine("model.projection", "feature_projection.projection")
    for index in range(len(config.conv_layers)):
        ours, theirs = f"model.front_end.convolutions.{index}", f"feature_extractor.conv_layers.{index}"
        rules.append(Rule(f"{ours}.weight", (f"{theirs}.conv.weight",), _CONV))
        if config.conv_bias:
            rules.append(Rule(f"{ours}.bias", (f"{theirs}.conv.bias",)))
        if config.extractor == "layer_norm" or index == 0:
            rules += _affine(f"model.front_end.norms.{index}", f"{theirs}.layer_norm")
    theirs = "encoder.pos_conv_embed.conv"
    weight = f"{theirs}.parametrizations.weight"
    rules += [
        Rule("model.blocks.0.positional.gain", (f"{weight}.original0",), shape=(1, 1, config.positional_kernel)),
        Rule("model.blocks.0.positional.direction", (f"{weight}.original1",)),
        Rule("model.blocks.0.positional.bias", (f"{theirs}.bias",)),
        *_affine("model.blocks.0.norm", "encoder.layer_norm"),
    ]
    for layer in range(config.layers[0]):
        rules += _layer_rules(f"model.blocks.0.layers.{layer}", f"encoder.layers.{layer}", _TRANSFORMERS_LAYER)
    return rules
