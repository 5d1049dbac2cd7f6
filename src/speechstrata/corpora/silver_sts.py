"""Pairs of real utterances of a corpus with silver scores: what a text encoder says of their transcripts.

Nobody judged these pairs. A text encoder agrees with people well, not perfectly, so they rank layers; they are not a
measure of human-like understanding. Both utterances of a pair are one speaker's: otherwise the cosine of two
recordings would mostly say whose voices they are.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.audio import load_cut
from speechstrata.corpora.audio_files import write_flac
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import make_cut, transcript_of
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.sentence_encoder import PACKAGE, embed_sentences
from speechstrata.corpora.sts_folder import ScoredPair, SentenceRecording, StsKind, write_sts
from speechstrata.errors import CorpusError, InputError
from speechstrata.progress import ProgressBar
from speechstrata.seeds import generator

_RATE = 16_000
#: Shorter sentences say too little, longer ones are rare.
WORDS = (5, 25)
#: Pairs are drawn evenly over bins of this width of their score: drawn at random, nearly all would be unlike.
BIN = 0.1
#: A sentence is in at most so many pairs.
MOST_PAIRS = 4
KIND = StsKind(
    "silver", "natural", f"cosine of the transcripts' all-MiniLM-L6-v2 vectors ({PACKAGE}); nobody judged them"
)

Pair = tuple[int, int]


def draw_pairs(
    vectors: NDArray[np.floating], speakers: NDArray[np.str_], count: int, seed: int = 0
) -> list[tuple[int, int, float]]:
    """Pairs of one speaker's sentences, spread evenly over their cosines: (first, second, cosine).

    The bins are filled from the most alike on, since their pairs are fewest; what a bin lacks is not made up by others.

    Args:
        vectors: (n, dim) of unit length.
        speakers: (n,).
        count: about so many pairs.
        seed: of the draw.
    """
    bins: dict[int, list[Pair]] = defaultdict(list)
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        cosines = vectors[own] @ vectors[own].T
        first, second = np.triu_indices(len(own), 1)
        places = np.floor(np.clip(cosines[first, second], 0, 1 - 1e-9) / BIN).astype(int)
        for place in np.unique(places):
            inside = np.flatnonzero(places == place)
            bins[int(place)].extend(zip(own[first[inside]].tolist(), own[second[inside]].tolist(), strict=True))
    used = np.zeros(len(vectors), dtype=int)
    drawn: list[tuple[int, int, float]] = []
    quota = round(count * BIN)
    for place in sorted(bins, reverse=True):
        taken = 0
        for index in generator(seed, "silver-sts", place).permutation(len(bins[place])):
            a, b = bins[place][index]
            if taken == quota:
                break
            if used[a] < MOST_PAIRS and used[b] < MOST_PAIRS:
                used[[a, b]] += 1
                taken += 1
                drawn.append((a, b, float(vectors[a] @ vectors[b])))
    return drawn


def prepare_silver(source: Corpus, output: Path, *, pairs: int = 600, strict: bool = False) -> Corpus:
    """Choose the pairs, copy their utterances (16 kHz FLAC), and write the tables for ``analyze --sts``.

    A sentence is what one speaker says in one wording, however often it was recorded; all its recordings are kept.

    Args:
        source: a corpus with transcripts and speakers.
        output: the folder; ``save_corpus`` must write the corpus's description.
        pairs: about so many.
        strict: an utterance that cannot be read is an error.

    Raises:
        CorpusError: too few sentences.
        MissingExtraError: without the text encoder.
    """
    takes: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for cut in source.cuts:
        text, speaker = transcript_of(cut), cut.supervisions[0].speaker if cut.supervisions else ""
        if speaker and WORDS[0] <= len(text.split()) <= WORDS[1]:
            takes[speaker, text].append(cut)
    sentences = sorted(takes)
    if len(sentences) < 3:
        raise CorpusError(
            f"{source.name} has {len(sentences)} sentences of {WORDS[0]} to {WORDS[1]} words with a speaker",
            "take a corpus with transcripts and speakers",
        )
    vectors = embed_sentences([text for _, text in sentences])
    drawn = draw_pairs(vectors, np.array([speaker for speaker, _ in sentences]), pairs)
    used = sorted({index for a, b, _ in drawn for index in (a, b)})
    log = ProblemLog(strict)
    names: dict[int, str] = {}
    cuts, recordings = [], []
    (output / "audio").mkdir(parents=True, exist_ok=True)
    with ProgressBar("copying utterances", len(used), "sentences") as bar:
        for index in used:
            speaker, text = sentences[index]
            for take in takes[speaker, text]:
                try:
                    samples = load_cut(take, _RATE)
                except InputError as error:
                    log.report(take.id, error.message)
                    continue
                names.setdefault(index, take.id)
                cuts.append(_copy(take.id, samples, output / "audio" / f"{take.id}.flac", text, speaker))
                recordings.append(SentenceRecording(names[index], speaker, f"audio/{take.id}.flac"))
            bar.advance()
    scored = [ScoredPair(names[a], names[b], round(score, 6)) for a, b, score in drawn if a in names and b in names]
    if not scored:
        raise CorpusError(f"{source.name} gives no pairs of sentences of one speaker", "take a larger corpus")
    write_sts(output, KIND, recordings, scored)
    return make_corpus(
        "silver-sts",
        cuts,
        description=f"pairs of utterances of {source.name} with silver scores of their similarity",
        licence=source.licence,
        source=f"{source.name}: {source.source}",
        language=source.language,
        problems=log.problems,
        details={"corpus": source.fingerprint, "pairs": len(scored)},
    )


def _copy(name: str, samples: NDArray[np.float32], path: Path, text: str, speaker: str) -> Any:
    """Write an utterance as a file of its own; gives its cut, alignment left behind."""
    from speechstrata.audio import audio_info

    write_flac(path, samples, _RATE)
    return make_cut(name, path.resolve(), audio_info(path), text=text, speaker=speaker)
