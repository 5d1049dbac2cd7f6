"""The public corpora from folders of their layout; what is missing is said."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechstrata.audio import load_cut
from speechstrata.errors import CorpusError, InputError
from speechstrata.superb.corpora.prepare import KINDS, prepare_probe_corpus
from speechstrata.superb.corpora.probe_corpus import load_probe_corpus
from speechstrata.superb.corpora.speech_commands import KEYWORDS, hash_share


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=round(seconds * rate)), rate)


def test_librispeech(tmp_path: Path) -> None:
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        chapter = tmp_path / "LibriSpeech" / split / "84/121"
        for number in range(2):
            sound(chapter / f"84-121-{number:04d}.flac")
        (chapter / "84-121.trans.txt").write_text("84-121-0000 GO DO YOU HEAR\n84-121-0001 BUT IN LESS\n")
    corpus = prepare_probe_corpus("librispeech", tmp_path, tmp_path / "out")
    assert {name: len(cuts) for name, cuts in corpus.splits.items()} == {"train": 2, "dev": 2, "test": 2}
    cut = corpus.splits["dev"]["84-121-0001"]
    assert (cut.supervisions[0].text, cut.supervisions[0].speaker) == ("BUT IN LESS", "84")
    assert not corpus.mini


def test_fluent_speech_commands(tmp_path: Path) -> None:
    root = tmp_path / "fluent_speech_commands_dataset"
    for split in ("train", "valid", "test"):
        sound(root / f"wavs/speakers/s1/{split}.wav")
        (root / "data").mkdir(exist_ok=True)
        (root / f"data/{split}_data.csv").write_text(
            ",path,speakerId,transcription,action,object,location\n"
            f"0,wavs/speakers/s1/{split}.wav,s1,Turn on the lights,activate,lights,none\n"
        )
    corpus = prepare_probe_corpus("fluent-speech-commands", tmp_path, tmp_path / "out")
    (cut,) = corpus.splits["dev"]
    assert cut.supervisions[0].custom["intent"] == {"action": "activate", "object": "lights", "location": "none"}
    (root / "data/test_data.csv").write_text("path\n")
    with pytest.raises(CorpusError, match="no column action, location"):
        prepare_probe_corpus("fluent-speech-commands", root, tmp_path / "out")


def test_speech_commands_splits_by_the_hash_of_the_speaker(tmp_path: Path) -> None:
    digest = int.from_bytes(hashlib.sha1(b"0ab3b47d").digest(), "big")
    assert hash_share("0ab3b47d_nohash_0.wav") == pytest.approx((digest % 2**27) / (2**27 - 1) * 100)
    assert hash_share("a_nohash_0.wav") == hash_share("a_nohash_7.wav")
    source, test = tmp_path / "speech_commands_v0.01", tmp_path / "speech_commands_test_set_v0.01"
    for word in (*KEYWORDS, "bed"):
        for number in range(30):
            sound(source / word / f"{number:08x}_nohash_0.wav", 0.1)
    sound(source / "_background_noise_/hum.wav", 3.0)
    for word in (*KEYWORDS, "_unknown_", "_silence_"):
        sound(test / word / "0_nohash_0.wav", 0.1)
    corpus = prepare_probe_corpus("speech-commands", source, tmp_path / "out")
    labels = {split: [cut.supervisions[0].custom["keyword"] for cut in cuts] for split, cuts in corpus.splits.items()}
    assert set(labels["train"]) == {*KEYWORDS, "_unknown_", "_silence_"}
    assert len(labels["test"]) == 12
    speakers = {
        split: {cut.recording.id.partition("-")[2].partition("_")[0] for cut in cuts if "silence" not in cut.id}
        for split, cuts in corpus.splits.items()
    }
    assert not speakers["train"] & speakers["dev"]
    shares = [hash_share(f"{number:08x}_nohash_0.wav") for number in range(30)]
    assert len(speakers["dev"]) == sum(share < 10 for share in shares)
    assert len(speakers["train"]) == sum(share >= 20 for share in shares)
    silence = next(cut for cut in corpus.splits["train"] if "silence" in cut.id)
    assert silence.duration == pytest.approx(1.0)
    cut = corpus.splits["test"]["yes-0_nohash_0"]
    whole = soundfile.read(test / "yes/0_nohash_0.wav", dtype="float32")[0]
    np.testing.assert_allclose(load_cut(cut, 16_000), whole * 10 ** (-3 / 20), atol=1e-6)
    background = soundfile.read(source / "_background_noise_/hum.wav", dtype="float32")[0]
    crop = background[round(silence.start * 16_000) :][:16_000]
    np.testing.assert_allclose(load_cut(silence, 16_000), crop * 10 ** (-3 / 20), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "line"),
    [("wav.scp", "m1"), ("segments", "s1 m1 0.0"), ("segments", "s1 m1 a b"), ("segments", "s2 m1 0 1")],
)
def test_a_line_of_another_form_in_libri2mix_is_named(tmp_path: Path, name: str, line: str) -> None:
    for split in ("train", "dev", "test"):
        sound(tmp_path / split / "m1.wav")
        lines = {"wav.scp": "m1 m1.wav", "segments": "s1 m1 0.0 0.4", "utt2spk": "s1 speaker"}
        for file, content in (lines | {name: line}).items():
            (tmp_path / split / file).write_text(content + "\n")
    with pytest.raises(CorpusError, match=r"has another form|no speaker of s2"):
        prepare_probe_corpus("libri2mix", tmp_path, tmp_path / "out")


def test_a_folder_with_a_corpus_for_another_task_is_not_written_over(tmp_path: Path) -> None:
    for described in ({"task": "ks", "name": "mini-ks"}, {"name": "amazon-queen"}):  # the latter is no probe corpus
        (tmp_path / "corpus.json").write_text(json.dumps(described))
        with pytest.raises(CorpusError, match=f"already holds the corpus '{described['name']}'"):
            prepare_probe_corpus("mini-ic", None, tmp_path)
        assert json.loads((tmp_path / "corpus.json").read_text()) == described


def test_audio_snips_is_split_by_voice(tmp_path: Path) -> None:
    voices = {"train": "Ivy", "valid": "Amy", "test": "Brian"}
    lines = []
    for folder, voice in voices.items():
        sound(tmp_path / folder / f"{voice}-snips-{folder}-1.wav")
        sound(tmp_path / folder / f"Nobody-snips-{folder}-1.wav")
        lines.append(
            f"{voice}-snips-{folder}-1 BOS play new york jazz EOS\tO O B-city I-city B-genre O PlayMusic".replace(
                " O PlayMusic", " PlayMusic"
            )
        )
    (tmp_path / "all.iob.snips.txt").write_text("\n".join(lines) + "\n")
    corpus = prepare_probe_corpus("audio-snips", tmp_path, tmp_path / "out")
    (cut,) = corpus.splits["dev"]
    assert cut.supervisions[0].custom == {
        "words": ["play", "new", "york", "jazz"],
        "slots": ["O", "city", "city", "genre"],
    }
    (tmp_path / "all.iob.snips.txt").write_text("x BOS a EOS\tO\n")
    with pytest.raises(CorpusError, match="line 1"):
        prepare_probe_corpus("audio-snips", tmp_path, tmp_path / "out")


def test_libri2mix(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        sound(tmp_path / split / "mix.wav", 4.0)
        (tmp_path / split / "wav.scp").write_text("mix mix.wav\n")
        (tmp_path / split / "segments").write_text("a_mix mix 0.50 2.00\nb_mix mix 1.00 3.25\n")
        (tmp_path / split / "utt2spk").write_text("a_mix a\nb_mix b\n")
    corpus = prepare_probe_corpus("libri2mix", tmp_path, tmp_path / "out")
    (cut,) = corpus.splits["test"]
    assert [(s.speaker, s.start, s.duration) for s in cut.supervisions] == [("a", 0.5, 1.5), ("b", 1.0, 2.25)]


def test_voicebank_demand(tmp_path: Path) -> None:
    for kind in ("clean", "noisy"):
        for name in ("p226_001", "p300_001"):
            sound(tmp_path / f"{kind}_trainset_28spk_wav/{name}.wav", rate=48_000)
        sound(tmp_path / f"{kind}_testset_wav/p232_001.wav", rate=48_000)
    corpus = prepare_probe_corpus("voicebank-demand", tmp_path, tmp_path / "out")
    assert {name: [cut.id for cut in cuts] for name, cuts in corpus.splits.items()} == {
        "train": ["p300_001"], "dev": ["p226_001"], "test": ["p232_001"],
    }  # fmt: skip
    (cut,) = corpus.splits["dev"]
    assert "clean_trainset" in cut.clean.sources[0].source
    (tmp_path / "clean_testset_wav/p232_001.wav").unlink()
    with pytest.raises(CorpusError, match="no clean counterpart"):
        prepare_probe_corpus("voicebank-demand", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("kind", [kind for kind, known in KINDS.items() if not kind.startswith("mini")])
def test_another_folder_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"missing|no folder"):
        prepare_probe_corpus(kind, tmp_path, tmp_path / "out")


def test_kinds_and_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no probe corpus 'x'"):
        prepare_probe_corpus("x", None, tmp_path)
    with pytest.raises(InputError, match="takes no source"):
        prepare_probe_corpus("mini-ic", tmp_path, tmp_path)
    with pytest.raises(InputError, match="takes a source"):
        prepare_probe_corpus("librispeech", None, tmp_path)
    with pytest.raises(InputError, match="does not take music"):
        prepare_probe_corpus("librispeech", tmp_path, tmp_path, music=tmp_path)


def test_a_corpus_folder_can_be_moved_and_a_damaged_one_is_refused(keywords: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(keywords, moved)
    corpus = load_probe_corpus(moved)
    assert corpus.fingerprint == load_probe_corpus(keywords).fingerprint
    (cut,) = list(corpus.splits["dev"])[:1]
    assert Path(cut.recording.sources[0].source).is_relative_to(moved.resolve())
    (moved / "cuts-dev.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(CorpusError, match="cannot be read"):
        load_probe_corpus(moved)
    with pytest.raises(CorpusError, match="no probe corpus"):
        load_probe_corpus(tmp_path)
