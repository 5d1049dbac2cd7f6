"""Tables of a made-up family whose effects are known: seeds and sample sets vary around them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from speechstrata.experiments.cells import cells_of, layer_blocks, network_of
from speechstrata.experiments.score_tables import Measurements, empty, rows_table
from speechstrata.mrhubert.taps import tap_plan

CELLS = {cell.name: cell for cell in cells_of("tiny")}
METRICS = {"asr": ("wer", 0.4), "ks": ("accuracy", 0.8)}


def tables(
    effects: Mapping[str, float],
    *,
    seeds: int = 4,
    sets: int = 3,
    noise: float = 0.005,
    random_level: float = 0.2,
    wer: Mapping[str, float] | None = None,
    scores: tuple[str, ...] = ("cca-word", "cca-phone"),
) -> Measurements:
    """Scores of every base cell: .5 at each Transformer output, plus its effect in the middle block.

    Args:
        effects: cell -> what its middle block has more.
        seeds: training seeds.
        sets: sample sets.
        noise: standard deviation of seeds, of sample sets and of single values.
        random_level: of random weights, everywhere.
        wer: cell -> word error rate of the ASR probe.
        scores: names.
    """
    random = np.random.default_rng(0)
    rows = []
    for score in scores:
        set_noise = random.normal(0, noise, sets)
        for cell in CELLS.values():
            if cell.comparison != "base":
                continue
            blocks = layer_blocks(cell)
            for seed in range(1, seeds + 1):
                seed_noise = random.normal(0, noise)
                for index, tap in enumerate(tap_plan(network_of(cell))):
                    for number in range(sets):
                        level = 0.5 + effects.get(cell.name, 0.0) * (blocks.get(tap.name) == "middle")
                        value = level + seed_noise + set_noise[number] + random.normal(0, noise)
                        for control, shown in (("", value), ("random", random_level)):
                            rows.append(
                                {
                                    "corpus": "made up",
                                    "corpus_fingerprint": "f00d",
                                    "part_of": "",
                                    "protocol": "published",
                                    "cell": cell.name,
                                    "control": control,
                                    "training_seed": seed,
                                    "model": f"{cell.encoder}-s{seed}",
                                    "layer": tap.name,
                                    "index": index,
                                    "depth": 0.0,
                                    "kind": tap.kind,
                                    "stride_ms": 1000 * float(tap.stride) / 16000,
                                    "block": blocks.get(tap.name, ""),
                                    "score": score,
                                    "unit": "word",
                                    "variant": "",
                                    "reference": "",
                                    "sample_set": number,
                                    "seed": 0,
                                    "value": shown,
                                    "baseline": None,
                                    "n": 1000,
                                }
                            )
    probes = [
        {
            "task": "asr",
            "cell": cell,
            "control": "",
            "model": f"{cell}-s{seed}",
            "training_seed": seed,
            "probe_seed": probe,
            "corpus": "mini",
            "mini": True,
            "budget": 1.0,
            "split": "test",
            "metric": "wer",
            "value": rate * float(np.exp(random.normal(0, noise))),
        }
        for cell, rate in (wer or {}).items()
        for seed in range(1, seeds + 1)
        for probe in range(2)
    ]
    return Measurements(
        scores=rows_table("scores", rows, "made up"),
        probes=rows_table("probes", probes, "made up") if probes else empty("probes"),
        probe_weights=empty("probe_weights"),
        residual=pl.DataFrame(schema=empty("residual").schema),
    )
