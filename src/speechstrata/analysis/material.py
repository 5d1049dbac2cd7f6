"""The corpus side of an analysis: all that is the same for every model."""

import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.config import FRAME_SCORES, AnalysisConfig, Inputs, Protocol
from speechstrata.analysis.model_pass import Utterances
from speechstrata.analysis.pooling import RowPlan
from speechstrata.analysis.run_folder import Problem, RunFolder
from speechstrata.analysis.samples import UnitSet, correlation_scores, draw_samples, row_plan, unit_sets
from speechstrata.analysis.sampling import UnitSample, choose_protocol, sample_frames
from speechstrata.analysis.sentence_pairs import SentencePairs, load_sentence_pairs
from speechstrata.analysis.spans import SpanCollector, Spans, Unit
from speechstrata.analysis.vectors import WordVectors, load_vectors
from speechstrata.errors import TooFewSamplesError
from speechstrata.files import fingerprint, read_text

_UNITS: tuple[Literal["phone", "word"], ...] = ("phone", "word")


@dataclass(frozen=True)
class Material:
    """What the encoders of a run are measured on.

    Attributes:
        corpus: the ``Corpus``.
        utterances: its audio.
        protocol: the numbers in force.
        plans: unit -> which spans are pooled.
        sets: unit -> rows, labels, parts and vectors of each sample set.
        frame_sets: the utterances of each frame-level sample; empty where no frame-level score is wanted.
        sts: the sentence pairs, if there are any.
        training_speakers: fingerprint of the list of training speakers; ``None`` where none is given.
        statement: what the samples carry, in a paragraph.
    """

    corpus: Any
    utterances: Utterances
    protocol: Protocol
    plans: Mapping[Unit, RowPlan]
    sets: Mapping[Unit, list[UnitSet]]
    frame_sets: Sequence[NDArray[np.int64]]
    sts: SentencePairs | None
    training_speakers: str | None
    statement: str


def prepare_material(inputs: Inputs, config: AnalysisConfig, run: RunFolder) -> Material:
    """Read the corpus, draw the samples, and read what they are compared with.

    What is missing for a score is noted in ``run``, and that score is left out.

    Raises:
        CorpusError: the corpus cannot be found or read.
        InputError: the file of training speakers cannot be read.
    """
    from speechstrata.corpora.corpus import load_corpus

    wanted = set(config.scores)
    corpus = load_corpus(inputs.corpus, lazy=True)
    collectors = [SpanCollector(unit, config.min_span_seconds) for unit in _UNITS]
    utterances = Utterances.of_corpus(corpus, *(collector.add for collector in collectors))
    spans: dict[Unit, Spans] = {found.unit: found for found in (collector.spans() for collector in collectors)}
    for unit in _UNITS:
        if not len(spans[unit]):
            del spans[unit]
            if wanted & {f"{kind}-{unit}" for kind in ("cca", "mi", "cka", "probe", "abx")}:
                reason = f"the corpus has no {unit} alignments"
                run.add_problem(Problem(f"{unit} scores", corpus.name, reason, "make them with `speechstrata align`"))
    protocol = choose_protocol(config, spans, utterances.splits)
    speakers = _training_speakers(inputs.training_speakers)
    subsets = {} if speakers is None else _speaker_subsets(speakers, str(inputs.training_speakers), utterances, run)
    drawn = {
        unit: draw_samples(
            table,
            protocol,
            utterances.splits,
            config,
            {name: allowed[table.utterance] for name, allowed in subsets.items()},
        )
        for unit, table in spans.items()
    }
    plans = {unit: row_plan(spans[unit], samples) for unit, samples in drawn.items()}
    vectors = _vectors(inputs, wanted, plans["word"], drawn["word"], run) if "word" in plans else {}
    sets = {unit: unit_sets(plan, drawn[unit], protocol, config, vectors) for unit, plan in plans.items()}
    _note_empty_samples(wanted, sets, corpus.name, run)
    frame_sets: list[NDArray[np.int64]] = []
    if wanted & FRAME_SCORES:
        frame_sets = sample_frames(len(utterances.ids), protocol, config.sample_sets, config.seed)
        if not len(frame_sets[0]):
            which = ", ".join(score for score in config.scores if score in FRAME_SCORES)
            reason = f"{len(utterances.ids)} utterances cannot make {config.sample_sets} sample sets of frames"
            run.failed(which, corpus.name, TooFewSamplesError(reason, "use more utterances, or fewer --sample_sets"))
            frame_sets = []
    sts = None
    if "spoken-sts" in wanted:
        if inputs.sts is None:
            run.add_problem(Problem("spoken-sts", "run", "no sentence pairs were given", "give a folder with --sts"))
        else:
            folder = Path(inputs.sts)
            sts = run.attempt("spoken-sts", str(folder), lambda: load_sentence_pairs(folder))
    statement = _statement(protocol, sets, frame_sets, utterances, sts)
    training = None if speakers is None else fingerprint(sorted(speakers))
    return Material(corpus, utterances, protocol, plans, sets, frame_sets, sts, training, statement)


