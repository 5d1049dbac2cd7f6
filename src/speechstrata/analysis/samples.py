"""What the span-level scores of every layer share: rows, labels, parts and vectors of each sample, made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.config import AnalysisConfig, Protocol
from speechstrata.analysis.parts import grouped_parts, stratified_parts
from speechstrata.analysis.pooling import RowPlan
from speechstrata.analysis.sampling import UnitSample, abx_blocks, clusters_for, sample_abx, sample_unit
from speechstrata.analysis.spans import Spans, Unit
from speechstrata.analysis.vectors import WordVectors
from speechstrata.errors import TooFewSamplesError
from speechstrata.seeds import generator

Rows = NDArray[np.int64]

#: Parts of a probe's cross-validation, where there are so many speakers or utterances.
PROBE_PARTS = 10
#: A probe's parts are disjoint in speakers where there are so many, and none has a larger share of the spans.
FEWEST_SPEAKERS = 5
LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class View:
    """A second view of some rows, for CCA.

    Attributes:
        score: e.g. "cca-word".
        variant: "" or the name of a control.
        reference: the vector file, or "".
        rows: (n,) which rows of the store.
        y: (n,) labels 0..C-1 of a one-hot view, or (n, dim) vectors.
        parts: (n,) the part of each row.
        classes: number of types among the rows.
        fingerprint: of the vectors, or "".
    """

    score: str
    variant: str
    reference: str
    rows: Rows
    y: NDArray[np.int64] | NDArray[np.float64]
    parts: NDArray[np.intp]
    classes: int
    fingerprint: str = ""


@dataclass(frozen=True)
class Clustering:
    """The rows of a mutual-information score: to train the k-means on, and to score.

    Attributes:
        score: "mi-phone" or "mi-word".
        variant: "" or the subset of speakers.
        fit: rows that train the k-means.
        evaluate: rows that are scored, from other utterances.
        labels: (n_evaluate,) labels 0..C-1.
        k: number of clusters.
        classes: number of types.
    """

    score: str
    variant: str
    fit: Rows
    evaluate: Rows
    labels: NDArray[np.int64]
    k: int
    classes: int


@dataclass(frozen=True)
class AbxRows:
    """The rows of an ABX score, and what decides which of them make a triple.

    Attributes:
        variant: "" or the subset of speakers.
        rows: (n,) which rows of the store.
        labels: (n,) the phone.
        contexts: (n,) the pair of neighbours, or 0.
        speakers: (n,) the speaker.
        warning: why a score of these rows should be read with care.
    """

    variant: str
    rows: Rows
    labels: NDArray[np.int64]
    contexts: NDArray[np.int64]
    speakers: NDArray[np.int64]
    warning: str


@dataclass(frozen=True)
class UnitSet:
    """All that is computed from one unit's rows in one sample set.

    Attributes:
        unit: which.
        number: of the sample set.
        views: for CCA.
        clusterings: for mutual information.
        similarities: for CKA; their parts play no role.
        probes: for linear probes; their parts are disjoint in what ``reference`` names.
        abx: for phone discrimination.
        inter: the rows and parts of cca-inter, to be paired with another model's rows; ``None`` for an empty sample.
    """

    unit: Unit
    number: int
    views: tuple[View, ...]
    clusterings: tuple[Clustering, ...]
    similarities: tuple[View, ...] = ()
    probes: tuple[View, ...] = ()
    abx: tuple[AbxRows, ...] = ()
    inter: View | None = None


def _compact(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], Rows]:
    """Labels as 0..C-1, and the original label of each."""
    types, compact = np.unique(labels, return_inverse=True)
    return compact.astype(np.int64), types


def _one_hot_view(spans: Spans, plan: RowPlan, chosen: Rows, variant: str, rng: np.random.Generator) -> View:
    labels, types = _compact(spans.label[chosen])
    parts = stratified_parts(labels, rng)
    return View(f"cca-{spans.unit}", variant, "", plan.rows_of(chosen), labels, parts, len(types))


def _vector_views(
    score: str,
    vectors: WordVectors,
    spans: Spans,
    plan: RowPlan,
    chosen: Rows,
    controls: bool,
    rng: np.random.Generator,
) -> list[View]:
    """The score itself, and its two controls: vectors permuted over the types, and parts disjoint in types."""
    position = {word: index for index, word in enumerate(vectors.words)}
    vector_of_type = np.array([position.get(label, -1) for label in spans.labels], dtype=np.int64)
    chosen = chosen[vector_of_type[spans.label[chosen]] >= 0]
    if not len(chosen):
        return []
    labels, types = _compact(spans.label[chosen])
    table = vectors.matrix[vector_of_type[types]]
    rows = plan.rows_of(chosen)
    parts = stratified_parts(labels, rng)
    view = View(score, "", vectors.name, rows, table[labels], parts, len(types), vectors.fingerprint)
    views = [view]
    if controls:
        shuffled = table[rng.permutation(len(types))]
        views.append(replace(view, variant="vectors-permuted", y=shuffled[labels]))
        try:
            disjoint = grouped_parts(labels, rng)
        except TooFewSamplesError:
            return views  # fewer than ten types: no such split exists, and the score itself will say it is thin
        views.append(replace(view, variant="types-disjoint", parts=disjoint))
    return views


def _clustering(spans: Spans, plan: RowPlan, sample: UnitSample, variant: str, protocol: Protocol) -> Clustering | None:
    if not len(sample.fit) or not len(sample.evaluate):
        return None
    labels, types = _compact(spans.label[sample.evaluate])
    return Clustering(
        score=f"mi-{spans.unit}",
        variant=variant,
        fit=plan.rows_of(sample.fit),
        evaluate=plan.rows_of(sample.evaluate),
        labels=labels,
        k=clusters_for(spans.unit, len(sample.fit), protocol),
        classes=len(types),
    )


def _probe_groups(spans: Spans, used: Rows, config: AnalysisConfig) -> tuple[str, NDArray[np.int64]]:
    """What parts of a probe are disjoint in ("speakers" or "utterances"), and it for each utterance, (n_utterances,).

    Args:
        spans: of the unit.
        used: the spans of all sample sets, so that every set makes the same choice.
        config: ``probe_split``.
    """
    utterances = np.arange(len(spans.utterance_ids))
    names, speakers = np.unique(np.array(spans.speakers), return_inverse=True)
    counts = np.bincount(speakers[spans.utterance[used]], minlength=len(names))
    known = not counts[names == ""].any()
    carried = known and np.count_nonzero(counts) >= FEWEST_SPEAKERS and counts.max() <= LARGEST_SHARE * counts.sum()
    if config.probe_split == "speaker" or (config.probe_split == "auto" and carried):
        return "speakers", speakers.astype(np.int64)
    return "utterances", utterances


def _probe_view(
    view: View, spans: Spans, plan: RowPlan, groups: tuple[str, NDArray[np.int64]], rng: np.random.Generator
) -> View:
    """A one-hot view whose parts are disjoint in speakers or utterances."""
    reference, group_of_utterance = groups
    group = group_of_utterance[spans.utterance[plan.spans_of_rows[view.rows]]]
    parts = grouped_parts(group, rng, n_parts=min(PROBE_PARTS, len(np.unique(group))))
    return replace(view, score=f"probe-{spans.unit}", reference=f"disjoint {reference}", parts=parts)


def _abx_rows(spans: Spans, plan: RowPlan, chosen: Rows, variant: str, config: AnalysisConfig) -> AbxRows:
    contexts, speakers = abx_blocks(spans, config.abx_context)
    unknown = any(spans.speakers[utterance] == "" for utterance in np.unique(spans.utterance[chosen]))
    return AbxRows(
        variant,
        plan.rows_of(chosen),
        spans.label[chosen],
        contexts[chosen],
        speakers[chosen],
        "speakers are not known: triples may mix them" if unknown else "",
    )


def correlation_scores(unit: Unit) -> set[str]:
    """The scores that are computed from a unit's CCA sample; besides them cca-inter, where another model is given."""
    scores = {f"{kind}-{unit}" for kind in ("cca", "cka", "probe")}
    return scores | {"cca-glove", "cca-agwe"} if unit == "word" else scores


