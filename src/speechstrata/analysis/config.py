"""What an analysis does: the published protocol, the small-corpus protocol, and the options of a run."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from speechstrata.errors import InputError

SpanRule = Literal["published", "centred"]
ProtocolName = Literal["published", "small-corpus"]

#: The scores of the paper, in the order of the tables: what a run computes by default.
SCORES = (
    "cca-mel",
    "cca-intra",
    "cca-phone",
    "cca-word",
    "cca-glove",
    "cca-agwe",
    "cca-inter",
    "mi-phone",
    "mi-word",
    "spoken-sts",
)

#: Other measures of the same layers on the same samples, computed where they are asked for.
FURTHER_SCORES = ("cka-mel", "cka-phone", "cka-word", "probe-phone", "abx-phone")

#: Every score there is.
ALL_SCORES = (*SCORES, *FURTHER_SCORES)

#: Those computed from frames, and not from pooled spans.
FRAME_SCORES = frozenset({"cca-mel", "cca-intra", "cka-mel"})


@dataclass(frozen=True)
class Protocol:
    """How many samples of what a score is computed from.

    Attributes:
        name: "published" scores may stand beside published ones; "small-corpus" scores may not.
        phones_per_type: at most so many instances of each phone in a CCA sample.
        top_words: at most so many word types, the most frequent ones.
        words_per_type: at most so many instances of each word type in a CCA sample.
        min_words_per_type: word types with fewer instances are left out.
        frame_utterances: the frames of so many utterances make a frame-level sample.
        mi_clusters_phone: k of the k-means of mi-phone.
        mi_clusters_word: k of the k-means of mi-word.
        mi_spans_per_cluster: k is lowered until the k-means has so many spans per cluster to train on; 0: never.
        mi_fit_per_phone: at most so many instances of a phone to train the k-means on.
        mi_fit_per_word: at most so many instances of a word to train the k-means on.
        mi_evaluated: the mutual information is estimated from at most so many spans, those of whole utterances
            (dev-clean, the published choice, has 190,000 phones).
    """

    name: ProtocolName
    phones_per_type: int
    top_words: int
    words_per_type: int
    min_words_per_type: int
    frame_utterances: int
    mi_clusters_phone: int
    mi_clusters_word: int
    mi_spans_per_cluster: int
    mi_fit_per_phone: int
    mi_fit_per_word: int
    mi_evaluated: int


#: Pasad et al.'s protocol, which the paper follows (its appendix A).
PUBLISHED = Protocol(
    name="published",
    phones_per_type=200,
    top_words=500,
    words_per_type=15,
    min_words_per_type=1,
    frame_utterances=500,
    mi_clusters_phone=500,
    mi_clusters_word=5000,
    mi_spans_per_cluster=0,
    mi_fit_per_phone=3000,
    mi_fit_per_word=600,
    mi_evaluated=200_000,
)

#: For corpora that cannot carry 500 x 15 words or 5,000 clusters: fewer types, more instances of each.
SMALL_CORPUS = Protocol(
    name="small-corpus",
    phones_per_type=200,
    top_words=500,
    words_per_type=40,
    min_words_per_type=10,
    frame_utterances=500,
    mi_clusters_phone=500,
    mi_clusters_word=5000,
    mi_spans_per_cluster=10,
    mi_fit_per_phone=3000,
    mi_fit_per_word=600,
    mi_evaluated=200_000,
)

#: A corpus carries the published protocol where its word and phone samples reach so many spans (7,000 as published).
PUBLISHED_SAMPLE_FLOOR = 6000


@dataclass(frozen=True)
class AnalysisConfig:
    """The options of ``analyze`` that change its numbers; a run folder keeps them all.

    Attributes:
        scores: which of ``ALL_SCORES`` to compute; those whose material is missing are reported and left out.
        layers: names of the layers to score; all of them when empty.
        protocol: "auto" takes the published protocol where the corpus carries it, else the small-corpus one.
        sample_sets: how many independent samples to score; their spread is drawn as the score's uncertainty.
        seed: of every random choice.
        span: which frames of a phone are averaged: "published" (the rule of the public code) or "centred"
            (the frames whose centres lie in the phone's middle third; the sounder choice at 40 and 80 ms).
        min_span_seconds: spans shorter than this are left out.
        frame_view: what frame-level states are compared with: the log-mel "fbank" or 39-d "mfcc".
        intra_layer: the layer that cca-intra compares the others with; by default the input of the first
            Transformer layer.
        null_direction: "drop" leaves the direction without variance of a one-hot view out; "keep" weights its
            rounding noise as the public code does, for comparison with published numbers.
        controls: compute permutation baselines and the controls of cca-glove and cca-agwe.
        probe_split: what the test rows of probe-phone share with no training row: their "speaker" or their
            "utterance"; "auto" is the speaker where there are five or more, none with over half of the spans.
        abx_context: abx-phone compares phones "within" the same two neighbours (as published), or in "any".
        abx_contexts: at most so many contexts (of one speaker each) in a sample of abx-phone.
        abx_per_phone: at most so many instances of a phone in one context of one speaker.
        phones_per_type: overrides the protocol's number, as do the ones below.
        top_words: see ``Protocol``.
        words_per_type: see ``Protocol``.
        min_words_per_type: see ``Protocol``.
        frame_utterances: see ``Protocol``.
        mi_clusters_phone: see ``Protocol``.
        mi_clusters_word: see ``Protocol``.
    """

    scores: tuple[str, ...] = SCORES
    layers: tuple[str, ...] = ()
    protocol: Literal["auto", "published", "small-corpus"] = "auto"
    sample_sets: int = 3
    seed: int = 0
    span: SpanRule = "published"
    min_span_seconds: float = 0.0
    frame_view: Literal["fbank", "mfcc"] = "fbank"
    intra_layer: str | None = None
    null_direction: Literal["drop", "keep"] = "drop"
    controls: bool = True
    probe_split: Literal["auto", "speaker", "utterance"] = "auto"
    abx_context: Literal["within", "any"] = "within"
    abx_contexts: int = 1000
    abx_per_phone: int = 10
    phones_per_type: int | None = None
    top_words: int | None = None
    words_per_type: int | None = None
    min_words_per_type: int | None = None
    frame_utterances: int | None = None
    mi_clusters_phone: int | None = None
    mi_clusters_word: int | None = None

    def resolve(self, protocol: Protocol) -> Protocol:
        """``protocol`` with this configuration's overrides."""
        values: dict[str, Any] = asdict(protocol)
        values |= {
            key: value
            for key, value in asdict(self).items()
            if key in values and value is not None and key != "protocol"
        }
        return Protocol(**values)


@dataclass(frozen=True)
class ComputeConfig:
    """The options of a run that do not change its numbers beyond rounding.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ...
        dtype: "float32", or "bfloat16" for autocast.
        batch_seconds: the audio in one batch, padding included; more is faster on a GPU and takes more memory.
        score_workers: threads that compute scores at the same time; 0 means one per core.
        shard: run the encoders over one share of the audio: "I/N" with I from 0, or "auto" under torchrun or Slurm;
            the same command without it puts the shares together and scores (under torchrun the first process does).
    """

    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_seconds: float = 40.0
    score_workers: int = 0
    shard: str = ""


@dataclass(frozen=True)
class Inputs:
    """What is analysed, and what it is compared with.

    Attributes:
        models: names, folders or checkpoints of encoders.
        corpus: "demo", a corpus folder, or a lhotse manifest.
        controls: "fbank" (the log-mel as an encoder), "random" (each model re-initialised), "random:MODEL" (that model
            alone).
        glove: word vectors for cca-glove.
        agwe: acoustically grounded word vectors for cca-agwe.
        sts: folder of a spoken STS set.
        inter: other encoders, ``MODEL`` (its last layer) or ``MODEL:LAYER``, for cca-inter.
        training_speakers: file with the speakers that the models were trained on, one a line; then every span
            score is also given for these speakers and for the others.
    """

    models: tuple[str, ...]
    corpus: str = "demo"
    controls: tuple[str, ...] = ("fbank", "random")
    glove: str | None = None
    agwe: str | None = None
    sts: str | None = None
    inter: tuple[str, ...] = ()
    training_speakers: str | None = None


def check_options(inputs: Inputs, config: AnalysisConfig, compute: ComputeConfig) -> None:
    """Refuse options that no analysis can follow.

    Raises:
        InputError: an unknown score or control, or a number that is too small.
    """
    unknown = [score for score in config.scores if score not in ALL_SCORES]
    if unknown:
        raise InputError(f"there is no score {unknown[0]!r}", f"the scores are: {', '.join(ALL_SCORES)}")
    unknown = [name for name in inputs.controls if name not in ("fbank", "random") and not name.startswith("random:")]
    if unknown:
        raise InputError(f"there is no control {unknown[0]!r}", "the controls are: fbank, random, random:MODEL")
    least = {
        "sample_sets": 1, "abx_contexts": 1, "abx_per_phone": 2, "phones_per_type": 1, "top_words": 1,
        "words_per_type": 1, "min_words_per_type": 1, "frame_utterances": 1, "mi_clusters_phone": 2,
        "mi_clusters_word": 2, "min_span_seconds": 0, "score_workers": 0,
    }  # fmt: skip
    given = asdict(config) | asdict(compute)
    for name, limit in least.items():
        if given[name] is not None and not given[name] >= limit:
            raise InputError(f"--{name} is {given[name]}", f"give at least {limit}")
    if not compute.batch_seconds > 0:
        raise InputError(f"--batch_seconds is {compute.batch_seconds}", "give a number above 0")