def _note_empty_samples(wanted: set[str], sets: Mapping[Unit, list[UnitSet]], corpus: str, run: RunFolder) -> None:
    """Say which scores have nothing to be computed from, though the corpus has their spans."""
    for unit, unit_sets_ in sets.items():
        if (missing := sorted(wanted & correlation_scores(unit))) and any(each.inter is None for each in unit_sets_):
            error = TooFewSamplesError(
                f"no {unit} occurs often enough", "use more speech, or a lower --min_words_per_type"
            )
            run.failed(", ".join(missing), corpus, error)
        if f"mi-{unit}" in wanted and not all(each.clusterings for each in unit_sets_):
            error = TooFewSamplesError(
                f"its {unit}s do not make a sample to cluster and one of other utterances to score", "use more speech"
            )
            run.failed(f"mi-{unit}", corpus, error)


def _training_speakers(source: str | None) -> frozenset[str] | None:
    """The speakers that the models were trained on, where they are given."""
    if source is None:
        return None
    return frozenset(line.strip() for line in read_text(source).splitlines() if line.strip())


def _speaker_subsets(
    known: Set[str], source: str, utterances: Utterances, run: RunFolder
) -> dict[str, NDArray[np.bool_]]:
    """The utterances by known and by unknown speakers."""
    seen = np.array([speaker in known for speaker in utterances.speakers], dtype=bool)
    if seen.all() or not seen.any():
        which = "all" if seen.all() else "none"
        reason = f"{which} of the corpus's speakers are training speakers"
        run.add_problem(Problem("scores by speakers", source, reason, "check how the speakers are named"))
        return {}
    return {"speakers-train": seen, "speakers-heldout": ~seen}


def _vectors(
    inputs: Inputs, wanted: set[str], plan: RowPlan, drawn: Sequence[Mapping[str, UnitSample]], run: RunFolder
) -> dict[str, WordVectors]:
    """Word vectors for the word types of the samples: score name -> vectors."""
    found: dict[str, WordVectors] = {}
    used = np.unique(np.concatenate([plan.spans.label[samples[""].cca] for samples in drawn]))
    vocabulary = tuple(plan.spans.labels[label] for label in used)
    if not vocabulary:
        return found  # no word occurs often enough, which is said elsewhere
    for score, source in (("cca-glove", inputs.glove), ("cca-agwe", inputs.agwe)):
        if score not in wanted:
            continue
        if source is None:
            option = score.removeprefix("cca-")
            run.add_problem(Problem(score, "run", "no word vectors were given", f"give a file with --{option}"))
            continue

        def load(given: str = source) -> WordVectors:
            return load_vectors(given, vocabulary)

        vectors = run.attempt(score, source, load)
        if vectors is not None:
            found[score] = vectors
            print(f"{score}: {vectors.name} has {len(vectors.words)} of {len(vocabulary)} word types", file=sys.stderr)
    return found


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _statement(
    protocol: Protocol,
    sets: Mapping[Unit, list[UnitSet]],
    frame_sets: Sequence[NDArray[np.int64]],
    utterances: Utterances,
    sts: SentencePairs | None,
) -> str:
    """What the samples of a run carry, in words."""
    parts = [
        "Published protocol: scores may stand beside published ones."
        if protocol.name == "published"
        else "Small-corpus protocol: the corpus does not carry the published numbers of words and clusters, so these "
        "scores may not stand beside published ones."
    ]
    for unit, unit_sets_ in sets.items():
        views = [view for each in unit_sets_ for view in each.views if view.score == f"cca-{unit}" and not view.variant]
        if views:
            spans, classes = _range([len(v.rows) for v in views]), _range([v.classes for v in views])
            parts.append(f"CCA: {spans} {unit} spans of {classes} types a sample set.")
        clusterings = [c for each in unit_sets_ for c in each.clusterings if not c.variant]
        if clusterings:
            k = _range([c.k for c in clusterings])
            fit = _range([len(c.fit) for c in clusterings])
            scored = _range([len(c.evaluate) for c in clusterings])
            parts.append(f"MI: k = {k}, fitted to {fit} {unit} spans, scored on {scored} of other utterances.")
        probes = [probe for each in unit_sets_ for probe in each.probes if not probe.variant]
        if probes:
            folds = _range([int(probe.parts.max()) + 1 for probe in probes])
            parts.append(f"Probe: the CCA sample's {unit} spans in {folds} parts of {probes[0].reference}.")
        abx = [rows for each in unit_sets_ for rows in each.abx if not rows.variant]
        if abx:
            spans = _range([len(rows.rows) for rows in abx])
            places = _range([len(np.unique(np.stack([r.contexts, r.speakers]), axis=1).T) for r in abx])
            parts.append(f"ABX: {spans} {unit} spans in {places} contexts of one speaker.")
    if frame_sets and len(frame_sets[0]):
        minutes = np.mean([utterances.seconds[used].sum() for used in frame_sets]) / 60
        parts.append(f"Frames: {len(frame_sets[0])} utterances ({minutes:.1f} min) a sample set.")
    if sts is not None:
        kind = sts.label or "the folder does not say what kind of scores and speech"
        parts.append(
            f"STS: {len(sts.pairs):,} sentence pairs of {sts.name}, {len(sts.utterances.ids):,} recordings: {kind}."
        )
    return " ".join(parts)
