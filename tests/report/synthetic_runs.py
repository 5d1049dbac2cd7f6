"""Run folders that look like real ones, for the report's tests: invented numbers with the shapes of known curves."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

UNITS = {
    "cca-mel": "frame", "cca-mfcc": "frame", "cca-intra": "frame", "cca-phone": "phone", "mi-phone": "phone",
    "cca-word": "word", "cca-glove": "word", "cca-agwe": "word", "cca-inter": "word", "mi-word": "word",
    "spoken-sts": "sentence",
}  # fmt: skip
ALL_SCORES = tuple(UNITS)
SIZES = {"frame": 24_000, "phone": 7_000, "word": 7_000, "sentence": 4_000}
PUBLISHED = (
    "Three sample sets, drawn with the seeds below: 500 words with 15 instances each, 39 phones with at most 200 "
    "instances each, the frames of 500 utterances; parts stratified by label, three trials of 8/1/1 parts."
)
SMALL_CORPUS = (
    "24 minutes cannot carry the published sample: 61 words with at least 10 instances each (912 spans), 39 phones "
    "(3,120 spans), k = 80 clusters."
)


@dataclass(frozen=True)
class SyntheticModel:
    """What the generator needs to know of a model; ``peak`` in (0, 1) is where its word scores are highest."""

    name: str
    layers: list[dict[str, Any]]
    peak: float = 0.8
    early: float = 0.0
    height: float = 1.0
    role: str = "encoder"
    control_of: str | None = None
    supervision: str = "self-supervised"
    parameters: int | None = 94_700_000
    step: int | None = None
    scores: Sequence[str] = ALL_SCORES
    fingerprint: str = ""
    variants: bool = True
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _layer(name: str, kind: str, stride: float, index: int, depth: float, dim: int = 768) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "stride_ms": stride, "offset_ms": stride / 2, "dim": dim, "index": index,
        "depth": depth,
    }  # fmt: skip


def conv_layers(total: int, count: int = 7) -> list[dict[str, Any]]:
    """The feature extractor of the HuBERT family and its projection, at negative depths."""
    strides = [0.3125, 0.625, 1.25, 2.5, 5.0, 10.0, 20.0][7 - count :]
    layers = [
        _layer(f"conv{i + 1}", "conv", stride, i, (i - count - 1) / total, 512) for i, stride in enumerate(strides)
    ]
    return [*layers, _layer("projection", "projection", 20.0, count, -1 / total)]


def network_layers(name: str) -> list[dict[str, Any]]:
    """The layers of a named network, with the names, kinds and clocks that the analysis writes."""
    from speechstrata.analysis.provenance import layer_depths
    from speechstrata.encoders.base import Layer
    from speechstrata.mrhubert.named import named_config
    from speechstrata.mrhubert.taps import tap_plan

    config = named_config(name)
    taps = [tap for tap in tap_plan(config) if not tap.name.endswith("-unnormed")]
    depths = layer_depths([Layer(tap.name, tap.stride, tap.offset, tap.dim, tap.kind) for tap in taps])
    milliseconds = 1000 / config.sample_rate
    return [
        _layer(tap.name, tap.kind, float(tap.stride) * milliseconds, index, depth, tap.dim)
        for index, (tap, depth) in enumerate(zip(taps, depths, strict=True))
    ]


def plain_layers(total: int = 12, conv: bool = True, stride: float = 20.0) -> list[dict[str, Any]]:
    """A single-resolution encoder."""
    layers = conv_layers(total) if conv else []
    for number in range(total + 1):
        layers.append(_layer(f"T{number}", "transformer", stride, len(layers), number / total))
    return layers


def multi_resolution_layers(blocks: Sequence[tuple[int, float]], conv: bool = True) -> list[dict[str, Any]]:
    """An MR-HuBERT: ``blocks`` are (layers, stride in ms); D taps going down, U taps going up, skips after U."""
    total = sum(count for count, _ in blocks)
    layers = conv_layers(total) if conv else []
    layers.append(_layer("T0", "transformer", blocks[0][1], len(layers), 0.0))
    passed = 0
    for number, (count, stride) in enumerate(blocks):
        if number:
            kind = "D" if number <= len(blocks) // 2 else "U"
            place = number - 1 if kind == "D" else len(blocks) - 1 - number
            if kind == "U" and number == len(blocks) // 2 + 1:
                layers.append(_layer("pre_skip", "sampling", blocks[number - 1][1], len(layers), passed / total))
            layers.append(_layer(f"{kind}{place}", "sampling", stride, len(layers), passed / total))
        for _ in range(count):
            passed += 1
            layers.append(_layer(f"T{passed}", "transformer", stride, len(layers), passed / total))
    layers.append(_layer("post_skip", "sampling", blocks[-1][1], len(layers), 1.0))
    return layers


def _curve(score: str, depth: float, model: SyntheticModel) -> float:
    """An invented mean with the shape that the literature reports."""
    if model.name.startswith("fbank"):
        return {"cca-mel": 0.99, "cca-mfcc": 0.97, "cca-phone": 0.32, "mi-phone": 0.21, "spoken-sts": 0.08}.get(
            score, 0.24
        )
    bump = math.exp(-(((depth - model.peak) / 0.22) ** 2)) + model.early * math.exp(-(((depth - 0.55) / 0.12) ** 2))
    if model.supervision == "random weights":
        bump = 0.12 * math.exp(-depth)
    if score in ("cca-mel", "cca-mfcc"):
        rise = math.exp(-(((depth + 0.1) / 0.35) ** 2))
        return 0.35 + (0.2 if model.supervision == "random weights" else 0.5) * rise
    if score == "cca-intra":
        return 0.3 + 0.7 * math.exp(-max(depth, 0) * 1.6)
    base, gain = {
        "cca-phone": (0.35, 0.5), "mi-phone": (0.25, 0.45), "cca-word": (0.3, 0.55), "mi-word": (0.5, 0.35),
        "cca-glove": (0.25, 0.4), "cca-agwe": (0.35, 0.45), "cca-inter": (0.4, 0.4), "spoken-sts": (0.1, 0.4),
    }[score]  # fmt: skip
    return base + gain * model.height * min(1.0, bump) * (0.6 + 0.4 * max(depth, 0.0))


def rows_of(model: SyntheticModel, sets: int, published: bool, noise: float = 0.006) -> list[dict[str, Any]]:
    """The rows of ``scores.parquet`` of one model."""
    rows = []
    for score in model.scores:
        unit = UNITS[score]
        layers = [layer for layer in model.layers if unit == "frame" or layer["kind"] not in ("conv", "projection")]
        variants = [""]
        if model.variants and score in ("cca-glove", "cca-agwe"):
            variants += ["vectors-permuted", "types-disjoint"]
        default = {"cca-intra": ("T0",), "cca-glove": ("glove.6B.50d.txt",), "cca-inter": ("hubert-base:T9",)}
        for variant in variants:
            for reference in model.references.get(score, default.get(score, ("",))):
                for layer in layers:
                    mean = _curve(score, layer["depth"], model)
                    mean *= {"vectors-permuted": 0.62, "types-disjoint": 0.3}.get(variant, 1.0)
                    if layer["stride_ms"] >= 80 and unit == "phone":
                        mean *= 0.85
                    for sample_set in range(sets):
                        rng = np.random.default_rng([sample_set, layer["index"], len(model.name), len(score)])
                        value = float(np.clip(mean + rng.normal(0, noise), -0.2, 1.0))
                        mutual = score.startswith("mi-")
                        rows.append({
                            "model": model.name, "layer": layer["name"], "index": layer["index"],
                            "depth": layer["depth"], "kind": layer["kind"], "stride_ms": layer["stride_ms"],
                            "score": score, "unit": unit, "variant": variant, "reference": reference,
                            "sample_set": sample_set, "seed": 17 + sample_set, "value": value,
                            "nats": value * 6.1 if mutual else None, "baseline": 0.11 if mutual else None,
                            "n": SIZES[unit] if published else SIZES[unit] // 8,
                            "classes": {"phone": 39, "word": 500 if published else 61}.get(unit),
                            "k": ({"phone": 500, "word": 5000} if published else {"phone": 80, "word": 80})[unit]
                            if mutual else None,
                            "step": model.step, "warning": "",
                        })  # fmt: skip
    return rows


SCHEMA = {
    "model": pl.String, "layer": pl.String, "index": pl.Int64, "depth": pl.Float64, "kind": pl.String,
    "stride_ms": pl.Float64, "score": pl.String, "unit": pl.String, "variant": pl.String, "reference": pl.String,
    "sample_set": pl.Int64, "seed": pl.Int64, "value": pl.Float64, "nats": pl.Float64, "baseline": pl.Float64,
    "n": pl.Int64, "classes": pl.Int64, "k": pl.Int64, "step": pl.Int64, "warning": pl.String,
}  # fmt: skip


def write_run(
    folder: Path,
    models: Sequence[SyntheticModel],
    *,
    corpus: str = "amazon-queen",
    protocol: str = "published",
    sets: int = 3,
    problems: Sequence[dict[str, str]] = (),
) -> Path:
    """Write a whole run folder of ``models`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for model in models for row in rows_of(model, sets, protocol == "published")]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "scores.parquet")
    hours = {"amazon-queen": 4.53, "asterisk-en": 0.40}.get(corpus, 5.4)
    provenance = {
        "speechstrata": "0.1.0",
        "created": "2026-11-20T14:03:22+00:00",
        "command": f"speechstrata analyze {' '.join(m.name for m in models if m.role == 'encoder')} --corpus {corpus}",
        "packages": {"numpy": "2.4.0", "polars": "2.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "machine": {"platform": "Linux-6.1-x86_64", "cpu": "AMD EPYC", "cores": 2, "device": "cpu"},
        "seeds": [17 + number for number in range(sets)],
        "corpus": {
            "name": corpus, "description": "Read lines of a game's voice cast.", "licence": "CC-BY-SA-3.0",
            "fingerprint": hashlib.sha256(corpus.encode()).hexdigest()[:16],
            "utterances": 4213, "hours": hours, "speakers": 31, "largest_speaker_share": 0.34,
        },
        "models": [
            {
                "name": model.name, "role": model.role, "control_of": model.control_of,
                "supervision": model.supervision, "fingerprint": model.fingerprint or f"fp-{model.name}",
                "parameters": model.parameters, "sample_rate": 16_000, "step": model.step, "layers": model.layers,
            }
            for model in models
        ],
        "protocol": {
            "name": protocol,
            "text": PUBLISHED if protocol == "published" else SMALL_CORPUS,
            "word": {"classes": 500, "n": 7000}, "phone": {"classes": 39, "n": 7000},
        },
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2))
    config = {
        "corpus": corpus, "models": [model.name for model in models], "seed": 17, "sample_sets": sets,
        "cca": {"parts": 10, "trials": 3, "null_direction": "drop"}, "spans": {"phone": "published"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "problems.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    return folder


def fbank(scores: Sequence[str] = ALL_SCORES) -> SyntheticModel:
    """The log-mel filterbank, scored by those of ``scores`` that it can be scored by."""
    layer = _layer("fbank", "fbank", 10.0, 0, 0.0, 80)
    can = [score for score in scores if score not in ("cca-intra", "cca-inter")]
    return SyntheticModel("fbank", [layer], role="control", supervision="none", parameters=None, scores=can)


def random_of(model: SyntheticModel) -> SyntheticModel:
    return SyntheticModel(
        f"{model.name}+random", model.layers, role="control", control_of=model.name, supervision="random weights",
        scores=model.scores,
    )  # fmt: skip


MR3 = multi_resolution_layers([(3, 20.0), (2, 40.0), (2, 80.0), (3, 40.0), (2, 20.0)])
MR2 = multi_resolution_layers([(4, 20.0), (4, 40.0), (4, 20.0)])
PROBLEMS = (
    {"what": "utterance", "where": "cd1/lola-117.wav", "reason": "the audio is 0.04 s long", "remedy": ""},
    {
        "what": "spoken-sts", "where": "hubert-base", "reason": "no sentence pairs were given",
        "remedy": "pass --sts FILE with sentence pairs and human scores",
    },
)  # fmt: skip


def family() -> list[SyntheticModel]:
    """Five encoders as in the paper's Figure 2a, with controls."""
    hubert = SyntheticModel("hubert-base", plain_layers(), 0.8, 0.0, 0.93)
    models = [
        hubert,
        SyntheticModel("mrhubert-base", MR2, 0.82, 0.85),
        SyntheticModel("mrhubert-b2-a", MR3, 0.81, 0.8),
        SyntheticModel("mrhubert-b4-a", MR2, 0.79, 0.05, 0.96),
        SyntheticModel("facebook/wav2vec2-base", plain_layers(), 0.58, 0.1, 0.85, scores=ALL_SCORES[:-1]),
    ]
    return [*models, random_of(hubert), random_of(models[2]), fbank()]


def demo() -> list[SyntheticModel]:
    """What the demo makes: one pretrained encoder, its random control, the fbank."""
    scores = [score for score in ALL_SCORES if score not in ("spoken-sts", "cca-inter", "cca-agwe")]
    model = SyntheticModel(
        "moonshine-tiny", plain_layers(6, conv=False), 0.85, supervision="supervised", parameters=27_000_000,
        scores=scores,
    )  # fmt: skip
    return [model, random_of(model), fbank(scores)]


def checkpoints(steps: Sequence[int] = (1000, 3000, 10_000, 30_000, 100_000)) -> list[SyntheticModel]:
    """One small model at several training steps."""
    layers = multi_resolution_layers([(2, 20.0), (2, 40.0), (2, 20.0)], conv=False)
    models = [
        SyntheticModel(
            f"mr-tiny/checkpoint-{step}", layers, 0.8, 0.7, 0.25 * math.log10(step / 300), step=step,
            scores=("cca-phone", "cca-word", "mi-phone"),
        )
        for step in steps
    ]  # fmt: skip
    control = random_of(models[-1])
    return [*models, control, fbank(models[0].scores)]
