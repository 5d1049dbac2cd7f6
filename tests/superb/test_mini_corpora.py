"""The mini corpora from a small aligned corpus by several speakers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechstrata.audio import AudioInfo, load_cut, read_audio
from speechstrata.corpora.corpus import make_corpus, save_corpus
from speechstrata.corpora.cuts import Span, make_cut
from speechstrata.errors import CorpusError
from speechstrata.superb.corpora.mini_queen import mini_asr, mini_ks, mini_sd, mini_se, mixed

WORDS = ("hello", "there", "water", "under", "seven", "house", "table", "green", "night", "paper", "music", "stone")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty speakers with ten utterances each of 2 s: four words of 0.3 s, a pause before each; two sound effects."""
    folder = tmp_path_factory.mktemp("aligned")
    rng = np.random.default_rng(0)
    cuts = []
    for speaker in range(40):
        for number in range(10):
            name = f"s{speaker:02d}-{number}"
            path = folder / f"audio/{name}.wav"
            path.parent.mkdir(exist_ok=True)
            wave = 0.001 * rng.normal(size=32_000)
            words = []
            for place in range(4):
                start = 0.45 * place + 0.15
                wave[round(start * 16_000) : round((start + 0.3) * 16_000)] += 0.1 * rng.normal(size=4_800)
                words.append(Span(str(rng.choice(WORDS)), start, start + 0.3))
            soundfile.write(path, wave, 16_000)
            text = " ".join(word.symbol for word in words)
            info = AudioInfo(16_000, 1, 32_000)
            cuts.append(make_cut(name, path, info, text=text, speaker=f"s{speaker:02d}", words=words))
    for number in range(6):
        path = folder / f"music/song{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * rng.normal(size=80_000), 16_000)
    for number in range(12):
        path = folder / f"effects/effect{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.2 * rng.normal(size=8_000), 16_000)
    save_corpus(make_corpus("aligned", cuts, description="", folder=folder), folder)
    return folder


def speakers(cuts: Any) -> set[str]:
    return {supervision.speaker for cut in cuts for supervision in cut.supervisions}


def test_speakers_are_apart_and_the_result_is_the_same_each_time(aligned: Path, tmp_path: Path) -> None:
    corpus = mini_asr(aligned, tmp_path / "one")
    parts = [speakers(corpus.splits[split]) for split in ("train", "dev", "test")]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert mini_asr(aligned, tmp_path / "other").fingerprint == corpus.fingerprint
    assert all(len(cut.supervisions[0].text.split()) == 4 for cut in corpus.splits["train"])


def test_keywords_are_cut_where_they_are_spoken(aligned: Path, tmp_path: Path) -> None:
    corpus = mini_ks(aligned, tmp_path / "ks")
    labels = {cut.supervisions[0].custom["keyword"] for cut in corpus.splits["train"]}
    assert len(labels - {"_unknown_", "_silence_"}) == 10
    for cut in list(corpus.splits["test"])[:20]:
        wave = load_cut(cut, 16_000)
        loud = float(np.sqrt(np.mean(wave**2)))
        assert (loud < 0.01) == (cut.supervisions[0].custom["keyword"] == "_silence_")
        assert cut.duration == pytest.approx(len(wave) / 16_000, abs=1e-3)


def test_noisy_speech_has_the_snr_that_it_says(aligned: Path, tmp_path: Path) -> None:
    corpus = mini_se(aligned, tmp_path / "se")
    for cut in list(corpus.splits["test"])[:10]:
        noisy = load_cut(cut, 16_000).astype(np.float64)
        clean = read_audio(cut.clean.sources[0].source, 16_000).astype(np.float64)
        assert len(noisy) == len(clean)
        snr = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        assert snr == pytest.approx(cut.custom["snr"], abs=0.2)
    noises = {split: {cut.custom["noise"] for cut in cuts} for split, cuts in corpus.splits.items()}
    assert not noises["train"] & noises["test"]
    assert not any(name.startswith("song") for own in noises.values() for name in own)


