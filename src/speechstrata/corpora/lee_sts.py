"""The Lee set, spoken: 50 short news documents whose 1,225 pairs people scored for similarity, by espeak-ng voices.

Lee, Pincombe and Welsh (2005), "An empirical evaluation of models of text document similarity". The documents and the
scores come with the test data of gensim; they are news of the Australian Broadcasting Corporation, so they are taken
from there and not shipped here. People read whole documents (80 words in the mean, half a minute). By default only the
first sentences are spoken (30 words): recordings fit every encoder's window, and a text encoder agrees nearly as well
with the scores (all-MiniLM-L6-v2: rho .47, of whole documents .51).
"""

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.audio import audio_info, resample
from speechstrata.corpora.audio_files import write_flac
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import make_cut
from speechstrata.corpora.espeak import Utterance, speak_all
from speechstrata.corpora.sts_folder import ScoredPair, SentenceRecording, StsKind, write_sts
from speechstrata.corpora.text import normalise_transcript
from speechstrata.errors import CorpusError, MissingExtraError
from speechstrata.progress import ProgressBar

DOCUMENTS_FILE, SCORES_FILE = "lee.cor", "similarities0-1.txt"
#: Two men's and two women's voices, each of another accent.
VOICES = ("en-us+m3", "en-gb-scotland+f2", "en+m7", "en-gb-x-rp+f4")
_RATE = 16_000
_WORDS_PER_MINUTE = 180
_SENTENCE_END = re.compile(r'(?<=[.!?])"?\s+(?=["A-Z])')

DESCRIPTION = "the Lee documents (news, 50) spoken by espeak-ng voices, with human scores of their similarity"
LICENCE = "text: Australian Broadcasting Corporation, by way of gensim's test data; not ours to pass on"
KIND = StsKind("human", "synthetic", "mean judgement of 8 to 12 people a pair of documents (Lee et al., 2005)")


def read_documents(source: Path | None) -> tuple[list[str], NDArray[np.float64]]:
    """The documents, and the (documents, documents) scores, 0 to 1, of which the upper triangle counts.

    Args:
        source: a folder with ``lee.cor`` and ``similarities0-1.txt``; gensim's test data by default.

    Raises:
        MissingExtraError: no source, and gensim is not installed.
        CorpusError: the files are not there, or do not fit together.
    """
    if source is None:
        spec = importlib.util.find_spec("gensim")
        if spec is None or spec.origin is None:
            raise MissingExtraError("gensim", "sts", "the Lee documents")
        source = Path(spec.origin).parent / "test" / "test_data"
    try:
        documents = (source / DOCUMENTS_FILE).read_text(encoding="latin-1").splitlines()
        scores = np.loadtxt(source / SCORES_FILE, ndmin=2)
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"cannot read the Lee documents in {source}: {error}",
            f"give a folder with {DOCUMENTS_FILE} and {SCORES_FILE}, as gensim/test/test_data has them",
        ) from error
    documents = [document.strip() for document in documents if document.strip()]
    if scores.shape != (len(documents), len(documents)):
        raise CorpusError(f"{source}: {len(documents)} documents but scores of shape {scores.shape}", "check the files")
    return documents, scores


def excerpt(document: str, words: int) -> str:
    """The first sentences of a document, as many as have at most ``words`` words, and at least one; all if 0."""
    if words == 0:
        return document
    sentences = _SENTENCE_END.split(document)
    kept = sentences[:1]
    for sentence in sentences[1:]:
        if len(" ".join([*kept, sentence]).split()) > words:
            break
        kept.append(sentence)
    return " ".join(kept)


def prepare_lee(source: Path | None, output: Path, *, voices: int = len(VOICES), words: int = 40) -> Corpus:
    """Speak the documents, and write the tables for ``analyze --sts`` beside the corpus.

    Args:
        source: see :func:`read_documents`.
        output: the folder; ``save_corpus`` must write the corpus's description.
        voices: how many of ``VOICES`` say each document.
        words: see :func:`excerpt`.

    Raises:
        CorpusError: the documents cannot be read, or there are not so many voices.
        MissingExtraError: without gensim or espeakng-loader.
    """
    if not 1 <= voices <= len(VOICES):
        raise CorpusError(f"{voices} voices for the Lee documents", f"choose 1 to {len(VOICES)}")
    documents, scores = read_documents(source)
    names = [f"lee{number:02d}" for number in range(len(documents))]
    spoken = [excerpt(document, words) for document in documents]
    plan = [(name, text, voice) for name, text in zip(names, spoken, strict=True) for voice in VOICES[:voices]]
    (output / "audio").mkdir(parents=True, exist_ok=True)
    cuts, recordings = [], []
    said = [Utterance(text, voice, _WORDS_PER_MINUTE) for _, text, voice in plan]
    with ProgressBar("speaking the documents", len(plan), "recordings") as bar:
        for (name, text, voice), (wave, rate) in zip(plan, speak_all(said), strict=True):
            path = output / "audio" / f"{name}-{voice}.flac"
            write_flac(path, resample(wave, rate, _RATE), _RATE)
            custom = {"document": name, "audio_sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
            cuts.append(
                make_cut(
                    path.stem,
                    path.resolve(),
                    audio_info(path),
                    text=normalise_transcript(text),
                    speaker=voice,
                    custom=custom,
                )
            )
            recordings.append(SentenceRecording(name, voice, f"audio/{path.name}"))
            bar.advance()
    first, second = np.triu_indices(len(names), 1)
    pairs = [ScoredPair(names[a], names[b], float(scores[a, b])) for a, b in zip(first, second, strict=True)]
    write_sts(output, KIND, recordings, pairs)
    return make_corpus(
        "lee-sts",
        cuts,
        description=DESCRIPTION,
        licence=LICENCE,
        source="test data of gensim; espeak-ng",
        details={"voices": list(VOICES[:voices]), "max_words": words, "words_per_minute": _WORDS_PER_MINUTE},
    )
