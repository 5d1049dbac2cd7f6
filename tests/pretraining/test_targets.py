"""Units from audio: good clusters, the same bytes for any number of workers, and nothing lost by a kill."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechstrata.errors import CorpusError, InputError, TooFewSamplesError
from speechstrata.files import LOCK_FILE, hold, read_json
from speechstrata.pretraining import clustering
from speechstrata.pretraining.config import TargetsConfig
from speechstrata.pretraining.features import feature_source
from speechstrata.pretraining.mfcc import mfcc_length
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.targets import cluster_cuts, read_kmeans, sample_rows, share_targets
from speechstrata.pretraining.units import UnitStore
from speechstrata.sharding import Shard

CONFIG = TargetsConfig(clusters=12, sample_frames=2_000, iterations=10, batch_seconds=10)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_PART_SECONDS", 15.0)


@pytest.fixture(scope="module")
def made(cuts: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cluster_cuts(cuts, tmp_path_factory.mktemp("targets") / "mfcc", CONFIG)


def test_units_of_tones_tell_the_tones_apart(made: Path, cuts: list[Any]) -> None:
    store = UnitStore.open(made)
    assert list(store) == [cut.id for cut in cuts]
    assert (store.rate, store.classes, store.offset) == (100.0, 12, 199.5)
    for cut in cuts:
        assert len(store.units(cut.id)) == mfcc_length(cut.num_samples)
    quality = read_json(made / "targets.json")["quality"]
    assert quality["phone_purity"] > 0.8
    assert quality["pnmi"] > 0.6
    assert quality["used"] == 12


def test_every_unit_is_the_nearest_centroid(made: Path, cuts: list[Any]) -> None:
    store, centroids = UnitStore.open(made), read_kmeans(made).centroids
    source = feature_source(CONFIG)
    speech = Speech.of_cuts(cuts)
    for index in (0, 17):
        wave = speech.load(index)
        features = source.features(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0]
        distance = ((features[:, None] - centroids) ** 2).sum(axis=2)
        ours = store.units(cuts[index].id)
        chosen = np.take_along_axis(distance, ours[:, None].astype(int), axis=1)[:, 0]
        assert np.all(chosen <= distance.min(axis=1) * (1 + 1e-3))


def test_two_workers_give_the_same_bytes_as_one(made: Path, cuts: list[Any], tmp_path: Path) -> None:
    cluster_cuts(cuts, tmp_path / "two", replace(CONFIG, workers=2))
    for name in ("units.npy", "index.json", "targets.json"):
        assert (tmp_path / "two" / name).read_bytes() == (made / name).read_bytes()
    assert not list((tmp_path / "two").glob("work-*"))


@pytest.mark.parametrize("count", [2, 4])
def test_shards_give_the_bytes_of_one_process(made: Path, cuts: list[Any], tmp_path: Path, count: int) -> None:
    def share(index: int) -> str:
        return share_targets(cuts, tmp_path, CONFIG, Shard(index, count))

    assert "parts of the sample are missing" in share(0)
    assert "parts of the sample are missing" in share(0)  # again: nothing is done twice, nothing is made up
    assert "run shard 0 again" in [share(index) for index in range(1, count)][-1]
    assert "parts are missing" in share(0)
    assert [share(index) for index in range(1, count)][-1] == "run the same command without --shard"
    assert not (tmp_path / "targets.json").exists()
    cluster_cuts(cuts, tmp_path, CONFIG)
    for name in ("units.npy", "index.json", "targets.json"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    assert share(1) == ""


def test_only_one_process_makes_the_units_of_a_folder(cuts: list[Any], tmp_path: Path) -> None:
    with hold(tmp_path / LOCK_FILE), pytest.raises(InputError, match="another process is writing"):
        cluster_cuts(cuts, tmp_path, CONFIG)
    with hold(tmp_path / LOCK_FILE, shared=True), pytest.raises(InputError, match="another process is writing"):
        cluster_cuts(cuts, tmp_path, CONFIG)


def test_a_killed_run_continues_with_the_parts_it_has(
    made: Path, cuts: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = clustering.Worker.run
    computed: list[str] = []

    def dying(self: clustering.Worker, part: clustering.Part) -> None:
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(part.path.name)
        run(self, part)

    monkeypatch.setattr(clustering.Worker, "run", dying)
    with pytest.raises(KeyboardInterrupt):
        cluster_cuts(cuts, tmp_path / "killed", CONFIG)
    first = len(computed)
    monkeypatch.setattr(
        clustering.Worker, "run", lambda self, part: (computed.append(part.path.name), run(self, part))[1]
    )
    cluster_cuts(cuts, tmp_path / "killed", CONFIG)
    parts = 2 * -(-sum(cut.duration for cut in cuts) // 15)
    assert first == 3
    assert len(computed) <= parts + 2
    assert (tmp_path / "killed/units.npy").read_bytes() == (made / "units.npy").read_bytes()


def test_a_finished_folder_is_served_and_one_of_other_settings_is_kept(
    made: Path, cuts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering.Worker, "run", None)
    assert cluster_cuts(cuts, made, replace(CONFIG, workers=5)) == made
    with pytest.raises(InputError, match="another folder"):
        cluster_cuts(cuts, made, replace(CONFIG, clusters=11))


def test_a_broken_file_is_reported_and_left_out(cuts: list[Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFFnothing")
    bad = cuts[3].with_id("bad")
    source = replace(cuts[3].recording.sources[0], source=str(broken))
    bad.recording = replace(cuts[3].recording, sources=[source])
    cluster_cuts([*cuts[:20], bad], tmp_path / "units", CONFIG)
    assert "bad" not in UnitStore.open(tmp_path / "units")
    problems = read_json(tmp_path / "units/targets.json")["problems"]
    assert [problem["utterance"] for problem in problems] == ["bad"]
    assert "broken.wav" in problems[0]["reason"]
    with pytest.raises((CorpusError, TooFewSamplesError)):
        cluster_cuts([bad], tmp_path / "none", CONFIG)


def test_a_layer_of_an_encoder_keeps_its_own_clock(cuts: list[Any], tmp_path: Path) -> None:
    config = replace(CONFIG, features="fbank", layer="fbank", batch_seconds=20)
    store = UnitStore.open(cluster_cuts(cuts[:12], tmp_path / "fbank", config))
    assert (store.rate, store.offset) == (100.0, 0.0)
    assert len(store.units("u00")) == 1 + cuts[0].num_samples // 160
    with pytest.raises(InputError, match="one of: fbank"):
        feature_source(replace(config, layer=""))


def test_the_sample_is_bounded_uniform_and_spares_held_out_speakers(cuts: list[Any]) -> None:
    speech = Speech.of_cuts(cuts)
    config = replace(CONFIG, sample_frames=500, spread=1_000, validation_share=0.15, test_share=0.15)
    source = feature_source(config)
    split = speech.split(validation_share=0.15, test_share=0.15, seed=0)
    counts = np.zeros(len(cuts))
    for seed in range(40):
        rows = sample_rows(speech, source, replace(config, seed=seed))
        assert sum(len(wanted) for wanted in rows.values()) == 500
        for index, wanted in rows.items():
            assert speech.speakers[index] in split.train
            assert len(set(wanted.tolist())) == len(wanted)
            assert wanted.max() < mfcc_length(cuts[index].num_samples)
            counts[index] += len(wanted)
    trains = np.array([speaker in split.train for speaker in speech.speakers])
    frames = np.array([mfcc_length(cut.num_samples) for cut in cuts])
    share = counts[trains] / frames[trains]
    assert share.std() < 0.15 * share.mean()


def test_too_many_clusters_are_refused_before_any_work(cuts: list[Any], tmp_path: Path) -> None:
    with pytest.raises(TooFewSamplesError, match="100000 clusters"):
        cluster_cuts(cuts, tmp_path / "many", replace(CONFIG, clusters=100_000))
