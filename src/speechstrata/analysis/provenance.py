"""Where an analysis's numbers come from: the models with their layers, the corpus, and how all of it was made."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechstrata.analysis.material import Material
from speechstrata.analysis.pooling import RowStore
from speechstrata.analysis.spans import count_speakers
from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.provenance import provenance

#: The training step in the name of a checkpoint.
STEP = re.compile(r"step[-_=]?(\d+)")


@dataclass
class AnalysedModel:
    """An encoder of a run, where its pooled rows are, and the keys of its results."""

    source: str
    role: str
    control_of: str | None
    encoder: SpeechEncoder
    layers: tuple[Layer, ...]
    store: RowStore
    cache: Path
    keys: list[str] = field(default_factory=list)

    @property
    def step(self) -> int | None:
        """The training step in the checkpoint's name, if there is one."""
        match = STEP.search(self.source)
        return int(match[1]) if match else None


def layer_depths(layers: Sequence[Layer]) -> tuple[float, ...]:
    """How deep each layer is: the share of the encoder's Transformer layers that its states have passed.

    The input of the first Transformer layer (``T0``) is at 0, the output of the last at 1; the states between two
    Transformer layers (sampling modules, skips) take the depth of the layer they come after. The layers before
    ``T0`` are negative, one Transformer layer's step each. An encoder without Transformer layers is at 0.
    """
    passed: list[int | None] = []
    count: int | None = None
    for layer in layers:
        if layer.name.startswith("T") and layer.name[1:].isdigit():
            count = int(layer.name[1:])
        passed.append(count)
    total = max((value for value in passed if value is not None), default=0)
    if total == 0:
        return tuple(0.0 for _ in layers)
    before = passed.count(None)
    return tuple(
        (position - before) / total if value is None else value / total for position, value in enumerate(passed)
    )


def describe_run(models: Sequence[AnalysedModel], material: Material, seed: int) -> dict[str, Any]:
    """The content of ``provenance.json``."""
    corpus, utterances = material.corpus, material.utterances
    speakers, share = count_speakers(utterances.speakers, utterances.seconds.tolist())
    described = []
    for model in models:
        depths = layer_depths(model.encoder.layers)
        described.append(
            {
                "name": model.encoder.name,
                "role": model.role,
                "control_of": model.control_of,
                "supervision": model.encoder.supervision,
                "fingerprint": model.encoder.fingerprint,
                "parameters": model.encoder.parameters,
                "sample_rate": model.encoder.sample_rate,
                "step": model.step,
                "layers": [
                    {
                        "name": layer.name,
                        "kind": layer.kind,
                        "stride_ms": milliseconds(layer.stride, model.encoder),
                        "offset_ms": milliseconds(layer.offset, model.encoder),
                        "dim": layer.dim,
                        "index": index,
                        "depth": depths[index],
                    }
                    for index, layer in enumerate(model.encoder.layers)
                    if layer in model.layers
                ],
            }
        )
    return {
        **provenance([seed]),
        "corpus": {
            "name": corpus.name,
            "description": corpus.description,
            "licence": corpus.licence,
            "fingerprint": corpus.fingerprint,
            "utterances": len(utterances.ids),
            "hours": float(utterances.seconds.sum() / 3600),
            "speakers": speakers,
            "largest_speaker_share": share,
        },
        "models": described,
        "protocol": {**asdict(material.protocol), "text": material.statement},
    }


def milliseconds(samples: Any, encoder: SpeechEncoder) -> float:
    """A number of samples of the encoder's, as milliseconds."""
    return 1000 * float(samples) / encoder.sample_rate
