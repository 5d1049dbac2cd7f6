"""The tasks of CKA, the linear probe and ABX: other measures of the same pooled rows."""

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.abx import CHANCE, abx_discriminability
from speechstrata.analysis.cka import debiased_cka, linear_cka, one_hot_norms, permuted_cka
from speechstrata.analysis.config import AnalysisConfig
from speechstrata.analysis.moments import Moments
from speechstrata.analysis.pooling import RowStore
from speechstrata.analysis.probe import probe_accuracy
from speechstrata.analysis.samples import UnitSet, View
from speechstrata.analysis.scoring import LayerScore, Task, finite_rows, left_out
from speechstrata.errors import TooFewSamplesError

#: With fewer cells than this, single phones decide an ABX score.
_FEW_CELLS = 100


def further_tasks(layer: str, store: RowStore, sets: Iterable[UnitSet], config: AnalysisConfig) -> list[Task]:
    """The tasks of a layer's pooled phones or words beside those of ``scoring.unit_tasks``."""
    tasks = []
    for each in sets:
        if each.similarities:

            def align(each: UnitSet = each) -> list[LayerScore]:
                return _score_cka(store.rows(layer, each.unit), each, config)

            tasks.append(Task(layer, f"cka-{each.unit}", each.number, align))
        if each.probes:

            def probe(each: UnitSet = each) -> list[LayerScore]:
                return _score_probes(store.rows(layer, each.unit), each)

            references = tuple(view.reference for view in each.probes)
            tasks.append(Task(layer, f"probe-{each.unit}", each.number, probe, references))
        if each.abx:

            def discriminate(each: UnitSet = each) -> list[LayerScore]:
                return _score_abx(store.rows(layer, each.unit), each, config)

            options = (config.abx_context, str(config.abx_contexts), str(config.abx_per_phone))
            tasks.append(Task(layer, f"abx-{each.unit}", each.number, discriminate, options))
    return tasks


def _kept(rows: NDArray[np.float32], chosen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The finite ones of some rows, and which they are."""
    x = rows[chosen]
    kept = finite_rows(x)
    if not kept.any():
        raise TooFewSamplesError("no state is finite", "look at the model, or at the audio")
    return x[kept], kept


def _score_cka(rows: NDArray[np.float32], unit_set: UnitSet, config: AnalysisConfig) -> list[LayerScore]:
    scores = []
    for view in unit_set.similarities:
        x, kept = _kept(rows, view.rows)
        labels = view.y[kept].astype(np.int64)
        moments = Moments.from_labels(x, labels, view.classes)
        baseline = permuted_cka(moments) if config.controls else None
        values = {view.variant: (linear_cka(moments), baseline)}
        if not view.variant:
            assert moments.counts is not None
            norms_x = np.square(x - moments.mean_x).sum(axis=1)
            with suppress(TooFewSamplesError):  # the plain value stands; its baseline shows the bias
                values["debiased"] = debiased_cka(moments, norms_x, one_hot_norms(moments.counts, labels)), None
        scores += [
            LayerScore(
                view.score,
                unit_set.unit,
                variant,
                view.reference,
                unit_set.number,
                value=value,
                n=len(x),
                baseline=level,
                classes=view.classes,
                warning=left_out(kept),
            )
            for variant, (value, level) in values.items()
        ]
    return scores


def _score_probes(rows: NDArray[np.float32], unit_set: UnitSet) -> list[LayerScore]:
    scores = []
    for view in unit_set.probes:
        x, kept = _kept(rows, view.rows)
        parts = _filled(view, kept)
        result = probe_accuracy(x, view.y[kept], parts, n_classes=view.classes)
        scores.append(
            LayerScore(
                view.score,
                unit_set.unit,
                view.variant,
                view.reference,
                unit_set.number,
                value=result.accuracy,
                n=result.n,
                baseline=result.majority,
                classes=view.classes,
                warning=left_out(kept),
            )
        )
    return scores


def _filled(view: View, kept: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The parts of the rows kept, numbered without gaps: all of a part's utterances may have been unreadable."""
    return np.unique(view.parts[kept], return_inverse=True)[1].reshape(-1)


def _score_abx(rows: NDArray[np.float32], unit_set: UnitSet, config: AnalysisConfig) -> list[LayerScore]:
    scores = []
    for each in unit_set.abx:
        if not len(each.rows):
            raise TooFewSamplesError(
                "no two instances of a phone and one of another share speaker and context",
                "use more speech, or --abx_context any",
            )
        x, kept = _kept(rows, each.rows)
        result = abx_discriminability(x, each.labels[kept], each.contexts[kept], each.speakers[kept])
        few = f"{result.cells} ABX cells: fewer than {_FEW_CELLS}" if result.cells < _FEW_CELLS else ""
        scores.append(
            LayerScore(
                f"abx-{unit_set.unit}",
                unit_set.unit,
                each.variant,
                f"{config.abx_context} context",
                unit_set.number,
                value=result.discriminability,
                n=result.n,
                baseline=CHANCE,
                classes=len(np.unique(each.labels[kept])),
                warning="; ".join(filter(None, [each.warning, few, left_out(kept)])),
            )
        )
    return scores
