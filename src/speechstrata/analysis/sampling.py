"""Which spans and utterances a score is computed from: explicit, seeded, and saved with the run."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.abx import neighbours
from speechstrata.analysis.config import (
    PUBLISHED,
    PUBLISHED_SAMPLE_FLOOR,
    SMALL_CORPUS,
    AnalysisConfig,
    Protocol,
)
from speechstrata.analysis.spans import Spans, Unit
from speechstrata.seeds import generator

#: Share of the utterances whose spans train the k-means, where a corpus has no splits of its own.
FIT_SHARE = 0.7

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class UnitSample:
    """The spans of one unit in one sample set: indices into a ``Spans`` table, sorted.

    Attributes:
        cca: for the correlation scores.
        fit: for training the k-means of the mutual information; from other utterances than ``evaluate``.
        evaluate: for estimating the mutual information.
        abx: for phone discrimination.
    """

    cca: Indices
    fit: Indices
    evaluate: Indices
    abx: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def choose_types(spans: Spans, protocol: Protocol) -> Indices:
    """The types that take part: every phone, or the most frequent words (ties in alphabetical order)."""
    counts = np.bincount(spans.label, minlength=len(spans.labels))
    if spans.unit == "phone":
        return np.flatnonzero(counts > 0)
    order = np.lexsort((np.arange(len(counts)), -counts))
    order = order[counts[order] >= protocol.min_words_per_type]
    return np.sort(order[: protocol.top_words])


def per_type(label: NDArray[np.int64], limit: int, rng: np.random.Generator) -> Indices:
    """At most ``limit`` random rows of each label; the rows' indices, sorted."""
    order = rng.permutation(len(label))
    by_label = order[np.argsort(label[order], kind="stable")]
    ordered = label[by_label]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    rank = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    return np.sort(by_label[rank < limit])


