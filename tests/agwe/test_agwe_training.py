import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from speechstrata.agwe import training
from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.material import gather
from speechstrata.agwe.model_folder import embed_words, load_model
from speechstrata.agwe.networks import embed_written
from speechstrata.agwe.segments import pronunciations, read_segments, vocabulary
from speechstrata.agwe.training import train_agwe
from speechstrata.analysis.vectors import load_vectors
from speechstrata.cli import main
from speechstrata.corpora.corpus import load_corpus
from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from speechstrata.pretraining.mfcc import mfcc
from speechstrata.pretraining.speech import Speech
from tests.agwe.spoken_words import WORDS, make_words

CONFIG = AgweConfig(
    symbols="characters",
    dim=8,
    hidden=16,
    symbol_dim=6,
    acoustic_layers=1,
    minimum_seconds=0.15,
    batch=32,
    epochs=4,
    negatives=2,
    first_negatives=8,
    learning_rate=0.01,
    validation_share=0.15,
    test_share=0.25,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def cuts(manifest):
    return list(load_corpus(manifest).cuts)


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("agwe") / "run"
    return folder, train_agwe(manifest, folder, CONFIG)


def test_segments_are_the_frames_whose_centres_lie_in_the_word(cuts):
    speech = Speech.of_cuts(cuts)
    segments, unread = read_segments(cuts, 0.0, 9.0)
    assert not unread
    assert len(segments) == 6 * len(cuts)
    wave = torch.from_numpy(speech.load(0))[None]
    whole = mfcc(wave, torch.tensor([wave.shape[1]])).features[0].numpy()
    start = 0.0
    for item, frames in zip(cuts[0].supervisions[0].alignment["word"], segments.frames[:6], strict=True):
        inside = [
            number
            for number in range(len(whole))
            if item.start - 1e-9 <= (number * 160 + 200) / 16_000 < item.start + item.duration - 1e-9
        ]
        np.testing.assert_array_equal(frames, whole[inside])
        start += item.duration


def test_bounds_leave_short_and_long_words_out(cuts):
    segments, _ = read_segments(cuts, 0.33, 0.45)
    assert "ab" not in segments.words  # two letters of at most .16 s
    with pytest.raises(CorpusError, match="no aligned words of 7 to 8 seconds"):
        read_segments(cuts, 7, 8)


def test_vocabulary_and_pronunciations_come_from_the_alignments(cuts):
    assert vocabulary(cuts) == tuple(sorted(WORDS))
    assert pronunciations(cuts) == {word: tuple(word.upper()) for word in sorted(WORDS)}


def test_no_speaker_is_in_two_sets_and_all_are_those_of_pretraining(cuts):
    material = gather(cuts, CONFIG)
    sets = [set(part.speakers.tolist()) for part in (material.train, material.validation, material.test)]
    assert all(sets)
    assert not sets[0] & (sets[1] | sets[2])
    assert not sets[1] & sets[2]
    expected = Speech.of_cuts(cuts).split(validation_share=0.15, test_share=0.25, seed=0)
    assert [frozenset(speakers) for speakers in sets] == [expected.train, expected.validation, expected.test]


def test_a_corpus_of_one_speaker_is_refused(cuts):
    alone = [cut for cut in cuts if cut.supervisions[0].speaker == "s1"]
    with pytest.raises(CorpusError, match="speakers"):
        gather(alone, CONFIG)


@pytest.mark.parametrize("share", ["validation_share", "test_share"])
def test_speakers_to_choose_and_to_test_on_are_asked_for_before_the_training(cuts, share):
    with pytest.raises(CorpusError, match=f"no {share.removesuffix('_share')} speaker"):
        gather(cuts, replace(CONFIG, **{share: 0.0}))


def test_training_tells_unseen_speakers_words_better_than_chance(run):
    folder, result = run
    scores = result["test"]["all_words"]
    assert scores["encoders"]["precision"] > 3 * scores["encoders"]["chance"]
    assert scores["cross_view"]["precision"] > 3 * scores["cross_view"]["chance"]
    assert scores["dtw"]["precision"] > scores["mean_frame"]["precision"] > scores["dtw"]["chance"]
    assert "problem" in result["test"]["unseen_words"]  # every word is trained on
    assert (folder / "metrics.csv").read_text().count("\n") == CONFIG.epochs + 1
    speakers = json.loads((folder / "run.json").read_text())["speakers"]
    assert not set(speakers["train"]) & set(speakers["test"])


def test_the_vectors_are_what_analyze_loads_and_what_the_model_gives(run):
    folder, result = run
    vectors = load_vectors(folder / "vectors.npz", tuple(sorted(WORDS)))
    assert vectors.coverage == 1
    assert result["words"] == len(WORDS)
    model, config = load_model(folder)
    assert config == CONFIG
    np.testing.assert_allclose(vectors.matrix, embed_written(model, [tuple(word) for word in vectors.words]), atol=1e-6)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(manifest, run, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    train_agwe(manifest, again, CONFIG)
    train_agwe(manifest, other, AgweConfig(**(CONFIG.__dict__ | {"seed": 1})))
    first = (run[0] / "model.safetensors").read_bytes()
    assert (again / "model.safetensors").read_bytes() == first
    assert (other / "model.safetensors").read_bytes() != first


class Killed(BaseException):
    """What a kill is to the code: nothing catches it."""


@pytest.mark.parametrize("after", [1, 9])
def test_a_killed_run_continues_to_the_same_weights(manifest, run, tmp_path, monkeypatch, after):
    step, count = training._step, 0

    def dying(*arguments):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(training, "_step", dying)
    with pytest.raises(Killed):
        train_agwe(manifest, tmp_path, CONFIG)
    monkeypatch.undo()
    result = train_agwe(manifest, tmp_path, CONFIG)
    assert (tmp_path / "model.safetensors").read_bytes() == (run[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "metrics.csv").read_bytes() == (run[0] / "metrics.csv").read_bytes()
    assert result["test"] == run[1]["test"]


def test_a_run_that_ends_before_its_metrics_are_written_still_has_them(manifest, run, tmp_path, monkeypatch):
    def dying(*_):
        raise Killed

    monkeypatch.setattr(training, "_write_history", dying)
    short = replace(CONFIG, epochs=1)
    with pytest.raises(Killed):
        train_agwe(manifest, tmp_path, short)
    monkeypatch.undo()
    train_agwe(manifest, tmp_path, short)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(manifest, run, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file")  # what torch makes of it

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SpeechstrataError, match="cannot write the checkpoint"):
        train_agwe(manifest, tmp_path, CONFIG)
    monkeypatch.undo()
    train_agwe(manifest, tmp_path, CONFIG)
    assert (tmp_path / "model.safetensors").read_bytes() == (run[0] / "model.safetensors").read_bytes()


def test_a_finished_run_is_served_and_another_one_refused(manifest, run):
    folder, result = run
    assert train_agwe(manifest, folder, CONFIG) == json.loads((folder / "result.json").read_text()) == result
    with pytest.raises(InputError, match="another dim"):
        train_agwe(manifest, folder, AgweConfig(**(CONFIG.__dict__ | {"dim": 9})))


def test_a_broken_checkpoint_is_named(manifest, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read"):
        train_agwe(manifest, tmp_path, CONFIG)


def test_more_words_are_embedded_by_their_letters(run, tmp_path, capsys):
    folder, _ = run
    (tmp_path / "more.txt").write_text("Bad\n\nacad\nzebra\n")
    output = tmp_path / "more.npz"
    assert main(["agwe", "embed", str(folder), str(tmp_path / "more.txt"), "--output", str(output), "--half"]) == 0
    assert "2 of 3 words" in capsys.readouterr().out
    more = load_vectors(output, ("acad", "bad", "zebra"))
    assert more.words == ("acad", "bad")
    np.testing.assert_allclose(more.matrix[1], load_vectors(folder / "vectors.npz", ("bad",)).matrix[0], atol=1e-3)


def test_phones_spell_words_where_they_are_asked_for(manifest, tmp_path, capsys):
    options = {"symbols": "phones", "epochs": 1, "hidden": 8}
    arguments = [f"--{name}={value}" for name, value in (CONFIG.__dict__ | options).items()]
    assert main(["agwe", "train", "--corpus", str(manifest), "--output", str(tmp_path / "run"), *arguments]) == 0
    assert "vectors.npz (8 words of 8 dimensions)" in capsys.readouterr().out
    assert load_model(tmp_path / "run")[0].symbols == ("A", "B", "C", "D")
    found, wanted = embed_words(tmp_path / "run", [str(manifest)], tmp_path / "vectors.npz")
    assert (found, wanted) == (8, 8)
    (tmp_path / "list.txt").write_text("bad\n")
    with pytest.raises(InputError, match=r"list.txt has no phones"):
        embed_words(tmp_path / "run", [str(tmp_path / "list.txt")], tmp_path / "vectors.npz")


def test_a_folder_without_a_model_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"network.json"):
        load_model(tmp_path)
