"""Every sequence task through the engine: a corpus on disk, a few steps, results with their metrics."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment

from speechstrata.files import read_json
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.corpora.probe_corpus import write_probe_corpus
from speechstrata.superb.tasks import load_task
from speechstrata.superb.training import ProbeInputs, train_probe

CONFIG = ProbeConfig(recipe="mini", set=("steps=2", "evaluate_every=1", "batch_size=2", "hidden=8", "width=8"))
METRICS = {
    "asr": {"wer", "cer"},
    "sf": {"slot_type_f1", "slot_value_cer", "wer"},
    "sd": {"accuracy", "der", "der_tuned_on_test"},
    "se": {"pesq", "stoi", "si_sdr", "si_sdri", "left_out"},
}


def recorded(folder: Path, name: str, samples: np.ndarray) -> Recording:
    soundfile.write(folder / f"{name}.wav", samples, 16_000)
    return Recording.from_file(folder / f"{name}.wav")


def example(folder: Path, task: str, name: str, rng: np.random.Generator) -> Any:
    seconds = float(rng.integers(10, 16)) / 10
    clean = 0.2 * np.sin(np.arange(round(seconds * 16_000)) * 0.05 * rng.uniform(0.9, 1.1))
    recording = recorded(folder, name, clean + 0.05 * rng.normal(size=len(clean)))

    def spoken(start: float = 0.0, end: float = seconds, **more: Any) -> SupervisionSegment:
        return SupervisionSegment(f"{name}-{start}", name, start, end - start, **more)

    labelled = {
        "asr": lambda: [spoken(text="hello there")],
        "sf": lambda: [spoken(text="play abba", custom={"words": ["play", "abba"], "slots": ["O", "artist"]})],
        "sd": lambda: [spoken(0.1, 0.6, speaker="a"), spoken(0.4, 0.9, speaker="b")],
        "se": lambda: [spoken()],
    }[task]()
    cut = MonoCut(name, 0.0, recording.duration, 0, supervisions=labelled, recording=recording)
    if task == "se":
        cut.custom = {"clean": recorded(folder, f"{name}-clean", clean), "snr": 5.0, "noise": "white"}
    return cut


@pytest.mark.parametrize("task", METRICS)
def test_a_task_trains_and_is_scored(task: str, model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "corpus").mkdir()
    splits = {
        split: [example(tmp_path / "corpus", task, f"{split}{number}", rng) for number in range(size)]
        for split, size in {"train": 4, "dev": 3, "test": 3}.items()
    }
    write_probe_corpus(
        tmp_path / "corpus", task=task, name="tiny", splits=splits, mini=True, licence="", source="", description="."
    )
    result = train_probe(ProbeInputs(task, str(model), str(tmp_path / "corpus")), CONFIG, tmp_path / "run")
    assert not result["problems"]
    assert set(result["test"]["test"]) == METRICS[task]
    assert all(np.isfinite(value) for value in result["test"]["test"].values())
    assert result == read_json(tmp_path / "run" / "result.json")
    assert len((tmp_path / "run" / "predictions-test.jsonl").read_text().splitlines()) == 3
    picked = {"asr": "cer"}.get(task, load_task(task).metric)
    assert result["metric"] == picked
    rows = pl.read_csv(tmp_path / "run" / "metrics.csv")
    steps = rows.sort(picked, "step", descending=[load_task(task).higher_is_better, False])["step"]
    assert result["best_step"] == steps[0]
    if task == "sd":
        assert set(result["decision"]) == {"threshold", "median"}
