"""From a name to an encoder: ``load_encoder("moonshine-tiny")``, a Hugging Face folder or hub name, a checkpoint."""

from pathlib import Path

import torch

from speechstrata.encoders.averaged import AveragedEncoder, parse_averaged
from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.registry import (
    BUILT_IN,
    FAMILIES,
    FILE_TYPES,
    Control,
    LoadRequest,
    Precision,
    loader,
)
from speechstrata.errors import EncoderError


def load_encoder(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: Precision = "float32",
    control: Control = None,
    seed: int = 0,
    normalize: bool | None = None,
    unnormed: bool = False,
) -> SpeechEncoder:
    """Load a speech encoder.

    Args:
        name_or_path: ``moonshine-tiny`` (pretrained; needs the extra ``demo``), ``fbank`` (the log-mel control), a
            Hugging Face folder, a hub name such as ``facebook/hubert-base-ls960``, or a checkpoint file; or
            ``averaged:40ms:`` and any of these, for its states averaged to one every 40 ms.
        device: where it runs, e.g. "cpu", "cuda", "cuda:1".
        dtype: "float32", or "bfloat16" for automatic mixed precision (float32 weights, states in float32).
        control: "random" re-initialises the architecture by its own scheme; its name gets "+random".
        seed: of the control's weights.
        normalize: bring each waveform to zero mean and unit variance; ``None`` takes what the model's
            ``preprocessor_config.json`` says.
        unnormed: in pre-LN models, also tap the last layer before the final layer norm (``T12-unnormed``).

    Raises:
        EncoderError: no such model, not a speech encoder, weights that do not fit, or no such device.
        MissingExtraError: ``moonshine-tiny`` without its package.
    """
    if dtype not in ("float32", "bfloat16"):
        raise EncoderError(f"unknown dtype {dtype!r}", 'use "float32" or "bfloat16"')
    if control not in (None, "random"):
        raise EncoderError(f"unknown control {control!r}", 'use "random", or leave it out')
    source = str(name_or_path)
    averaged = parse_averaged(source)
    if averaged is not None:
        inner = load_encoder(
            averaged.source,
            device=device,
            dtype=dtype,
            control=control,
            seed=seed,
            normalize=normalize,
            unnormed=unnormed,
        )
        return AveragedEncoder(inner, averaged.milliseconds, f"{source}+random" if control else source)
    entry, config = _resolve(source)
    request = LoadRequest(
        source=source,
        config=config,
        control=control,
        seed=seed,
        precision=dtype,
        normalize=normalize,
        unnormed=unnormed,
    )
    return loader(entry)(request).to(device)


def _resolve(source: str) -> tuple[str, dict[str, object]]:
    """The registry entry for ``source``, and the model's configuration where it has one."""
    if source in BUILT_IN:
        return BUILT_IN[source], {}
    path = Path(source)
    if path.is_file() or path.suffix in FILE_TYPES:
        if path.suffix not in FILE_TYPES:
            known = ", ".join(FILE_TYPES) or "none"
            raise EncoderError(
                f"{source} is a file of an unknown kind", f"give a model folder, or a checkpoint ({known})"
            )
        if not path.is_file():
            raise EncoderError(f"there is no file {source}", "check the path")
        return FILE_TYPES[path.suffix], {}
    from speechstrata.encoders.huggingface import read_config  # transformers takes a second to import

    config = read_config(source)
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        kind = f"of type {model_type!r}" if model_type else "without a model_type in its config.json"
        raise EncoderError(
            f"{source} is a model {kind}, not a speech encoder known here",
            f"the known types are: {', '.join(sorted(FAMILIES))}",
        )
    return FAMILIES[model_type], config
