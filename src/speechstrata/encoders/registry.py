"""Which code loads which model: one entry per family, imported only when such a model is asked for.

A loader is a function ``load(request: LoadRequest) -> SpeechEncoder`` that returns the encoder on the CPU.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.errors import EncoderError

Control = Literal["random"] | None
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class LoadRequest:
    """What ``load_encoder`` was asked for.

    Attributes:
        source: folder, file, hub name or built-in name, as given.
        config: the content of the model's ``config.json``; empty for files and built-in names.
        control: "random" for the same architecture with weights drawn anew.
        seed: of those weights.
        precision: "float32", or "bfloat16" for automatic mixed precision.
        normalize: whether waveforms are brought to zero mean and unit variance; ``None`` as the model says.
        unnormed: also tap the last Transformer layer before the final layer norm, where there is one.
    """

    source: str
    config: Mapping[str, Any]
    control: Control = None
    seed: int = 0
    precision: Precision = "float32"
    normalize: bool | None = None
    unnormed: bool = False

    @property
    def name(self) -> str:
        """The encoder's name in reports."""
        return f"{self.source}+random" if self.control == "random" else self.source


Loader = Callable[[LoadRequest], SpeechEncoder]

_WAV2VEC2 = "speechstrata.encoders.wav2vec2:load"
_MRHUBERT = "speechstrata.mrhubert.encoder:load"

#: ``model_type`` of a Hugging Face folder's config.json -> "module:function".
FAMILIES: dict[str, str] = {
    "data2vec-audio": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "moonshine": "speechstrata.encoders.moonshine:load",
    "moonshine_streaming": "speechstrata.encoders.moonshine_streaming:load",
    "mrhubert": _MRHUBERT,
    "unispeech": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
    "wav2vec2": _WAV2VEC2,
    "wav2vec2-bert": "speechstrata.encoders.wav2vec2_bert:load",
    "wav2vec2-conformer": "speechstrata.encoders.wav2vec2_conformer:load",
    "wavlm": _WAV2VEC2,
    "whisper": "speechstrata.encoders.whisper:load",
}

#: Suffix of a checkpoint file -> "module:function".
FILE_TYPES: dict[str, str] = {".pt": _MRHUBERT, ".pth": _MRHUBERT}

#: Models of the family whose weights come with the package.
PACKAGED_NAMES = (
    "tiny-hubert",
    "tiny-mrhubert-base",
    "tiny-b2-a",
    "tiny-b4-a",
    "tiny-b5-a",
    "tiny-neither",
)

#: Names that need no file -> "module:function".
BUILT_IN: dict[str, str] = {
    **dict.fromkeys(PACKAGED_NAMES, "speechstrata.mrhubert.packaged:load"),
    "fbank": "speechstrata.encoders.fbank:load",
    "mfcc": "speechstrata.encoders.mfcc:load",
    "moonshine-tiny": "speechstrata.encoders.moonshine_package:load",
}


def loader(entry: str) -> Loader:
    """Import the function that an entry "module:function" names."""
    module, _, function = entry.partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def refuse_normalize(request: LoadRequest, reason: str) -> None:
    """For models whose features leave no choice.

    Raises:
        EncoderError: ``normalize`` was asked for.
    """
    if request.normalize is not None:
        raise EncoderError(f"{request.source} cannot take normalize={request.normalize}: {reason}", "leave it out")