def draw_samples(
    spans: Spans,
    protocol: Protocol,
    splits: tuple[str, ...],
    config: AnalysisConfig,
    subsets: Mapping[str, NDArray[np.bool_]],
) -> list[dict[str, UnitSample]]:
    """For every sample set, the sample of each variant: "" (all spans) and the ``subsets`` (n_spans,) given.

    What no score of ``config`` needs is left empty, and gets no rows.
    """
    drawn = []
    scores = set(config.scores)
    correlates = correlation_scores(spans.unit) | {"cca-inter"}
    none = np.zeros(0, dtype=np.int64)

    def sample(number: int, allowed: NDArray[np.bool_] | None = None) -> UnitSample:
        found = sample_unit(spans, protocol, splits, config.seed, number, allowed)
        if not scores & correlates:
            found = replace(found, cca=none)
        if f"mi-{spans.unit}" not in scores:
            found = replace(found, fit=none, evaluate=none)
        return found

    for number in range(config.sample_sets):
        samples = {"": sample(number)}
        for variant, allowed in subsets.items():
            samples[variant] = sample(number, allowed)
        if f"abx-{spans.unit}" in config.scores:
            for variant, drawn_sample in samples.items():
                abx = sample_abx(spans, config, number, subsets.get(variant))
                samples[variant] = replace(drawn_sample, abx=abx)
        drawn.append(samples)
    return drawn


