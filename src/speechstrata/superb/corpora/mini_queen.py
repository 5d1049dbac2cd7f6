"""Mini corpora for ASR, KS, SE and SD from a prepared corpus of aligned speech by many speakers (amazon-queen).

Speakers are split as pre-training splits them by default, so that the speakers of the test splits are those that the
packaged models have not been trained on. Everything is a function of the corpus and the seed.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import SupervisionSegment
from lhotse.utils import fastcopy

from speechstrata.audio import load_cut, read_audio
from speechstrata.corpora.corpus import Corpus, load_corpus
from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.text import plain_words
from speechstrata.errors import CorpusError
from speechstrata.files import atomic_path, read_text
from speechstrata.pretraining.speech import Speech
from speechstrata.seeds import generator
from speechstrata.superb.corpora.audio import RATE, example, recording, write_audio
from speechstrata.superb.corpora.noises import MUSIC_LICENCE, mixed, noises_by_split, stretch
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, withdraw, write_probe_corpus

VALIDATION_SHARE, TEST_SHARE, SPLIT_SEED = 0.05, 0.12, 0  # as in the `tiny` recipes
SPLITS = ("train", "dev", "test")
_SEED = 0


def mini_asr(source: Path, output: Path) -> ProbeCorpus:
    """Utterances of 1 to 6 s: 30 minutes to train on, 4 for dev, 8 for test."""
    corpus, pools = _pools(source)
    minutes = {"train": 30.0, "dev": 4.0, "test": 8.0}
    splits = {}
    for split, pool in pools.items():
        kept, seconds = [], 0.0
        for cut in _shuffled([cut for cut in pool if 1.0 <= cut.duration <= 6.0], "asr", split):
            text = plain_words(cut.supervisions[0].text or "")
            if text and seconds < 60 * minutes[split]:
                kept.append(_relabelled(cut, text=text))
                seconds += cut.duration
        splits[split] = kept
    return _write(output, "asr", corpus, splits, "utterances with their text, speakers apart")


def mini_ks(source: Path, output: Path) -> ProbeCorpus:
    """The ten most frequent words of four letters or more, other words, and pauses; cut by the word alignment."""
    corpus, pools = _pools(source)
    withdraw(output)
    limits = {"train": 250, "dev": 40, "test": 60}
    counts = Counter(span.symbol for cut in pools["train"] for span in spans_of(cut, "word") if len(span.symbol) > 3)
    keywords = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]]
    splits: dict[str, list[Any]] = {}
    for split, pool in pools.items():
        found: dict[str, list[Any]] = {keyword: [] for keyword in [*keywords, "_unknown_", "_silence_"]}
        for cut in _shuffled(pool, "ks", split):
            whole = None
            for label, start, end in _pieces(cut, set(keywords)):
                if len(found[label]) >= limits[split]:
                    continue
                # a recording of its own: to begin in the middle of a compressed one costs time, and its first samples
                whole = load_cut(cut, RATE) if whole is None else whole
                name = f"{cut.id}-{round(1000 * start):06d}"
                path = output / "audio" / split / f"{name}.flac"
                audio = write_audio(path, whole[round(start * RATE) : round(end * RATE)])
                speaker = cut.supervisions[0].speaker
                found[label].append(example(name, audio, speaker=speaker, label={"keyword": label}))
        splits[split] = [piece for own in found.values() for piece in own]
    return _write(output, "ks", corpus, splits, f"words cut by alignment: {', '.join(keywords)}; others; pauses")


def mini_se(source: Path, output: Path, music: Path | None = None) -> ProbeCorpus:
    """Speech of 1.5 to 4 s in the corpus' own sound effects (and in music) at several SNRs; noises apart by split.

    Args:
        source: the corpus folder.
        output: folder to make.
        music: a folder of recordings, or Debian's package asterisk-moh-opsound-g722; every other noise is then music.
    """
    corpus, pools = _pools(source)
    withdraw(output)
    noises = noises_by_split(source, music, output / "audio" / "music")
    read = lru_cache(maxsize=64)(read_audio)
    sizes = {"train": 320, "dev": 40, "test": 64}
    levels = {"train": (0.0, 5.0, 10.0, 15.0), "dev": (0.0, 5.0, 10.0, 15.0), "test": (2.5, 7.5, 12.5, 17.5)}
    splits: dict[str, list[Any]] = {}
    for split, pool in pools.items():
        chosen = _shuffled([cut for cut in pool if 1.5 <= cut.duration <= 4.0], "se", split)[: sizes[split]]
        splits[split] = []
        for number, cut in enumerate(chosen):
            random = generator(_SEED, "mini-se", split, number)
            kind = noises[split][random.integers(len(noises[split]))]
            noise_path = kind[random.integers(len(kind))]
            level = float(random.choice(levels[split]))
            clean = load_cut(cut, RATE)
            noise = stretch(read(noise_path, RATE), len(clean), random)
            clean, noisy = mixed(clean, noise, level)
            names = {part: output / "audio" / split / f"{cut.id}-{part}.flac" for part in ("clean", "noisy")}
            custom = {"clean": write_audio(names["clean"], clean), "snr": level, "noise": noise_path.stem}
            splits[split].append(example(cut.id, write_audio(names["noisy"], noisy), custom=custom))
    licence = "" if music is None else f"; music: {MUSIC_LICENCE}"
    details = {"noises": {split: [path.stem for kind in own for path in kind] for split, own in noises.items()}}
    return _write(
        output, "se", corpus, splits, "speech in sound effects at SNRs as in VoiceBank-DEMAND", details, licence
    )


def mini_sd(source: Path, output: Path, real: Path | None = None) -> ProbeCorpus:
    """Two speakers in 8 to 12 s, with pauses and overlap; and a real recording as ``test-real`` where one is given.

    Args:
        source: the corpus folder.
        output: folder to make.
        real: a recording with an RTTM file of the same name beside it, or a wheel or zip archive that holds the two.
    """
    corpus, pools = _pools(source)
    withdraw(output)
    sizes = {"train": 160, "dev": 24, "test": 40}
    splits: dict[str, list[Any]] = {}
    for split, pool in pools.items():
        voices: dict[str, list[Any]] = {}
        for cut in pool:
            if 1.0 <= cut.duration <= 5.0:
                voices.setdefault(cut.supervisions[0].speaker, []).append(cut)
        voices = {speaker: own for speaker, own in sorted(voices.items()) if len(own) >= 8}
        if len(voices) < 2:
            raise CorpusError(f"the {split} split has {len(voices)} speakers with enough utterances; two are needed")
        splits[split] = [
            _conversation(f"{split}-{number:04d}", voices, generator(_SEED, "mini-sd", split, number), output / "audio")
            for number in range(sizes[split])
        ]
    licence = ""
    if real is not None:
        splits["test-real"] = _real_conversations(real, output / "audio")
        licence = f"; test-real: see {real.name}"
    described = "two speakers at a time, mixed from single utterances"
    return _write(output, "sd", corpus, splits, described, licence=licence)


def _pools(source: Path) -> tuple[Corpus, dict[str, list[Any]]]:
    """The aligned utterances of known speakers, by split."""
    corpus = load_corpus(source)
    cuts = list(corpus.cuts)
    split = Speech.of_cuts(cuts).split(validation_share=VALIDATION_SHARE, test_share=TEST_SHARE, seed=SPLIT_SEED)
    speakers = dict(zip(SPLITS, (split.train - {""}, split.validation, split.test), strict=True))
    pools = {
        name: [cut for cut in cuts if cut.supervisions[0].speaker in own and cut.supervisions[0].alignment]
        for name, own in speakers.items()
    }
    for name, pool in pools.items():
        if not pool:
            raise CorpusError(f"{corpus.name} has no aligned utterances by {name} speakers", "align it first")
    return corpus, pools


def _shuffled(cuts: Sequence[Any], *purpose: str) -> list[Any]:
    order = generator(_SEED, "mini", *purpose).permutation(len(cuts))
    return [cuts[number] for number in order]


def _relabelled(cut: Any, text: str | None = None, label: dict[str, Any] | None = None) -> Any:
    """The cut with one bare supervision over all of it."""
    speaker = cut.supervisions[0].speaker if cut.supervisions else None
    bare = SupervisionSegment(cut.id, cut.recording.id, 0.0, cut.duration, text=text, speaker=speaker, custom=label)
    return fastcopy(cut, supervisions=[bare])


def _pieces(cut: Any, keywords: set[str]) -> Iterator[tuple[str, float, float]]:
    """(label, start, end) in seconds of the cut: each word with 50 ms around it, and each pause."""
    words = spans_of(cut, "word")
    ends = [0.0, *(word.end for word in words)]
    starts = [*(word.start for word in words), cut.duration]
    for word in words:
        start, end = max(0.0, word.start - 0.05), min(cut.duration, word.end + 0.05)
        if end - start >= 0.25:
            yield (word.symbol if word.symbol in keywords else "_unknown_"), start, end
    for before, after in zip(ends, starts, strict=True):
        if after - before >= 0.35:
            yield "_silence_", before + 0.05, after - 0.05


def _conversation(name: str, voices: Mapping[str, list[Any]], random: np.random.Generator, folder: Path) -> Any:
    """A mixture of two speakers' utterances, each placed by itself on the same time line."""
    pair = [list(voices)[number] for number in random.choice(len(voices), size=2, replace=False)]
    seconds = float(random.uniform(8.0, 12.0))
    line = np.zeros(round(seconds * RATE), dtype=np.float32)
    supervisions: list[Any] = []
    for speaker in pair:
        time = float(random.uniform(0.0, 3.0))
        for number in random.permutation(len(voices[speaker])):
            cut = voices[speaker][number]
            if time + cut.duration > seconds:
                break
            wave = load_cut(cut, RATE)
            first = round(time * RATE)
            wave = wave[: len(line) - first] * np.float32(0.08 / max(float(np.sqrt(np.mean(wave**2))), 1e-4))
            line[first : first + len(wave)] += wave
            for start, end in _speech(cut):
                label = f"{name}-{len(supervisions)}"
                supervisions.append(SupervisionSegment(label, name, time + start, end - start, speaker=speaker))
            time += cut.duration + float(random.uniform(0.3, 2.5))
    line *= np.float32(min(1.0, 0.98 / max(float(np.abs(line).max()), 1e-6)))
    audio = write_audio(folder / f"{name}.flac", line)
    return example(name, audio, sorted(supervisions, key=lambda s: (s.start, s.speaker)))