def test_music_is_every_other_noise_and_apart_by_split(aligned: Path, tmp_path: Path) -> None:
    corpus = mini_se(aligned, tmp_path / "se", music=aligned / "music")
    noises = {split: [cut.custom["noise"] for cut in cuts] for split, cuts in corpus.splits.items()}
    for own in noises.values():
        assert 0.2 < np.mean([name.startswith("song") for name in own]) < 0.8
    assert sum(len(set(own)) for own in noises.values()) == len(set().union(*noises.values()))
    assert "CC-BY-SA" in corpus.licence
    (tmp_path / "few").mkdir()
    soundfile.write(tmp_path / "few/song.wav", 0.1 * np.ones(8_000), 16_000)
    with pytest.raises(CorpusError, match="too few"):
        mini_se(aligned, tmp_path / "se2", music=tmp_path / "few")


def test_a_mixture_never_clips_and_keeps_its_ratio() -> None:
    rng = np.random.default_rng(0)
    speech, noise = (rng.normal(size=16_000).astype(np.float32) for _ in range(2))
    clean, noisy = mixed(speech, noise, 5.0)
    assert np.abs(noisy).max() <= 0.98 + 1e-6
    ratio = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert ratio == pytest.approx(5.0, abs=0.01)


def test_conversations_have_two_speakers_where_the_labels_say(aligned: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    soundfile.write(real / "talk.wav", np.zeros(64_000), 16_000)
    (real / "talk.rttm").write_text(
        "SPEAKER talk 1 0.5 1.0 <NA> <NA> a <NA> <NA>\nSPEAKER talk 1 1.2 2.0 <NA> <NA> b <NA> <NA>\n"
    )
    corpus = mini_sd(aligned, tmp_path / "sd", real=real)
    overlapped = 0.0
    for cut in list(corpus.splits["test"])[:8]:
        assert len(speakers([cut])) == 2
        wave = load_cut(cut, 16_000)
        active = np.zeros((2, len(wave)), dtype=bool)
        order = sorted(speakers([cut]))
        for s in cut.supervisions:
            assert s.end <= cut.duration + 1e-6
            active[order.index(s.speaker), round(s.start * 16_000) : round(s.end * 16_000)] = True
        power = np.square(wave)
        assert power[active.any(0)].mean() > 20 * power[~active.any(0)].mean()
        overlapped += active.all(0).mean() / 8
    assert overlapped > 0.02
    (talk,) = corpus.splits["test-real"]
    assert [(s.speaker, s.start) for s in talk.supervisions] == [("a", 0.5), ("b", 1.2)]


def test_commands_are_spoken_by_other_voices_in_each_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    from speechstrata.superb.corpora import mini_commands

    monkeypatch.setattr(mini_commands, "_SIZES", {"train": 12, "dev": 4, "test": 4})
    intents = mini_commands.mini_ic(tmp_path / "ic")
    parts = [speakers(intents.splits[split]) for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts))
    cut = next(iter(intents.splits["train"]))
    assert set(cut.supervisions[0].custom["intent"]) == {"action", "object", "location"}
    assert np.sqrt(np.mean(load_cut(cut, 16_000) ** 2)) > 0.01
    slots = mini_commands.mini_sf(tmp_path / "sf")
    for cut in slots.splits["train"]:
        label = cut.supervisions[0].custom
        assert len(label["words"]) == len(label["slots"])
        assert " ".join(label["words"]) == cut.supervisions[0].text
    assert mini_commands.mini_sf(tmp_path / "again").fingerprint == slots.fingerprint


def test_a_corpus_without_what_is_needed_is_refused(aligned: Path, tmp_path: Path) -> None:
    cuts = [cut.drop_alignments() for cut in _cuts(aligned)]
    save_corpus(make_corpus("bare", cuts, description=""), tmp_path / "bare")
    with pytest.raises(CorpusError, match="no aligned utterances"):
        mini_ks(tmp_path / "bare", tmp_path / "out")
    save_corpus(make_corpus("mute", _cuts(aligned), description=""), tmp_path / "mute")
    with pytest.raises(CorpusError, match="no sound effects"):
        mini_se(tmp_path / "mute", tmp_path / "out")


def _cuts(folder: Path) -> list[Any]:
    from speechstrata.corpora.corpus import load_corpus

    return list(load_corpus(folder).cuts)
