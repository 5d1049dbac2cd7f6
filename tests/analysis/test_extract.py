import numpy as np
import polars as pl
import pytest
import torch

from speechstrata.analysis.extract import extract
from speechstrata.audio import load_cut
from speechstrata.corpora.corpus import load_corpus
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError
from tests.analysis.speech import make_corpus, make_encoder


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extract")
    return str(make_encoder(folder / "small")), str(make_corpus(folder / "tones", utterances=5))


def states_of(model, corpus, layer):
    """Every utterance's frames, one by one."""
    encoder = load_encoder(model)
    states = {}
    for cut in load_corpus(corpus).cuts:
        wave = torch.from_numpy(load_cut(cut, encoder.sample_rate))
        states[cut.id] = encoder.hidden_states(wave[None], torch.tensor([len(wave)]), [layer])[layer].states[0].numpy()
    return states


def test_words_are_means_over_their_frames(given, tmp_path):
    folder = extract(*given, tmp_path, unit="word", layers=["T1"])
    rows = np.load(folder / "T1.word.npy")
    table = pl.read_parquet(folder / "rows.parquet")
    states = states_of(*given, "T1")
    assert len(rows) == len(table) > 20
    for row, span in zip(rows, table.iter_rows(named=True), strict=True):
        frames = states[span["utterance"]]
        first, stop = round(span["start"] * 16_000) // 320, -(-round(span["end"] * 16_000) // 320)
        expected = frames[first : min(stop, len(frames))].mean(0)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


def test_frames_and_utterances_agree(given, tmp_path):
    frames = extract(*given, tmp_path / "frames", unit="frame", layers=["T0", "T1"])
    utterances = extract(*given, tmp_path / "utterances", unit="utterance", layers=["T1"], file_format="parquet")
    files = pl.read_parquet(frames / "rows.parquet")
    means = pl.read_parquet(utterances / "rows.parquet")
    assert files["utterance"].to_list() == means["utterance"].to_list()
    for file, mean in zip(files["file"], means["T1"].to_numpy(), strict=True):
        with np.load(frames / file) as arrays:
            assert set(arrays) == {"T0", "T1"}
            np.testing.assert_allclose(arrays["T1"].mean(0), mean, rtol=1e-4, atol=1e-4)


def test_a_second_run_finds_its_work_done(given, tmp_path, capsys):
    extract(*given, tmp_path, unit="phone", layers=["T1"])
    before = (tmp_path / "T1.phone.npy").stat().st_mtime_ns
    extract(*given, tmp_path, unit="phone", layers=["T1"])
    assert "already complete" in capsys.readouterr().err
    assert (tmp_path / "T1.phone.npy").stat().st_mtime_ns == before


def test_rows_that_went_into_a_table_are_computed_again_for_arrays(given, tmp_path):
    extract(*given, tmp_path, layers=["T1"], file_format="parquet")
    table = pl.read_parquet(tmp_path / "rows.parquet")["T1"].to_numpy()
    extract(*given, tmp_path, layers=["T1"])
    np.testing.assert_array_equal(np.load(tmp_path / "T1.word.npy"), table)


def test_rows_of_another_corpus_never_stand_for_those_that_cannot_be_read(given, tmp_path):
    model, _ = given
    for name, broken in (("whole", ()), ("broken", (2,))):
        corpus = make_corpus(tmp_path / name, utterances=4, broken=broken)
        extract(model, str(corpus), tmp_path / "out", layers=["T1"])
    rows = np.load(tmp_path / "out" / "T1.word.npy")
    names = pl.read_parquet(tmp_path / "out" / "rows.parquet")["utterance"].to_numpy()
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), names == "utterance-02")
    frames = extract(model, str(corpus), tmp_path / "frames", unit="frame", layers=["T1"])
    files = pl.read_parquet(frames / "rows.parquet")["file"].to_list()
    assert [file is not None and (frames / file).is_file() for file in files] == [True, True, False, True]
    assert files[2] is None


def test_an_unknown_layer_is_named(given, tmp_path):
    with pytest.raises(EncoderError, match="T9"):
        extract(*given, tmp_path, layers=["T9"])