def _speech(cut: Any, pause: float = 0.3) -> list[tuple[float, float]]:
    """Stretches of speech: words with no pause longer than ``pause`` seconds between them."""
    stretches: list[tuple[float, float]] = []
    for word in spans_of(cut, "word"):
        if stretches and word.start - stretches[-1][1] <= pause:
            stretches[-1] = (stretches[-1][0], word.end)
        else:
            stretches.append((word.start, word.end))
    return stretches


def _real_conversations(real: Path, folder: Path) -> list[Any]:
    """The recordings that have an RTTM file of the same name."""
    if zipfile.is_zipfile(real):
        with zipfile.ZipFile(real) as archive:
            names = set(archive.namelist())
            for name in sorted(name for name in names if name.endswith(".rttm")):
                for member in sorted({name, name.removesuffix(".rttm") + ".wav"} & names):
                    with atomic_path(folder / "real" / Path(member).name) as partial:
                        partial.write_bytes(archive.read(member))
        real = folder / "real"
    grids = [real.with_suffix(".rttm")] if real.is_file() else sorted(real.glob("*.rttm"))
    cuts = []
    for grid in grids:
        audio = recording(grid.with_suffix(".wav"))
        segments = [line.split() for line in read_text(grid).splitlines() if line.startswith("SPEAKER")]
        try:
            supervisions = [
                SupervisionSegment(f"{grid.stem}-{number}", audio.id, float(row[3]), float(row[4]), speaker=row[7])
                for number, row in enumerate(segments)
            ]
        except (IndexError, ValueError) as error:
            raise CorpusError(f"{grid} is not in RTTM form: {error}", "mend it") from error
        cuts.append(example(grid.stem, audio, supervisions))
    if not cuts:
        raise CorpusError(f"{real} holds no recording with an RTTM file", "give NAME.wav with NAME.rttm beside it")
    return cuts


def _write(
    output: Path,
    task: str,
    corpus: Corpus,
    splits: Mapping[str, list[Any]],
    description: str,
    details: dict[str, Any] | None = None,
    licence: str = "",
) -> ProbeCorpus:
    return write_probe_corpus(
        output,
        task=task,
        name=f"mini-{task}",
        splits=splits,
        mini=True,
        licence=corpus.licence + licence,
        source=f"{corpus.name} ({corpus.source})",
        description=f"{corpus.name}: {description}",
        details={"corpus_fingerprint": corpus.fingerprint, "seed": _SEED, **(details or {})},
    )
