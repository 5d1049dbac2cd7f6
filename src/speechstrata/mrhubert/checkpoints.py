"""Every dialect of HuBERT and MR-HuBERT checkpoints, in and out.

In: released fairseq files (DictConfig, Namespace or dict configs), the SUPERB benchmark's converted files,
transformers HuBERT folders, and our own folders. Out: our own folders, and transformers' ``HubertModel`` where the
network is a HuBERT. What each dialect calls a tensor is in :mod:`speechstrata.mrhubert.dialects`.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor

from speechstrata.encoders.huggingface import hub_options, quiet, read_config, read_preprocessing
from speechstrata.errors import CheckpointError, InputError, SpeechstrataError
from speechstrata.mrhubert.config import ConvLayer, NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.dialects import transformers_rules
from speechstrata.mrhubert.fairseq import read_fairseq
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.model import MRHubertModel

Target = Literal["speechstrata", "transformers"]
Model = MRHubertForPreTraining | MRHubertModel


def open_model(source: Path | str) -> Model:
    """Load a network from any dialect, on the CPU, in float32.

    Args:
        source: a ``.pt`` file, or a folder (or hub name) of our models or of transformers' HuBERT.

    Returns:
        ``MRHubertForPreTraining`` where the source has its heads, else ``MRHubertModel``; in evaluation mode.

    Raises:
        CheckpointError: the source is damaged, hostile, of an unknown dialect, or holds another network.
        EncoderError: there is no such source.
    """
    if Path(source).is_file():
        network, state = read_fairseq(Path(source))
        return cast(Model, _assembled(MRHubertForPreTraining, network, state))
    config = read_config(str(source))
    match config.get("model_type"):
        case "mrhubert":
            heads = "MRHubertForPreTraining" in (config.get("architectures") or ())
            return cast(Model, _from_pretrained(MRHubertForPreTraining if heads else MRHubertModel, str(source)))
        case "hubert":
            return _open_transformers(str(source))
    raise CheckpointError(
        f"{source} holds a model of type {config.get('model_type')!r}",
        "give a HuBERT or MR-HuBERT: a fairseq .pt, or a folder of model_type hubert or mrhubert",
    )


def convert_checkpoint(source: Path | str, target: Path | str, to: Target = "speechstrata") -> Path:
    """Write a network, from any dialect, as a Hugging Face folder.

    Args:
        source: as for :func:`open_model`.
        target: the folder to make; it must not exist, or be empty.
        to: ``speechstrata`` for our classes, ``transformers`` for ``HubertModel``.

    Returns:
        The folder. It is complete, or not there.

    Raises:
        CheckpointError: as for :func:`open_model`, or the network is not one that transformers has.
        InputError: the folder exists already or cannot be written.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already", "give the name of a new folder")
    if to not in ("speechstrata", "transformers"):
        raise InputError(f"cannot convert to {to!r}", "convert to speechstrata or transformers")
    model = open_model(source)
    result = to_transformers(model) if to == "transformers" else model
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.partial-"))
        try:
            with quiet():
                result.save_pretrained(partial)
                # ours normalises inside the network, where the configuration says so
                normalize = to == "transformers" and model.network.normalize
                transformers.Wav2Vec2FeatureExtractor(
                    sampling_rate=model.network.sample_rate, do_normalize=normalize, return_attention_mask=True
                ).save_pretrained(partial)
            partial.chmod(0o755)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # the latter where the disk is full
        raise InputError(f"cannot write {target}: {error}", "choose another folder") from error
    return target


