"""A reproduction's folder that looks like a real one, for the report's tests: invented numbers in the agreed form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import synthetic_runs as synthetic

from speechstrata.experiments.cells import Cell, cells_of, layer_blocks
from speechstrata.experiments.score_tables import PROBE_COLUMNS, RESIDUAL_COLUMNS, SCORE_COLUMNS, WEIGHT_COLUMNS
from speechstrata.files import write_json
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.named import named_config
from speechstrata.mrhubert.taps import benchmark_states

EXAMPLE = Path(__file__).parent.parent / "data" / "experiments" / "findings.json"
SCORES = ("cca-mel", "cca-phone", "cca-word", "cca-glove", "mi-phone", "mi-word", "spoken-sts")
#: Where a metric lies, and what the auxiliary loss does to it.
METRICS = {
    ("asr", "wer"): (0.62, -0.05), ("asr", "cer"): (0.30, -0.03), ("sf", "slot_type_f1"): (0.74, 0.02),
    ("sf", "slot_value_cer"): (0.35, -0.01), ("se", "stoi"): (0.89, 0.0), ("se", "pesq"): (1.9, 0.02),
    ("ic", "accuracy"): (0.91, 0.01), ("ks", "accuracy"): (0.88, 0.0), ("sd", "accuracy"): (0.86, 0.0),
    ("sd", "der"): (0.11, 0.0),
}  # fmt: skip


def shape_of(cell: Cell) -> dict[str, float]:
    """What sets a cell's curves apart."""
    height = {"hubert": 0.9, "neither": 0.92}.get(cell.name, 1.0)
    return {"peak": 0.85, "early": 0.8 if cell.auxiliary else 0.05, "height": height}


def model_of(cell: Cell, name: str) -> synthetic.SyntheticModel:
    return synthetic.SyntheticModel(
        name, synthetic.network_layers(cell.network), scores=SCORES, variants=False, **shape_of(cell)
    )  # fmt: skip


def score_rows(cell: Cell | None, seed: int, control: str, corpus: str, protocol: str) -> list[dict[str, Any]]:
    """Rows of ``scores.csv`` of one model."""
    if cell is None:
        model = synthetic.fbank(SCORES)
        blocks: dict[str, str] = {}
    else:
        model = model_of(cell, cell.encoder if seed == 1 else f"{cell.encoder}-s{seed}")
        blocks = layer_blocks(cell)
        if control:
            model = synthetic.random_of(model)
    rng = np.random.default_rng([seed, len(corpus), len(model.name)])
    shift = float(rng.normal(0, 0.012))
    rows = synthetic.rows_of(model, 3, protocol == "published")
    return [
        {name: row[name] for name in row if name in SCORE_COLUMNS}
        | {
            "corpus": corpus, "corpus_fingerprint": f"fp-{corpus}", "protocol": protocol,
            "cell": cell.name if cell else "", "control": control, "training_seed": seed,
            "block": blocks.get(row["layer"], ""), "value": row["value"] + shift,
        }
        for row in rows
    ]  # fmt: skip


def weight_rows(cell: Cell, task: str, seed: int) -> list[dict[str, Any]]:
    config: NetworkConfig = named_config(cell.network)
    states = benchmark_states(config)
    strides = {layer["name"]: layer["stride_ms"] for layer in synthetic.network_layers(cell.network)}
    blocks = layer_blocks(cell)
    rng = np.random.default_rng([seed, len(task), cell.auxiliary])
    centre = {"se": 0.0, "sd": 0.4, "ks": 0.5}.get(task, 0.65 if cell.auxiliary else 0.9)
    width = 0.5 if task in ("sd", "ks") else 0.16
    places = np.linspace(0, 1, len(states))
    weights = np.exp(-(((places - centre) / width) ** 2)) + 0.03 * rng.random(len(states))
    weights /= weights.sum()
    return [
        {
            "index": index, "layer": layer, "stride_ms": strides[layer], "block": blocks[layer],
            "weight": float(weight), "mean_norm": 3.0, "weight_times_norm": float(weight),
        }
        for index, (layer, weight) in enumerate(zip(states, weights, strict=True))
    ]  # fmt: skip


CORPORA = (("amazon-queen", "published", (1, 2, 3)), ("demo", "small-corpus", (1,)))


