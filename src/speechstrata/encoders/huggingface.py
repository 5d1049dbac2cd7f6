"""Reading Hugging Face folders and hub names: configuration, preprocessor, weights, each checked."""

import json
import logging
import socket
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
import transformers
from huggingface_hub.utils import logging as hub_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from speechstrata.encoders.fingerprints import model_fingerprint
from speechstrata.encoders.registry import LoadRequest
from speechstrata.errors import EncoderError

_LOG = logging.getLogger(__name__)

#: Keys of config.json that say where a model came from or what its heads are for; they decide no hidden state.
_IRRELEVANT = frozenset(
    {
        "_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "output_attentions",
        "output_hidden_states", "return_dict", "tokenizer_class", "torch_dtype", "transformers_version",
        "use_cache", "vocab_size",
    }
)  # fmt: skip

_FINE_TUNED = ("ForCTC", "ForSequenceClassification", "ForAudioFrameClassification", "ForXVector")


def read_config(source: str) -> dict[str, Any]:
    """The content of a model's ``config.json``.

    Args:
        source: a folder, or a hub name.

    Raises:
        EncoderError: there is no such folder or hub model, or its ``config.json`` is missing or broken.
    """
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise EncoderError(
                f"{source} has no config.json", "give a folder written by save_pretrained, or a checkpoint file"
            )
    elif source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source:
        raise EncoderError(f"there is no folder {source}", "check the path")
    try:
        with quiet():
            config, _ = transformers.PreTrainedConfig.get_config_dict(source, **hub_options(source))
    except Exception as error:  # of a damaged configuration transformers makes any
        if path.is_dir():
            raise EncoderError(f"{source}/config.json cannot be read: {_first_line(error)}") from error
        raise EncoderError(
            f"{source!r} is neither a folder here nor a model that the Hugging Face hub gives out: "
            f"{_first_line(error)}",
            "check the name and the network, log in for a gated model, or give a folder that holds the model",
        ) from error
    return dict(config)


@dataclass(frozen=True)
class Preprocessing:
    """What a model's preprocessor file says about its waveforms.

    Attributes:
        sample_rate: hertz.
        normalize: zero mean and unit variance per utterance; ``None`` where the file is missing or silent.
        values: the whole file.
    """

    sample_rate: int
    normalize: bool | None
    values: Mapping[str, Any]


def read_preprocessing(source: str) -> Preprocessing:
    """What a model's preprocessor file says; 16 kHz, said in the log, where it has none.

    Newer folders have it inside ``processor_config.json``, others in ``preprocessor_config.json``.

    Raises:
        EncoderError: such a file cannot be read or fetched.
    """
    for name in ("processor_config.json", "preprocessor_config.json"):
        try:
            with quiet():
                path = transformers.utils.cached_file(
                    source, name, _raise_exceptions_for_missing_entries=False, **hub_options(source)
                )
            values = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
            if name == "processor_config.json":
                values = values.get("feature_extractor", {})
            if values:
                return Preprocessing(int(values.get("sampling_rate", 16000)), values.get("do_normalize"), values)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise EncoderError(
                f"{name} of {source} cannot be read: {_first_line(error)}", "fetch the model again"
            ) from error
    _LOG.warning("%s has no preprocessor_config.json: taken to need 16 kHz audio", source)
    return Preprocessing(16000, None, {})


def load_model(model_class: Any, request: LoadRequest, optional: Sequence[str] = ()) -> Any:
    """A transformers model in float32: its weights from ``request.source``, or drawn anew for the control.

    Args:
        model_class: e.g. ``transformers.HubertModel``; checkpoints of its fine-tuned relatives load too.
        request: what to load.
        optional: parameters that play no part in the hidden states and may be missing.

    Raises:
        EncoderError: the configuration or the weights are broken, or the weights are not this model's.
    """
    try:
        config = model_class.config_class.from_dict(dict(request.config))
        if request.control == "random":
            return random_model(lambda: model_class(config), request.seed)
        with quiet():
            model, report = model_class.from_pretrained(
                request.source,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                **hub_options(request.source),
            )
    except Exception as error:  # transformers, safetensors, torch and the hub each raise their own
        raise EncoderError(
            f"{request.source} cannot be loaded as {model_class.__name__}: {_first_line(error)}",
            "check that the folder is complete, or fetch the model again",
        ) from error
    missing = sorted(key for key in report["missing_keys"] if key not in optional)
    mismatched = sorted(str(key) for key in report.get("mismatched_keys", ()))
    if missing or mismatched:
        wrong = missing or mismatched
        raise EncoderError(
            f"the weights of {request.source} do not fit its config.json: {len(wrong)} "
            f"{'missing' if missing else 'of another shape'}, the first {wrong[0]}",
            "check that config.json and the weights belong to the same model",
        )
    return model


def random_model(build: Any, seed: int) -> Any:
    """What ``build`` makes with torch's random state at ``seed``; the state is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def supervision_of(request: LoadRequest, pretrained: str) -> str:
    """How the model was trained: ``pretrained`` unless its weights are random or its head is a fine-tuned one's."""
    if request.control == "random":
        return "random weights"
    heads = request.config.get("architectures") or ()
    return "supervised" if any(head.endswith(_FINE_TUNED) for head in heads) else pretrained


def fingerprint_of(module: nn.Module, config: Any, **preprocessing: object) -> str:
    """The fingerprint of a transformers module: its class, configuration, preprocessing and weights."""
    values = {key: value for key, value in config.to_dict().items() if key not in _IRRELEVANT}
    architecture = {"class": type(module).__name__, "config": values, "preprocessing": preprocessing}
    return model_fingerprint(architecture, module.state_dict())


def hub_options(source: str) -> dict[str, bool]:
    """What to tell transformers about the network: without one it would try each file six times, for 23 s."""
    if Path(source).is_dir() or urllib.request.getproxies():
        return {}
    try:
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, 443)
    except OSError:
        return {"local_files_only": True}  # what was downloaded before is found all the same
    return {}


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, reports and retries from transformers: what matters in them is checked, and raised as an error."""
    level, hub_level = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
