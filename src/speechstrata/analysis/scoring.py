"""From pooled rows to scores: one task per layer, score and sample set, run side by side, each able to fail alone."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.cca import cross_validated_pwcca
from speechstrata.analysis.config import AnalysisConfig
from speechstrata.analysis.moments import PartedRows
from speechstrata.analysis.mutual_information import mutual_information
from speechstrata.analysis.pooling import RowStore
from speechstrata.analysis.samples import Clustering, UnitSet, View
from speechstrata.analysis.sentence_pairs import SentencePairs, readable_pairs
from speechstrata.analysis.sentence_similarity import sentence_similarity
from speechstrata.encoders.base import SpeechEncoder
from speechstrata.errors import SpeechstrataError, TooFewSamplesError
from speechstrata.progress import ProgressBar
from speechstrata.seeds import derived_seed

#: Shuffles of the labels for the permutation baseline of the mutual information.
BASELINE_DRAWS = 10


@dataclass(frozen=True)
class LayerScore:
    """One value of one score of one layer; the fields are those of ``ScoreRow``."""

    score: str
    unit: str
    variant: str
    reference: str
    sample_set: int
    value: float
    n: int
    nats: float | None = None
    baseline: float | None = None
    classes: int | None = None
    k: int | None = None
    warning: str = ""


@dataclass(frozen=True)
class Task:
    """Some scores of one layer that are computed, kept and served together.

    Attributes:
        layer: name.
        score: name.
        sample_set: number.
        compute: gives the values; may raise a ``SpeechstrataError``.
        depends_on: what the values depend on besides the model, the corpus and the run's configuration.
    """

    layer: str
    score: str
    sample_set: int
    compute: Callable[[], list[LayerScore]]
    depends_on: tuple[str, ...] = ()


def unit_tasks(layer: str, store: RowStore, sets: Iterable[UnitSet], config: AnalysisConfig) -> list[Task]:
    """The tasks of a layer's pooled phones or words."""
    tasks = []
    for each in sets:
        for score in dict.fromkeys(view.score for view in each.views):

            def correlate(score: str = score, each: UnitSet = each) -> list[LayerScore]:
                views = [view for view in each.views if view.score == score]
                return _score_views(store.rows(layer, each.unit), views, each, config)

            chosen = [view for view in each.views if view.score == score]
            depends_on = [view.reference for view in chosen] + [v.fingerprint for v in chosen if v.fingerprint]
            tasks.append(Task(layer, score, each.number, correlate, tuple(depends_on)))
        if each.clusterings:

            def cluster(each: UnitSet = each) -> list[LayerScore]:
                return _score_clusterings(store.rows(layer, each.unit), each.clusterings, each, config)

            tasks.append(Task(layer, f"mi-{each.unit}", each.number, cluster))
    return tasks


def inter_tasks(
    layer: str,
    store: RowStore,
    other_layer: str,
    other_store: RowStore,
    other: SpeechEncoder,
    sets: Iterable[UnitSet],
    config: AnalysisConfig,
) -> list[Task]:
    """The tasks that compare a layer with a layer of another model on the same spans."""
    tasks = []
    for unit_set in sets:
        if unit_set.inter is not None:

            def compute(view: View = unit_set.inter, s: UnitSet = unit_set) -> list[LayerScore]:
                y = other_store.rows(other_layer, s.unit)[view.rows].astype(np.float64)
                reference = f"{other.name}:{other_layer} ({s.unit}s)"
                second = View("cca-inter", "", reference, view.rows, y, view.parts, view.classes)
                return _score_views(store.rows(layer, s.unit), [second], s, config)

            depends_on = (other.fingerprint, other_layer, unit_set.unit)
            tasks.append(Task(layer, "cca-inter", unit_set.number, compute, depends_on))
    return tasks


def sentence_tasks(layer: str, store: RowStore, sts: SentencePairs) -> list[Task]:
    """The task of a layer's utterance vectors; there is one set of sentence pairs, so one sample set."""

    def compute() -> list[LayerScore]:
        vectors = store.rows(layer, "sentence")
        pairs, scores = readable_pairs(sts, vectors)
        result = sentence_similarity(np.nan_to_num(vectors), pairs, scores)
        missing = len(sts.pairs) - len(pairs)
        warning = f"{missing} of {len(sts.pairs)} sentence pairs left out: no readable recording" if missing else ""
        name = f"{sts.name} ({sts.label})" if sts.label else sts.name
        return [LayerScore("spoken-sts", "sentence", "", name, 0, value=result.rho, n=result.n_pairs, warning=warning)]

    return [Task(layer, "spoken-sts", 0, compute)]


