"""The trained family that comes with the package: small models by name, with a card each.

``load_encoder("tiny-mrhubert-base")``. Weights are kept in half precision and load as float32.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.huggingface import read_config
from speechstrata.encoders.registry import PACKAGED_NAMES, LoadRequest
from speechstrata.errors import EncoderError
from speechstrata.files import atomic_path, write_text
from speechstrata.mrhubert.checkpoints import base_model, open_model
from speechstrata.mrhubert.encoder import load as load_folder

_FOLDER = Path(__file__).parent / "weights"
#: The model card, beside ``config.json`` and ``model.safetensors``.
CARD = "README.md"


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a packaged model by its name.

    Raises:
        EncoderError: the installation lacks its weights.
    """
    folder = packaged_folder(request.source)
    encoder = load_folder(replace(request, source=str(folder), config=read_config(str(folder))))
    encoder.name = request.name
    return encoder


def packaged_folder(name: str) -> Path:
    """Where a packaged model is: a ``save_pretrained`` folder.

    Raises:
        EncoderError: the installation lacks its weights.
    """
    folder = _FOLDER / name
    if name not in PACKAGED_NAMES or not (folder / "model.safetensors").is_file():
        raise EncoderError(f"the weights of {name} are not in this installation", "install speechstrata anew")
    return folder


def package_model(source: Path | str, folder: Path | str, card: str) -> Path:
    """Write the network of a training run for packaging: no prediction heads, half precision, its card.

    Args:
        source: ``model`` folder of a run.
        folder: to make.
        card: Markdown.

    Raises:
        CheckpointError: ``source`` is no model of the family.
    """
    model, folder = base_model(open_model(str(source))), Path(folder)
    model.config.architectures = [type(model).__name__]
    weights = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    write_text(folder / CARD, card)
    write_text(folder / "config.json", model.config.to_json_string())
    with atomic_path(folder / "model.safetensors") as partial:
        partial.write_bytes(save(weights, metadata={"format": "pt"}))
    return folder