def to_transformers(model: Model) -> transformers.HubertModel:
    """The same network as transformers' ``HubertModel``.

    Raises:
        CheckpointError: it is not a HuBERT on waveforms.
    """
    network = model.network
    if network.ratios or network.extractor == "log_mel":
        reason = "several blocks" if network.ratios else "a log-mel front-end"
        raise CheckpointError(
            f"a network with {reason} is none of transformers' own",
            'convert it to "speechstrata", which AutoModel loads once speechstrata.mrhubert.model is imported',
        )
    state = {f"model.{name}": value for name, value in base_model(model).state_dict().items()}
    if not network.has_projection:
        state["model.projection.weight"] = torch.eye(network.dim)
        state["model.projection.bias"] = torch.zeros(network.dim)
    channels, kernels, strides = zip(*network.conv_layers, strict=True)
    config = transformers.HubertConfig(
        hidden_size=network.dim,
        num_hidden_layers=network.layers[0],
        num_attention_heads=network.heads,
        intermediate_size=network.ffn_dim,
        hidden_dropout=network.dropout,
        activation_dropout=network.activation_dropout,
        attention_dropout=network.attention_dropout,
        feat_proj_dropout=network.input_dropout,
        layerdrop=network.layerdrop,
        feat_extract_norm="layer" if network.extractor == "layer_norm" else "group",
        conv_dim=list(channels),
        conv_kernel=list(kernels),
        conv_stride=list(strides),
        conv_bias=network.conv_bias,
        num_conv_pos_embeddings=network.positional_kernel,
        num_conv_pos_embedding_groups=network.positional_groups,
        do_stable_layer_norm=network.layer_norm_first,
    )
    weights: dict[str, Tensor] = {}
    for rule in transformers_rules(network):
        weights.update(zip(rule.theirs, rule.write(state[rule.ours]), strict=True))
    converted = transformers.HubertModel(config).eval()
    converted.load_state_dict(weights)
    return converted


def _open_transformers(source: str) -> MRHubertModel:
    theirs = _from_pretrained(transformers.HubertModel, source, optional=("masked_spec_embed",))
    config = theirs.config
    for name, wanted in _TRANSFORMERS_ONLY.items():
        if getattr(config, name, wanted) != wanted:
            raise CheckpointError(
                f"{source}: {name} = {getattr(config, name)!r} in its config.json is not supported",
                f"only models with {wanted!r} are",
            )
    network = NetworkConfig(
        layers=(config.num_hidden_layers,),
        ratios=(),
        dim=config.hidden_size,
        ffn_dim=config.intermediate_size,
        heads=config.num_attention_heads,
        square_projection=config.conv_dim[-1] == config.hidden_size,
        layer_norm_first=config.do_stable_layer_norm,
        positional_kernel=config.num_conv_pos_embeddings,
        positional_groups=config.num_conv_pos_embedding_groups,
        extractor="layer_norm" if config.feat_extract_norm == "layer" else "default",
        conv_layers=tuple(map(ConvLayer, config.conv_dim, config.conv_kernel, config.conv_stride)),
        conv_bias=config.conv_bias,
        normalize=bool(read_preprocessing(source).normalize),
        dropout=config.hidden_dropout,
        activation_dropout=config.activation_dropout,
        attention_dropout=config.attention_dropout,
        input_dropout=config.feat_proj_dropout,
        layerdrop=config.layerdrop,
    )
    tensors = theirs.state_dict()
    tensors.setdefault("masked_spec_embed", torch.zeros(network.dim))
    state = {
        rule.ours.removeprefix("model."): rule.read([tensors[name] for name in rule.theirs])
        for rule in transformers_rules(network)
    }
    return cast(MRHubertModel, _assembled(MRHubertModel, network, state))


#: Settings of transformers' HuBERT of which only one value is the family's.
_TRANSFORMERS_ONLY = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "layer_norm_eps": 1e-5,
}


def _from_pretrained(model_class: Any, source: str, optional: tuple[str, ...] = ()) -> Any:
    try:
        with quiet():
            model, report = model_class.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, **hub_options(source)
            )
    except SpeechstrataError:
        raise
    except Exception as error:  # transformers, safetensors and torch each raise their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{source} cannot be loaded: {first}", "fetch or write the folder again") from error
    heads = ("lm_head.", "classifier.", "projector.", "heads.")
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        for key in sorted(map(str, report.get(problem) or ())):
            if key not in optional and not (problem == "unexpected_keys" and key.startswith(heads)):
                kind = problem.removesuffix("_keys")
                raise CheckpointError(
                    f"{source}: the tensor {key} is {kind}", "its weights and its config.json do not belong together"
                )
    return model.eval()


def _assembled(model_class: Any, network: NetworkConfig, state: Mapping[str, Tensor]) -> Any:
    with torch.device("meta"):
        model = model_class(MRHubertConfig(network))
    model.load_state_dict(state, assign=True)
    return model.eval()


def base_model(model: Model) -> MRHubertModel:
    """The network without heads."""
    return model.model if isinstance(model, MRHubertForPreTraining) else model