def row_plan(spans: Spans, drawn: Sequence[Mapping[str, UnitSample]]) -> RowPlan:
    """A row for every span that some sample uses."""
    used = [part for samples in drawn for s in samples.values() for part in (s.cca, s.fit, s.evaluate, s.abx)]
    return RowPlan(spans, np.unique(np.concatenate(used)) if used else np.zeros(0, dtype=np.int64))


def unit_sets(
    plan: RowPlan,
    drawn: Sequence[Mapping[str, UnitSample]],
    protocol: Protocol,
    config: AnalysisConfig,
    vectors: Mapping[str, WordVectors],
) -> list[UnitSet]:
    """Everything the scores of a unit need besides the rows themselves.

    Args:
        plan: of the unit's rows.
        drawn: its samples, see ``draw_samples``.
        protocol: the numbers.
        config: which scores, and the seed.
        vectors: score name ("cca-glove", "cca-agwe") -> word vectors; only used for words.
    """
    spans = plan.spans
    sets = []
    groups = {
        variant: _probe_groups(spans, np.concatenate([samples[variant].cca for samples in drawn]), config)
        for variant in (drawn[0] if drawn else ())
    }
    for number, samples in enumerate(drawn):
        views: list[View] = []
        clusterings: list[Clustering] = []
        similarities: list[View] = []
        probes: list[View] = []
        inter: View | None = None
        for variant, sample in samples.items():
            purpose = (spans.unit, number, variant)
            if len(sample.cca):
                view = _one_hot_view(spans, plan, sample.cca, variant, generator(config.seed, "parts", *purpose))
                if not variant:
                    inter = view
                if f"cca-{spans.unit}" in config.scores:
                    views.append(view)
                if f"cka-{spans.unit}" in config.scores:
                    similarities.append(replace(view, score=f"cka-{spans.unit}"))
                if f"probe-{spans.unit}" in config.scores:
                    rng = generator(config.seed, "probe parts", *purpose)
                    probes.append(_probe_view(view, spans, plan, groups[variant], rng))
            if f"mi-{spans.unit}" in config.scores:
                clustering = _clustering(spans, plan, sample, variant, protocol)
                if clustering is not None:
                    clusterings.append(clustering)
        if spans.unit == "word":
            for score, given in vectors.items():
                rng = generator(config.seed, "vectors", score, number)
                views += _vector_views(score, given, spans, plan, samples[""].cca, config.controls, rng)
        abx = [
            _abx_rows(spans, plan, sample.abx, variant, config)
            for variant, sample in samples.items()
            if f"abx-{spans.unit}" in config.scores
        ]
        sets.append(
            UnitSet(
                spans.unit,
                number,
                tuple(views),
                tuple(clusterings),
                tuple(similarities),
                tuple(probes),
                tuple(abx),
                inter,
            )
        )
    return sets