def write_paper(folder: Path, replication: bool = True) -> Path:
    """Write a folder as ``speechstrata reproduce`` leaves it, less the tables, figures and page."""
    cells = cells_of("tiny")
    scores, probes, weights, cost = [], [], [], []
    for corpus, protocol, seeds in CORPORA if replication else CORPORA[:1]:
        scores += score_rows(None, 0, "fbank", corpus, protocol)
        for cell in cells:
            for seed in seeds if cell.name in ("mrhubert-base", "b4-a", "b5-a", "neither") else (1,):
                scores += score_rows(cell, seed, "", corpus, protocol)
            scores += score_rows(cell, 1, "random", corpus, protocol)
    for number, cell in enumerate(cells):
        for task in ("asr", "sf", "se", "ic", "ks", "sd"):
            for seed in (0, 1):
                origin = {
                    "task": task, "cell": cell.name, "control": "", "model": cell.encoder, "training_seed": 1,
                    "probe_seed": seed, "corpus": f"mini-{task}", "mini": True, "budget": 1.0,
                }  # fmt: skip
                weights += [origin | row for row in weight_rows(cell, task, seed)]
                for (of_task, metric), (level, effect) in METRICS.items():
                    if of_task == task:
                        value = level + (effect if cell.auxiliary else 0) + 0.004 * seed
                        probes.append(origin | {"split": "test", "metric": metric, "value": value})
        macs = 1.45e9 - 2.3e8 * cell.downsampling + 4e7 * (cell.layers != (6,))
        cost.append({"cell": cell.name, "parameters": 2_900_000 + number, "macs_per_second": macs, "seconds": 15.0})
    residual = [
        {"variant": variant, "seed": seed, "step": 4000, "loss_bits": loss, "train_loss_bits": loss + 0.4}
        for variant, loss in (("post", 4.81), ("pre", 4.77))
        for seed in (1, 2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(scores, schema=SCORE_COLUMNS).with_columns(source=pl.lit("committed")).write_csv(folder / "scores.csv")
    pl.DataFrame(probes, schema=PROBE_COLUMNS).write_csv(folder / "probes.csv")
    pl.DataFrame(weights, schema=WEIGHT_COLUMNS).write_csv(folder / "probe_weights.csv")
    pl.DataFrame(residual, schema=RESIDUAL_COLUMNS).write_csv(folder / "residual.csv")
    pl.DataFrame(cost).write_csv(folder / "cost.csv")
    write_json(folder / "config.json", {"scale": "tiny", "output": "runs/paper", "seed": 0})
    write_json(folder / "findings.json", findings(cells, replication))
    if not replication:
        return folder
    synthetic.write_run(
        folder / "analysis" / "demo", [*_demo_models(cells), synthetic.fbank(SCORES)], corpus="demo",
        protocol="small-corpus",
    )  # fmt: skip
    _same_fingerprint(folder / "analysis" / "demo" / "provenance.json")
    return folder


def _demo_models(cells: tuple[Cell, ...]) -> list[synthetic.SyntheticModel]:
    models = [model_of(cell, cell.encoder) for cell in cells]
    return [each for model in models for each in (model, synthetic.random_of(model))]


def _same_fingerprint(file: Path) -> None:
    provenance = json.loads(file.read_text())
    provenance["corpus"]["fingerprint"] = "fp-demo"
    file.write_text(json.dumps(provenance))


def findings(cells: tuple[Cell, ...], replication: bool = True) -> dict[str, Any]:
    """The example's findings, with the real cells and the corpora of the folder."""
    example: dict[str, Any] = json.loads(EXAMPLE.read_text())
    example["design"]["cells"] = [
        {
            "cell": cell.name, "label": cell.label, "encoder": cell.encoder, "auxiliary": cell.auxiliary,
            "downsampling": cell.downsampling, "resolutions_ms": list(cell.resolutions_ms),
            "layers": list(cell.layers), "models": [cell.encoder],
        }
        for cell in cells
    ]  # fmt: skip
    example["design"]["corpora"] = example["design"]["corpora"][: 2 if replication else 1]
    for corpus in example["design"]["corpora"]:
        corpus["fingerprint"] = f"fp-{corpus['name']}"
    return example
