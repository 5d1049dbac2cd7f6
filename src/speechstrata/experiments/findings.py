"""The claims evaluated: from tables to statistics, intervals, verdicts and evidence, as ``findings.json`` has them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from speechstrata.experiments.cells import Cell, cells_of
from speechstrata.experiments.grids import Grid, NotMeasured, Setting
from speechstrata.experiments.intervals import PROBES, SEEDS, SETS, SPEAKERS, Interval, crossed_interval
from speechstrata.experiments.score_tables import Measurements
from speechstrata.experiments.stated_claims import claims
from speechstrata.experiments.stated_findings import findings
from speechstrata.experiments.statements import Claim, Statement
from speechstrata.experiments.verdicts import VERDICT_RULES, Verdict, finding_verdict, statistic_verdict

LEVEL = 0.95

INTERVAL_TEXT = (
    "Mean over training seeds and sample sets (of probes: probe seeds); estimate ∓ t × standard error of a crossed "
    "bootstrap that draws n − 1 of n of each (5,000 resamples), with Satterthwaite's degrees of freedom; level .95. "
    "Only training seeds and sample sets count that all models of a statistic have."
)


class CorpusOfScores(NamedTuple):
    """A corpus with scores, and its part: the findings are decided on the primary one, the others stand beside it."""

    name: str
    fingerprint: str
    protocol: str
    role: str


def corpora_of(scores: pl.DataFrame, primary: str | None = None) -> list[CorpusOfScores]:
    """The corpora (each with its protocol) that there are scores on.

    Args:
        scores: of all seeds.
        primary: fingerprint of the corpus that the findings are decided on; by default the one with the most training
            seeds, of these the one with the most rows.
    """
    table = (
        scores.filter((pl.col("cell") != "") & (pl.col("part_of") == ""))
        .group_by("corpus", "corpus_fingerprint", "protocol")
        .agg(pl.col("training_seed").n_unique().alias("seeds"), pl.len().alias("rows"))
        .sort("seeds", "rows", "corpus_fingerprint", descending=True)
    )
    rows = table.rows(named=True)
    rows.sort(key=lambda row: row["corpus_fingerprint"] != primary)
    return [
        CorpusOfScores(
            row["corpus"], row["corpus_fingerprint"], row["protocol"], "replication" if number else "primary"
        )
        for number, row in enumerate(rows)
    ]


def evaluate(scale: str, tables: Measurements, macs: Mapping[str, float], primary: str | None = None) -> dict[str, Any]:
    """Every statistic and verdict: the content of ``findings.json``.

    Args:
        scale: whose models the tables are about.
        tables: all measurements.
        macs: cell -> multiply-accumulates per second of audio.
        primary: fingerprint of the corpus that decides; see :func:`corpora_of`.
    """
    cells = cells_of(scale)
    corpora = corpora_of(tables.scores, primary)
    settings = [
        (corpus, Setting(tables, corpus.fingerprint, corpus.protocol, {cell.name: cell for cell in cells}, macs))
        for corpus in corpora or [CorpusOfScores("", "", "", "primary")]
    ]
    parts = set(tables.scores["part_of"].unique())
    settings += [
        (corpus._replace(name=f"{corpus.name}, by speakers", role="replication"), replace(setting, by_speakers=True))
        for corpus, setting in settings
        if corpus.fingerprint and corpus.fingerprint in parts
    ]
    seeds = sorted(
        {
            seed
            for table in (tables.scores.filter(pl.col("cell") != ""), tables.probes)
            for seed in table["training_seed"].unique()
        }
    )
    return {
        "scale": scale,
        "design": {
            "cells": [_described(cell, tables) for cell in cells],
            "corpora": [corpus._asdict() for corpus in corpora],
            "seeds": seeds,
            "interval": INTERVAL_TEXT,
            "verdict_rules": VERDICT_RULES,
        },
        "findings": [_claim(claim, settings) for claim in findings()],
        "claims": [_claim(claim, settings) for claim in claims()],
    }


def _described(cell: Cell, tables: Measurements) -> dict[str, Any]:
    models = {
        name
        for table in (tables.scores, tables.probes)
        for name in table.filter((pl.col("cell") == cell.name) & (pl.col("control") == ""))["model"].unique()
    }
    return {
        "cell": cell.name,
        "label": cell.label,
        "encoder": cell.encoder,
        "auxiliary": cell.auxiliary,
        "downsampling": cell.downsampling,
        "resolutions_ms": list(cell.resolutions_ms),
        "layers": list(cell.layers),
        "models": sorted(models),
    }


def _claim(claim: Claim, settings: Sequence[tuple[CorpusOfScores, Setting]]) -> dict[str, Any]:
    decisive = [statement for statement in claim.statements if statement.decisive]
    corrected_level = 1 - (1 - LEVEL) / max(len(decisive), 1)
    statistics: list[dict[str, Any]] = []
    judged: list[tuple[str, Verdict | None, Verdict | None]] = []
    for statement in claim.statements:
        for corpus, setting in settings if statement.by_corpus else settings[:1]:
            statistic, verdict, corrected = _statistic(statement, corpus, setting, corrected_level)
            statistics.append(statistic)
            if statement.decisive and corpus.role == "primary":
                judged.append((statement.id, verdict, corrected))
    verdict, reason = finding_verdict(judged)
    missing = [s["reason"] for s in statistics if s["decisive"] and s["role"] == "primary" and s["estimate"] is None]
    if missing:
        first, *others = dict.fromkeys(missing)
        reason += f" ({first}{'; ...' if others else ''})"
    return {
        "id": claim.id,
        "claim": claim.claim,
        "source": claim.source,
        "verdict": verdict,
        "reason": reason,
        "statistics": statistics,
    }


def _statistic(
    statement: Statement, corpus: CorpusOfScores, setting: Setting, corrected_level: float
) -> tuple[dict[str, Any], Verdict | None, Verdict | None]:
    """A statistic on one corpus, its verdict, and its verdict at the corrected level."""
    described: dict[str, Any] = {
        "id": statement.id,
        "name": statement.name,
        "definition": statement.definition,
        "unit": statement.unit,
        "estimate": None,
        "low": None,
        "high": None,
        "level": LEVEL,
        "n_seeds": 0,
        "n_sample_sets": 0,
        "n_speakers": None,
        "lacks": [],
        "expected": statement.expected,
        "margin": statement.margin,
        "decisive": statement.decisive,
        "verdict": "not resolved",
        "reason": "",
        "corpus": corpus.name if statement.by_corpus and corpus.name else None,
        "role": corpus.role if statement.by_corpus else "primary",
        "published": statement.published,
        "published_source": statement.published_source,
        "values": [],
        "evidence": [],
    }
    try:
        grid = statement.measure(setting)
    except NotMeasured as missing:
        return described | {"reason": str(missing)}, None, None
    interval = crossed_interval(grid.values, grid.axes, level=LEVEL)
    verdict, reason = _judge(statement, interval, setting)
    corrected, _ = _judge(statement, interval.at(corrected_level), setting)
    described |= {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "n_seeds": interval.counts.get(SEEDS, 0),
        "n_sample_sets": interval.counts.get(SETS, interval.counts.get(PROBES, 0)),
        "n_speakers": interval.counts.get(SPEAKERS),
        "lacks": [] if statement.exact else list(interval.lacks),
        "verdict": verdict,
        "reason": reason,
        "values": _by_seed(grid),
        "evidence": list(grid.evidence),
    }
    return described, verdict, corrected


def _judge(statement: Statement, interval: Interval, setting: Setting) -> tuple[Verdict, str]:
    verdict, reason = statistic_verdict(interval, statement.expected, statement.margin)
    if statement.exact:
        return verdict, "exact: follows from the configurations"
    if statement.expected == "zero" and verdict == "supported" and statement.sensitivity is not None:
        assert statement.margin is not None
        try:
            learned = float(statement.sensitivity(setting).values.mean())
        except NotMeasured:
            return verdict, f"{reason}; not checked against random weights"
        if learned < statement.margin:
            return (
                "not resolved",
                f"{reason}, but training itself moves it by {learned:.3g} only: it cannot tell models apart",
            )
    return verdict, reason


def _by_seed(grid: Grid) -> list[dict[str, Any]]:
    others = tuple(range(1, grid.values.ndim))
    return (
        [
            {"seed": seed, "value": float(value)}
            for seed, value in zip(grid.seeds, np.atleast_1d(grid.values.mean(axis=others)), strict=True)
        ]
        if grid.seeds
        else []
    )