def _fit_utterances(n: int, splits: tuple[str, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which utterances train the k-means: the corpus's training split if it has splits, else a random share."""
    train = np.array([split.startswith("train") for split in splits], dtype=bool)
    if train.any() and not train.all():
        return train
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[: round(FIT_SHARE * n)]] = True
    return chosen


def sample_unit(
    spans: Spans,
    protocol: Protocol,
    splits: tuple[str, ...],
    seed: int,
    number: int,
    allowed: NDArray[np.bool_] | None = None,
) -> UnitSample:
    """Sample one unit's spans.

    Args:
        spans: the corpus's spans.
        protocol: the numbers.
        splits: (n_utterances,) the split of each utterance; "" where the corpus has none.
        seed: of the run.
        number: of the sample set.
        allowed: (n,) restricts the sample to these spans, e.g. to those of some speakers.
    """
    types = choose_types(spans, protocol)
    usable = np.isin(spans.label, types)
    if allowed is not None:
        usable &= allowed
    rows = np.flatnonzero(usable)
    phone = spans.unit == "phone"
    cca_limit = protocol.phones_per_type if phone else protocol.words_per_type
    fit_limit = protocol.mi_fit_per_phone if phone else protocol.mi_fit_per_word
    cca = rows[per_type(spans.label[rows], cca_limit, generator(seed, "cca", spans.unit, number))]
    fitting = _fit_utterances(len(spans.utterance_ids), splits, generator(seed, "fit-utterances", number))
    in_fit = fitting[spans.utterance[rows]]
    fit_rows, evaluate = rows[in_fit], rows[~in_fit]
    fit = fit_rows[per_type(spans.label[fit_rows], fit_limit, generator(seed, "fit", spans.unit, number))]
    if len(evaluate) > protocol.mi_evaluated:
        rng = generator(seed, "evaluated-utterances", spans.unit, number)
        evaluate = evaluate[_whole_groups(spans.utterance[evaluate], protocol.mi_evaluated, rng)]
    return UnitSample(cca=cca, fit=fit, evaluate=evaluate)


def _whole_groups(group: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows belong to the first groups in random order that have ``limit`` rows together, or fewer."""
    names, index, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[np.cumsum(counts[order]) <= limit]] = True
    return np.asarray(chosen[index])


def abx_blocks(spans: Spans, context: Literal["within", "any"]) -> tuple[Indices, Indices]:
    """What A, B and X of an ABX triple share: for every span its context, and its speaker, (n,) integers each.

    Contexts are pairs of neighbours ("within"; see ``abx.neighbours``), or all 0 ("any").
    """
    contexts = np.zeros(len(spans), dtype=np.int64)
    if context == "within":
        contexts = neighbours(spans.utterance, spans.start, spans.end, spans.label).astype(np.int64)
    _, speaker = np.unique(np.array(spans.speakers), return_inverse=True)
    return contexts, speaker.astype(np.int64)[spans.utterance]


def sample_abx(spans: Spans, config: AnalysisConfig, number: int, allowed: NDArray[np.bool_] | None = None) -> Indices:
    """The spans of one sample of abx-phone: whole contexts (of one speaker each) that hold a triple.

    Args:
        spans: the corpus's phones.
        config: the sizes, the context and the seed.
        number: of the sample set.
        allowed: (n,) restricts the sample to these spans.
    """
    context, speaker = abx_blocks(spans, config.abx_context)
    usable = np.arange(len(spans)) if allowed is None else np.flatnonzero(allowed)
    if not len(usable):
        return usable.astype(np.int64)
    _, block = np.unique(np.stack([context, speaker])[:, usable], axis=1, return_inverse=True)
    block = block.reshape(-1).astype(np.int64)
    _, group = np.unique(np.stack([block, spans.label[usable]]), axis=1, return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    block_of_group = np.zeros(int(group.max()) + 1, dtype=np.int64)
    block_of_group[group] = block
    phones = np.bincount(block_of_group, minlength=int(block.max()) + 1)
    repeated = np.zeros(len(phones), dtype=bool)
    repeated[block_of_group[np.bincount(group) >= 2]] = True
    eligible = np.flatnonzero((phones >= 2) & repeated)
    rng = generator(config.seed, "abx", number)
    chosen = np.isin(block, rng.permutation(eligible)[: config.abx_contexts])
    rows = np.flatnonzero(chosen)
    return usable[rows[per_type(group[rows], config.abx_per_phone, rng)]]


def sample_frames(n_utterances: int, protocol: Protocol, sample_sets: int, seed: int) -> list[Indices]:
    """The utterances whose frames make each frame-level sample: disjoint sets, each sorted.

    A set has ``protocol.frame_utterances`` utterances, or an equal share where the corpus has too few.
    """
    order = generator(seed, "frames").permutation(n_utterances)
    size = min(protocol.frame_utterances, n_utterances // sample_sets)
    return [np.sort(order[number * size : (number + 1) * size]) for number in range(sample_sets)]


def choose_protocol(config: AnalysisConfig, spans: dict[Unit, Spans], splits: tuple[str, ...]) -> Protocol:
    """The protocol of a run, the configuration's overrides included.

    "auto" is the published one where every unit present gives a CCA sample of at least 6,000 spans and twice as many
    training spans as clusters (in a corpus without spans, where there are utterances for the frames of every sample
    set); else the small-corpus one.
    """
    if config.protocol == "published":
        return config.resolve(PUBLISHED)
    if config.protocol == "small-corpus":
        return config.resolve(SMALL_CORPUS)
    published = config.resolve(PUBLISHED)
    if not spans and len(splits) < config.sample_sets * published.frame_utterances:
        return config.resolve(SMALL_CORPUS)
    for unit, table in spans.items():
        sample = sample_unit(table, published, splits, config.seed, 0)
        clusters = published.mi_clusters_phone if unit == "phone" else published.mi_clusters_word
        if len(sample.cca) < PUBLISHED_SAMPLE_FLOOR or len(sample.fit) < 2 * clusters:
            return config.resolve(SMALL_CORPUS)
    return published


def clusters_for(unit: Unit, n_fit: int, protocol: Protocol) -> int:
    """The k of a unit's k-means: the protocol's, lowered where the protocol asks for more spans per cluster."""
    clusters = protocol.mi_clusters_phone if unit == "phone" else protocol.mi_clusters_word
    if protocol.mi_spans_per_cluster > 0:
        clusters = min(clusters, n_fit // protocol.mi_spans_per_cluster)
    return clusters


def frame_parts(n_frames: int, n_parts: int, seed: int, number: int, utterance: str) -> NDArray[np.int64]:
    """The part (0 .. n_parts-1) of every 10 ms frame of an utterance, the same for every layer and model.

    Parts are drawn per 10 ms and a layer's frame takes the part of the 10 ms that it is compared with, so that
    layers of different strides put the same stretches of speech in the same part.
    """
    return generator(seed, "frame-parts", number, utterance).integers(0, n_parts, size=n_frames)
