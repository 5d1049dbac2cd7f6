"""Released checkpoints: files of fairseq, and of the SUPERB benchmark's converter.

Where a file's configuration and its tensors could disagree, the tensors are believed. Neither fairseq nor omegaconf
is needed, and nothing in the file is executed (:mod:`speechstrata.mrhubert.unpickle`).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechstrata.errors import CheckpointError, InputError
from speechstrata.mrhubert.config import ConvLayer, NetworkConfig, Ratio
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.dialects import fairseq_rules
from speechstrata.mrhubert.expressions import parse_expression
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.unpickle import StoredTensor, plain, read_checkpoint

#: The dictionaries of the published code begin with <s>, <pad>, </s>, <unk>.
_SPECIAL_SYMBOLS = 4


def read_fairseq(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Read a released file: the network, and its tensors by our names, in float32.

    Raises:
        CheckpointError: the file is damaged, hostile, or holds another network; the message names the key.
    """
    content = read_checkpoint(path)
    try:
        model, task, tensors = _sections(content)
        network = _fairseq_network(model, task, {name: stored.shape for name, stored in tensors.items()})
        rules = fairseq_rules(network)
        with torch.device("meta"):
            expected = MRHubertForPreTraining(MRHubertConfig(network)).state_dict()
        known = {name for rule in rules for name in rule.theirs}
        for name in tensors:
            if name not in known:
                raise CheckpointError(f"unknown tensor {name}", "only HuBERT and MR-HuBERT networks can be read")
        for rule in rules:
            for name, wanted in zip(rule.theirs, rule.write(expected[rule.ours]), strict=True):
                if name not in tensors:
                    raise CheckpointError(f"the tensor {name} is missing", "fetch the file again")
                if tensors[name].shape != tuple(wanted.shape):
                    raise CheckpointError(
                        f"the tensor {name} has shape {tensors[name].shape}, not {tuple(wanted.shape)}",
                        "its weights and its configuration do not belong together",
                    )
        state = {rule.ours: rule.read([tensors[name].load(name).float() for name in rule.theirs]) for rule in rules}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.remedy) from error
    except InputError as error:
        raise CheckpointError(f"{path}: {error.message}", "it is not a network that can be built") from error
    return network, state


def _sections(content: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, StoredTensor]]:
    """The model's settings, the task's settings and the tensors of a file, whatever its dialect."""
    if not isinstance(content, dict):
        raise CheckpointError("it holds no dictionary", "give a HuBERT or MR-HuBERT checkpoint")
    if "model_weight" in content:  # the benchmark's conversion
        root = {"model": plain(content.get("model_cfg")), "task": plain(content.get("task_cfg"))}
        weights = content["model_weight"]
    else:
        weights = content.get("model")
        root = plain(content.get("cfg"))
        if not root:  # before fairseq had configurations: one namespace of arguments
            arguments = plain(content.get("args"))
            root = {"model": arguments, "task": arguments}
    if not isinstance(weights, dict) or not all(isinstance(value, StoredTensor) for value in weights.values()):
        raise CheckpointError(
            f"it holds no weights under 'model' (its keys: {', '.join(map(str, list(content)[:8]))})",
            "give a HuBERT or MR-HuBERT checkpoint of fairseq, or of the benchmark's converter",
        )
    sections = []
    for name in ("model", "task"):
        section = root.get(name) if isinstance(root, dict) else None
        if not isinstance(section, dict):
            raise CheckpointError(f"it holds no configuration of its {name}", "fetch the file again")
        sections.append({key: _resolved(value, root) for key, value in section.items()})
    return sections[0], sections[1], weights


