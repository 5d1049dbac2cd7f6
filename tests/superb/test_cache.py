"""Cached states are those that the encoder gives; the cache is bounded, resumable and keyed by what it depends on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import InputError
from speechstrata.superb import cache as module
from speechstrata.superb.cache import CacheSettings, Wanted, open_cache
from speechstrata.superb.corpora.probe_corpus import load_probe_corpus
from speechstrata.superb.sources import CachedStates, LiveStates
from speechstrata.superb.states import choose_layers


@pytest.fixture
def wanted(keywords: Path, model: Path):
    """Makes what is wanted of the dev split."""
    encoder = load_encoder(model)
    cuts = list(load_probe_corpus(keywords).splits["dev"])

    def make(pooled=False, normalize=False, cuts=cuts):
        return Wanted(cuts, encoder, choose_layers(encoder), pooled, normalize, "corpus")

    return make


def live(wanted):
    return LiveStates(wanted.cuts, wanted.encoder, wanted.choice, pooled=wanted.pooled, normalize=wanted.normalize)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_cached_states_are_those_made_for_the_batch(wanted, tmp_path, pooled, normalize):
    want = wanted(pooled, normalize)
    cached = CachedStates(open_cache(want, CacheSettings(tmp_path, batch_seconds=3.0)), np.arange(24))
    made = live(want)
    states, lengths = cached.batch([7, 2, 11])
    other, other_lengths = made.batch([7, 2, 11])
    assert lengths.tolist() == other_lengths.tolist()
    torch.testing.assert_close(states, other, rtol=1e-4, atol=1e-5)
    assert [cached.frames(n) for n in (7, 2)] == [made.frames(n) for n in (7, 2)]
    made.batch(list(range(24)))
    if pooled:
        assert states.shape[1] == 1


def test_pooled_states_are_the_means_of_the_frames(wanted, tmp_path):
    whole = CachedStates(open_cache(wanted(), CacheSettings(tmp_path)), np.arange(24))
    pooled = CachedStates(open_cache(wanted(pooled=True), CacheSettings(tmp_path)), np.arange(24))
    states, lengths = whole.batch([3])
    torch.testing.assert_close(pooled.batch([3])[0][0, 0], states[0, : lengths[0]].mean(0), rtol=1e-5, atol=1e-6)
    norms = np.mean(np.concatenate([np.linalg.norm(whole.batch([n])[0][0].numpy(), axis=-1) for n in range(24)]), 0)
    np.testing.assert_allclose(whole.mean_norms(), norms, rtol=1e-4)
    np.testing.assert_allclose(pooled.mean_norms(), norms, rtol=1e-4)


def test_half_precision_is_half_the_size_and_close(wanted, tmp_path):
    full = CacheSettings(tmp_path / "full")
    half = CacheSettings(tmp_path / "half", precision="float16")
    one, other = (CachedStates(open_cache(wanted(), settings), np.arange(24)) for settings in (full, half))
    torch.testing.assert_close(one.batch([4])[0], other.batch([4])[0], rtol=2e-3, atol=2e-3)
    sizes = [sum(f.stat().st_size for f in s.folder.rglob("*.npy")) for s in (full, half)]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_stopped_run_goes_on_with_its_shards_and_another_makes_the_same_bytes(wanted, tmp_path, monkeypatch):
    settings = CacheSettings(tmp_path / "stopped", batch_seconds=3.0)
    real, calls = module.write_json, []

    def stops(path, value):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(path, value)

    monkeypatch.setattr(module, "write_json", stops)
    with pytest.raises(KeyboardInterrupt):
        open_cache(wanted(), settings)
    monkeypatch.setattr(module, "write_json", real)
    shards = {path: path.stat().st_mtime_ns for path in settings.folder.rglob("*.npy")}
    assert open_cache(wanted(), settings) is not None
    kept = [path for path, stamp in shards.items() if path.stat().st_mtime_ns == stamp]
    assert len(kept) == 2
    other = CacheSettings(tmp_path / "whole", batch_seconds=3.0)
    open_cache(wanted(), other)
    for path in other.folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (settings.folder / path.relative_to(other.folder)).read_bytes()


def test_what_does_not_fit_is_not_made_and_what_is_old_makes_room(wanted, tmp_path):
    assert open_cache(wanted(), CacheSettings(tmp_path, gigabytes=1e-6)) is None
    assert not list(tmp_path.iterdir())
    size = wanted().gigabytes("float32")
    settings = CacheSettings(tmp_path, gigabytes=1.7 * size)
    open_cache(wanted(), settings)
    (first,) = tmp_path.iterdir()
    open_cache(wanted(normalize=True), settings)
    (second,) = tmp_path.iterdir()
    assert first != second


def test_an_entry_in_use_is_not_driven_out(wanted, tmp_path):
    size = wanted().gigabytes("float32")
    settings = CacheSettings(tmp_path, gigabytes=1.7 * size)
    first = open_cache(wanted(), settings)
    assert open_cache(wanted(normalize=True), settings) is None
    assert len(first.states(3))
    again = open_cache(wanted(), settings)  # by another run
    first.close()
    assert open_cache(wanted(normalize=True), settings) is None
    again.close()
    assert open_cache(wanted(normalize=True), settings) is not None
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_other_runs_rename_meanwhile_are_passed_over(wanted, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "000000.npy").write_bytes(b"0" * 1000)
    real = Path.iterdir

    def listed(folder):
        found = list(real(folder))
        return [*found, folder / ".000001.npy.partial"] if folder.name == "other" else found

    monkeypatch.setattr(Path, "iterdir", listed)
    assert module._use(tmp_path / "other")[1] == pytest.approx(1e-6)
    assert module._use(tmp_path / "gone") == (0.0, 0.0)
    assert open_cache(wanted(), CacheSettings(tmp_path)) is not None


def test_states_too_large_for_half_precision_are_an_error(wanted, tmp_path, monkeypatch):
    want = wanted()
    with torch.no_grad():
        want.encoder.module.projection.bias.fill_(1e6)
    wide = replace(want, choice=choose_layers(want.encoder, ["projection"]))
    with pytest.raises(InputError, match="too large for float16"):
        open_cache(wide, CacheSettings(tmp_path, precision="float16"))
    assert open_cache(wide, CacheSettings(tmp_path)) is not None


def test_norms_of_states_that_are_not_cached_are_those_of_all(wanted, tmp_path):
    cached = CachedStates(open_cache(wanted(), CacheSettings(tmp_path)), np.arange(24))
    made = live(wanted())
    made.batch([1, 2])
    np.testing.assert_allclose(made.mean_norms(), cached.mean_norms(), rtol=1e-4)


def test_the_key_depends_on_what_the_states_depend_on(wanted):
    keys = {
        wanted().key("float32", 60.0),
        wanted(pooled=True).key("float32", 60.0),
        wanted(normalize=True).key("float32", 60.0),
        wanted().key("float16", 60.0),
        wanted(cuts=wanted().cuts[1:]).key("float32", 60.0),
    }
    assert len(keys) == 5


def test_audio_that_cannot_be_read_is_left_out_by_name(wanted, tmp_path, keywords):
    cuts = list(wanted().cuts)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    described = cuts[0].to_dict()
    described["recording"]["sources"][0]["source"] = str(broken)
    from lhotse.serialization import deserialize_item

    entry = open_cache(wanted(cuts=[deserialize_item(described), *cuts[1:]]), CacheSettings(tmp_path / "cache"))
    assert entry.frames[0] == 0
    assert (entry.frames[1:] > 0).all()
    assert [name for name, _ in entry.problems] == [cuts[0].id]