def finite_rows(*arrays: NDArray) -> NDArray[np.bool_]:
    """Which rows are finite in every array: those of utterances that could not be read are NaN."""
    finite = [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in arrays]
    return np.asarray(np.logical_and.reduce(finite))


def _finite(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The finite rows; not a copy where all are."""
    kept = finite_rows(rows)
    return rows if kept.all() else rows[kept]


def left_out(kept: NDArray[np.bool_]) -> str:
    """A warning that says how many rows are not in ``kept``; "" where all are."""
    missing = int((~kept).sum())
    return f"{missing} of {len(kept)} spans left out: their states are missing or not finite" if missing else ""


def _score_views(
    rows: NDArray[np.float32], views: Sequence[View], unit_set: UnitSet, config: AnalysisConfig
) -> list[LayerScore]:
    scores = []
    shared: dict[tuple[int, int], tuple[PartedRows, NDArray[np.bool_]]] = {}
    for view in views:
        # Controls that permute only the second view share the rows, and what follows from these alone.
        key = (id(view.rows), id(view.parts))
        if key not in shared:
            x = rows[view.rows]
            kept = finite_rows(x)
            if not kept.any():
                raise TooFewSamplesError("no state is finite", "look at the model, or at the audio")
            shared[key] = PartedRows(x[kept], view.parts[kept]), kept
        parted, kept = shared[key]
        y = view.y[kept]
        if y.ndim == 2 and not np.isfinite(y).all():
            raise TooFewSamplesError("the other model's states are not finite", "look at that model")
        result = cross_validated_pwcca(
            parted,
            y,
            n_classes=view.classes if y.ndim == 1 else None,
            seed=derived_seed(config.seed, "trials", unit_set.unit, unit_set.number),
            null_direction=config.null_direction,
            # The permuted vectors are a baseline themselves.
            baseline=config.controls and view.variant != "vectors-permuted",
        )
        scores.append(
            LayerScore(
                view.score,
                unit_set.unit,
                view.variant,
                view.reference,
                unit_set.number,
                value=result.score,
                n=result.n,
                baseline=result.baseline,
                classes=view.classes,
                warning="; ".join(filter(None, [result.warning, left_out(kept)])),
            )
        )
    return scores


def _score_clusterings(
    rows: NDArray[np.float32], clusterings: Sequence[Clustering], unit_set: UnitSet, config: AnalysisConfig
) -> list[LayerScore]:
    scores = []
    for each in clusterings:
        evaluate = rows[each.evaluate]
        kept = finite_rows(evaluate)
        result = mutual_information(
            _finite(rows[each.fit]),
            evaluate[kept],
            each.labels[kept],
            k=each.k,
            seed=derived_seed(config.seed, "k-means", unit_set.unit, unit_set.number),
            n_permutations=BASELINE_DRAWS if config.controls else 0,
        )
        scores.append(
            LayerScore(
                each.score,
                unit_set.unit,
                each.variant,
                "",
                unit_set.number,
                value=result.normalised,
                n=result.n,
                nats=result.nats,
                baseline=result.baseline if config.controls else None,
                classes=each.classes,
                k=each.k,
                warning=left_out(kept),
            )
        )
    return scores


@contextmanager
def one_core_per_thread() -> Iterator[None]:
    """Let BLAS and OpenMP compute on one core in every thread that is started inside."""
    import faiss
    from threadpoolctl import threadpool_limits

    before = faiss.omp_get_max_threads()
    with threadpool_limits(limits=1):
        faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            faiss.omp_set_num_threads(before)


def run_tasks(
    tasks: Sequence[Task],
    description: str,
    workers: int,
    on_done: Callable[[Task, list[LayerScore]], None],
    on_failed: Callable[[Task, SpeechstrataError], None],
) -> None:
    """Run tasks in threads (the work is in BLAS, LAPACK and faiss, which let go of the interpreter).

    Each thread computes on one core, so that the numbers do not depend on how many run at a time. Results
    are handed over in this thread, in the order in which they are ready; what is handed over is never lost
    to a later failure.

    Args:
        tasks: what to compute.
        description: for the progress bar.
        workers: threads; 0 for one per core.
        on_done: takes a task's values.
        on_failed: takes the error of a task whose samples are not fit for its score.
    """
    if not tasks:
        return
    count = workers or os.cpu_count() or 1
    with (
        one_core_per_thread(),
        ThreadPoolExecutor(count) as pool,
        ProgressBar(description, len(tasks), "scores") as bar,
    ):
        running: dict[Future[list[LayerScore]], Task] = {pool.submit(task.compute): task for task in tasks}
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    task = running.pop(future)
                    try:
                        on_done(task, future.result())
                    except SpeechstrataError as error:
                        on_failed(task, error)
                    bar.advance()
        finally:
            for future in running:
                future.cancel()
