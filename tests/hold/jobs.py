"""The long jobs in small: what is killed, starved of disk and run twice by the tests and by ``scripts/kill.py``."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Job:
    """A job that writes a folder.

    Attributes:
        name: of the command.
        prepare: makes its material in a folder.
        run: (material, output folder).
        result: what must be the same after any interruption; fails where the folder is not finished.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], None]
    result: Callable[[Path], Any]


def digest(*paths: Path) -> dict[str, str]:
    """The SHA-256 of files, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# analyze


def _analyze_material(folder: Path) -> None:
    from tests.analysis.speech import make_corpus, make_encoder

    make_corpus(folder / "tones", utterances=60)
    make_encoder(folder / "encoder")


def _analyze(material: Path, output: Path) -> None:
    from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
    from speechstrata.analysis.suite import analyze

    config = AnalysisConfig(
        scores=("cca-mel", "cca-phone", "cca-word", "mi-phone"),
        layers=("conv7", "T0", "T2"),
        sample_sets=2,
        min_words_per_type=3,
        mi_clusters_phone=6,
    )
    corpus = material / "tones" / "cuts.jsonl.gz"
    inputs = Inputs(models=(str(material / "encoder"),), corpus=str(corpus), controls=("fbank",))
    analyze(inputs, config, ComputeConfig(batch_seconds=8.0, score_workers=1), output)


def _analyze_result(output: Path) -> Any:
    import polars

    assert not (output / "cache").exists()
    return polars.read_parquet(output / "scores.parquet").to_dicts(), (output / "problems.jsonl").read_text()


# targets, pretrain


def _tones(folder: Path) -> None:
    from lhotse import CutSet

    from tests.pretraining.conftest import tone_cut

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    cuts = [
        tone_cut(folder, f"u{n:02d}", f"speaker{n % 8}", rng.choice(list("AEST"), rng.integers(6, 18)).tolist(), rng)
        for n in range(40)
    ]
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl")


def _cuts(material: Path) -> list[Any]:
    from lhotse import CutSet

    return list(CutSet.from_file(material / "cuts.jsonl"))


def _targets(material: Path, output: Path) -> None:
    from speechstrata.pretraining import clustering
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.targets import cluster_cuts

    clustering._PART_SECONDS = 5.0  # so that there is more than one part
    cluster_cuts(
        _cuts(material), output, TargetsConfig(clusters=12, sample_frames=2000, iterations=10, batch_seconds=5)
    )


def _targets_result(output: Path) -> Any:
    assert not list(output.glob("work-*"))
    return digest(*(output / name for name in ("units.npy", "index.json", "targets.json")))


def _pretrain_material(folder: Path) -> None:
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.targets import cluster_cuts

    _tones(folder)
    cluster_cuts(_cuts(folder), folder / "units", TargetsConfig(clusters=12, sample_frames=2000, iterations=10))


def _pretrain(material: Path, output: Path) -> None:
    from speechstrata.pretraining.recipes import config_from
    from speechstrata.pretraining.trainer import pretrain_cuts

    data = {
        "targets": [str(material / "units")], "batch_seconds": 8.0, "batches_per_step": 2, "minimum_seconds": 0.5,
        "maximum_seconds": 8.0, "buckets": 4, "validation_share": 0.2, "cache": "logmel", "workers": 0,
    }  # fmt: skip
    model = {"name": "tiny", "layers": [1, 1, 1], "dim": 48, "ffn_dim": 96, "positional_groups": 4, "layerdrop": 0.1}
    settings = {
        "model": model,
        "data": data,
        "optimizer": {"steps": 20, "warmup_steps": 4, "learning_rate": 2e-3},
        "run": {"log_every": 1, "checkpoint_every": 5, "validate_every": 10, "keep_every": 0, "accelerator": "cpu"},
    }
    pretrain_cuts(config_from(settings, "job"), _cuts(material), output)


def _pretrain_result(output: Path) -> Any:
    import csv

    with (output / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    timed = ("second", "audio_per", "time", "memory", "rate_per")
    kept = [{name: value for name, value in row.items() if not any(word in name for word in timed)} for row in rows]
    return kept, digest(output / "model" / "model.safetensors")


# superb


def _superb_material(folder: Path) -> None:
    import torch

    from speechstrata.mrhubert.configuration import MRHubertConfig
    from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
    from speechstrata.mrhubert.named import named_config
    from speechstrata.superb.corpora.probe_corpus import write_probe_corpus
    from tests.superb.conftest import HEIGHTS, tone

    corpus = folder / "keywords"
    corpus.mkdir(parents=True)
    rng = np.random.default_rng(0)
    splits = {
        split: [tone(corpus, f"{split}{n:02d}", list(HEIGHTS)[n % 3], rng) for n in range(size)]
        for split, size in {"train": 60, "dev": 24, "test": 24}.items()
    }
    about = {"licence": "", "source": "", "description": "Tones."}
    write_probe_corpus(corpus, task="ks", name="tones", splits=splits, mini=True, **about)
    config = replace(named_config("tiny"), layers=(1, 1, 1), dim=48, heads=2, ffn_dim=96, positional_groups=4)
    torch.manual_seed(0)
    MRHubertForPreTraining(MRHubertConfig(config)).save_pretrained(folder / "model")


def _superb(material: Path, output: Path) -> None:
    from speechstrata.superb.config import ProbeConfig
    from speechstrata.superb.training import ProbeInputs, train_probe

    config = ProbeConfig(set=("steps=60", "evaluate_every=10", "batch_size=16", "learning_rate=0.01"))
    train_probe(ProbeInputs("ks", str(material / "model"), str(material / "keywords")), config, output / "ks")


def _superb_result(output: Path) -> Any:
    result = json.loads((output / "ks" / "result.json").read_text())
    result.pop("seconds")
    names = ("metrics.csv", "weights.csv", "predictions-test.jsonl")
    return result, digest(*(output / "ks" / name for name in names))


# corpus prepare


def _prepare_material(folder: Path) -> None:
    from tests.hold.parsers import TEXTGRID, wave

    for number in range(60):
        (folder / "in" / f"s{number % 3}").mkdir(parents=True, exist_ok=True)
        stem = folder / "in" / f"s{number % 3}" / f"rec{number:02d}"
        stem.with_suffix(".wav").write_bytes(wave(1.0, 16_000 + number))
        stem.with_suffix(".TextGrid").write_text(TEXTGRID)


def _prepare(material: Path, output: Path) -> None:
    from speechstrata.corpora.prepare import prepare_corpus

    prepare_corpus("textgrid", material / "in", output)


def _prepare_result(output: Path) -> Any:
    from speechstrata.corpora.corpus import load_corpus

    assert load_corpus(output).counts.utterances == 60
    return digest(*(output / name for name in ("cuts.jsonl.gz", "corpus.json", "problems.jsonl")))


# superb prepare


def _voicebank_material(folder: Path) -> None:
    from tests.hold.parsers import wave

    for part, names in (("trainset_28spk", ("p226_001", "p230_001", "p231_001")), ("testset", ("p232_001",))):
        for kind in ("clean", "noisy"):
            (folder / "in" / f"{kind}_{part}_wav").mkdir(parents=True)
            for name in names:
                (folder / "in" / f"{kind}_{part}_wav" / f"{name}.wav").write_bytes(wave(0.5, 16_000))


def _prepare_probe(material: Path, output: Path) -> None:
    from speechstrata.superb.corpora.prepare import prepare_probe_corpus

    prepare_probe_corpus("voicebank-demand", material / "in", output)


def _prepare_probe_result(output: Path) -> Any:
    from speechstrata.superb.corpora.probe_corpus import load_probe_corpus

    assert {name: len(cuts) for name, cuts in load_probe_corpus(output).splits.items()} == {
        "train": 2, "dev": 1, "test": 1,
    }  # fmt: skip
    return digest(*sorted(output.glob("*.json*")))


# superb run


def _run_grid(material: Path, output: Path) -> None:
    from speechstrata.superb.config import ProbeConfig
    from speechstrata.superb.grid import plan_grid, run_grid

    config = ProbeConfig(set=("steps=1", "evaluate_every=1", "batch_size=16"))
    cells = plan_grid([str(material / "model")], [material / "keywords"], config, output)
    assert not run_grid(cells, output, report=lambda outcome: None)


def _run_grid_result(output: Path) -> Any:
    return digest(output / "weights.csv")


# agwe


def _agwe_material(folder: Path) -> None:
    from tests.agwe.spoken_words import make_words

    make_words(folder)


def _agwe(material: Path, output: Path) -> None:
    from speechstrata.agwe.config import AgweConfig
    from speechstrata.agwe.training import train_agwe

    shares = {"validation_share": 0.15, "test_share": 0.25, "minimum_seconds": 0.15}
    config = AgweConfig(symbols="characters", dim=8, hidden=8, symbol_dim=6, batch=32, epochs=1, **shares)
    train_agwe(material / "cuts.jsonl.gz", output, config)


def _agwe_result(output: Path) -> Any:
    return digest(output / "model.safetensors")


JOBS = (
    Job("analyze", _analyze_material, _analyze, _analyze_result),
    Job("targets", _tones, _targets, _targets_result),
    Job("pretrain", _pretrain_material, _pretrain, _pretrain_result),
    Job("superb", _superb_material, _superb, _superb_result),
    Job("corpus prepare", _prepare_material, _prepare, _prepare_result),
)
#: Not killed by the script: short, or made of the others.
FURTHER_JOBS = (
    Job("superb prepare", _voicebank_material, _prepare_probe, _prepare_probe_result),
    Job("superb run", _superb_material, _run_grid, _run_grid_result),
    Job("agwe train", _agwe_material, _agwe, _agwe_result),
)