def _resolved(value: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Follow a reference such as ``${task.label_rate}``."""
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    if match is None or depth > 8:
        return value
    found: Any = root
    for part in match[1].split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return _resolved(found, root, depth + 1)


#: Settings of the published code of which only one value is understood, with what they are when absent.
_FAIRSEQ_ONLY = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "attn_type": "",
    "pos_enc_type": "abs",
    "conv_pos_batch_norm": False,
    "pos_conv_depth": 1,
    "target_glu": False,
}


def _fairseq_network(
    model: Mapping[str, Any], task: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> NetworkConfig:
    for name, wanted in _FAIRSEQ_ONLY.items():
        if model.get(name, wanted) not in (wanted, None):
            raise CheckpointError(f"{name} = {model[name]!r} is not supported", f"only {wanted!r} is")
    multi = any(name.startswith("middle_encoder.") for name in shapes)
    ratios = _ratios(_setting(model, "label_rate_ratios", (list, str))) if multi else ()
    names = [f"encoders.{i}" for i in range(len(ratios))] if multi else ["encoder"]
    if multi:
        names += ["middle_encoder", *(f"decoders.{i}" for i in range(len(ratios)))]
    encoders = {name.split(".")[1] for name in shapes if name.startswith("encoders.")}
    if len(encoders) != len(ratios):
        raise CheckpointError(
            f"{len(encoders)} encoders do not fit label_rate_ratios = {model.get('label_rate_ratios')!r}",
            "its weights and its configuration do not belong together",
        )
    tables = sorted((name for name in shapes if name.startswith("label_embs_concat")), key=_last_number)
    if not tables:
        raise CheckpointError("the tensor label_embs_concat is missing", "give a pre-trained, not a fine-tuned, model")
    classes = tuple(_size(shapes, name, 0) for name in tables)
    shared = not multi or len(tables) == 1 or bool(_setting(model, "use_single_target", bool))
    if shared and len(set(classes)) > 1:
        raise CheckpointError(f"use_single_target does not fit tables of {classes} classes", "fetch the file again")
    rate = float(_setting(task, "label_rate", (int, float)))
    rates = [rate]
    if not shared and not model.get("use_multi_stream"):  # one label file for each resolution, at its own rate
        for up, down in ratios:
            rates.append(rates[-1] * up / down)
    first = f"{names[0]}.pos_conv.0.weight_v"
    base = NetworkConfig()
    convs = _conv_layers(_setting(model, "conv_feature_layers", str))
    sampled = "upsample_modules.0.downsample_conv.0.weight" in shapes
    kernel = next((shape[2] for name, shape in shapes.items() if re.search(r"sample_conv\.0\.weight$", name)), 1)
    return replace(
        base,
        layers=tuple(_layer_count(shapes, name) for name in names),
        ratios=ratios,
        dim=_size(shapes, "mask_emb", 0),
        ffn_dim=_size(shapes, f"{names[0]}.layers.0.fc1.weight", 0),
        heads=_setting(model, "encoder_attention_heads", int),
        layer_norm_first=_setting(model, "layer_norm_first", bool),
        positional_kernel=_size(shapes, first, 2),
        positional_groups=_size(shapes, first, 0) // max(1, _size(shapes, first, 1)),
        extractor="layer_norm" if "feature_extractor.conv_layers.0.2.1.weight" in shapes else "default",
        conv_layers=convs,
        conv_bias="feature_extractor.conv_layers.0.0.bias" in shapes,
        normalize=_setting(task, "normalize", bool),
        sampling="adapter" if sampled or not multi else "plain",
        sampling_kernel=kernel,
        auxiliary_heads=len(tables) > 1 or not multi,
        classes=classes[:1] if shared else classes,
        label_rates=(rate,) if shared else tuple(rates if len(rates) > 1 else rates * len(classes)),
        label_offset=_SPECIAL_SYMBOLS,
        final_dim=_size(shapes, tables[0], 1),
        logit_temperature=float(model.get("logit_temp", base.logit_temperature)),
        dropout=float(model.get("dropout", base.dropout)),
        attention_dropout=float(model.get("attention_dropout", base.attention_dropout)),
        activation_dropout=float(model.get("activation_dropout", base.activation_dropout)),
        input_dropout=float(model.get("dropout_input", base.input_dropout)),
        layerdrop=float(model.get("encoder_layerdrop", base.layerdrop)),
        feature_grad_mult=float(model.get("feature_grad_mult", base.feature_grad_mult)),
        sample_rate=int(task.get("sample_rate", base.sample_rate)),
    )


def _ratios(value: Any) -> tuple[Ratio, ...]:
    numbers = parse_expression(value) if isinstance(value, str) else value
    if isinstance(numbers, (list, tuple)) and len(numbers) % 2 == 0 and all(isinstance(n, int) for n in numbers):
        return tuple(zip(numbers[::2], numbers[1::2], strict=True))
    raise CheckpointError(f"label_rate_ratios = {value!r} is not a list of pairs", "fetch the file again")


def _conv_layers(expression: str) -> tuple[ConvLayer, ...]:
    value = parse_expression(expression)
    if isinstance(value, int) or not all(isinstance(item, tuple) and len(item) == 3 for item in value):
        raise CheckpointError(f"conv_feature_layers = {expression!r} is not a list of triples", "fetch the file again")
    return NetworkConfig.from_dict({"conv_layers": value}).conv_layers


def _setting(section: Mapping[str, Any], name: str, kinds: type | tuple[type, ...]) -> Any:
    if name not in section:
        raise CheckpointError(f"its configuration lacks {name}", "fetch the file again")
    if not isinstance(section[name], kinds):
        raise CheckpointError(f"{name} = {section[name]!r} in its configuration is of the wrong kind", "fetch it again")
    return section[name]


def _size(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int) -> int:
    if name not in shapes:
        raise CheckpointError(f"the tensor {name} is missing", "give a HuBERT or MR-HuBERT checkpoint")
    if len(shapes[name]) <= axis:
        raise CheckpointError(f"the tensor {name} has shape {shapes[name]}", "fetch the file again; it is damaged")
    return shapes[name][axis]


def _layer_count(shapes: Mapping[str, tuple[int, ...]], block: str) -> int:
    pattern = re.compile(re.escape(block) + r"\.layers\.(\d+)\.")
    numbers = {int(match[1]) for name in shapes if (match := pattern.match(name))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise CheckpointError(f"the layers of {block} are not numbered from 0", "fetch the file again")
    return len(numbers)


def _last_number(name: str) -> int:
    return int(name.rpartition(".")[2]) if name[-1].isdigit() else 0
