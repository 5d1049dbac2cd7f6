"""Acoustic units for a corpus: ``speechstrata targets``.

Features of a bounded random sample of frames -> k-means -> the nearest centroid of every frame. Memory holds that
sample, never the features of the corpus.
"""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from speechstrata import __version__
from speechstrata.analysis.kmeans import KMeans, fit_kmeans
from speechstrata.errors import CorpusError, InputError, TooFewSamplesError
from speechstrata.files import LOCK_FILE, atomic_path, fingerprint, hold, read_json, write_json
from speechstrata.pretraining.clustering import Part, Problem, Rows, plan_parts, run_parts
from speechstrata.pretraining.config import SAMPLE_RATE, TargetsConfig
from speechstrata.pretraining.features import FeatureSource, feature_source
from speechstrata.pretraining.quality import as_row, measure_units
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.units import INDEX_FILE, UnitStore, write_units
from speechstrata.seeds import derived_seed, generator
from speechstrata.sharding import Shard

#: Settings that cannot change a unit.
_FREE = ("workers", "device")
RECORD_FILE, CENTROIDS_FILE = "targets.json", "kmeans.npz"


def make_targets(corpus: str, output: Path | str, config: TargetsConfig | None = None) -> Path:
    """Make the units of a corpus: what ``speechstrata targets`` does.

    A killed run continues where it stopped; a finished one with the same settings is left as it is.

    Args:
        corpus: a prepared corpus, as for ``load_corpus``.
        output: folder of the units: ``units.npy`` and ``index.json`` (see :class:`UnitStore`), ``kmeans.npz`` (the
            centroids), and ``targets.json``: settings, fingerprints, quality figures, problems.
        config: how; see :class:`TargetsConfig`.

    Returns:
        ``output``.

    Raises:
        CorpusError: the corpus cannot be used.
        EncoderError: the encoder or its layer cannot be found.
        TooFewSamplesError: fewer frames than clusters.
        InputError: ``output`` holds units made otherwise.
    """
    from speechstrata.corpora.corpus import load_corpus

    return cluster_cuts(load_corpus(corpus, lazy=True).cuts, output, config or TargetsConfig())


def cluster_cuts(cuts: Iterable[Any], output: Path | str, config: TargetsConfig) -> Path:
    """:func:`make_targets` for lhotse cuts, which are gone through twice and not held."""
    output = Path(output)
    speech, source = Speech.of_cuts(cuts), feature_source(config)
    made_from = _made_from(speech, source, config)
    with hold(output / LOCK_FILE):
        if not _finished(output, fingerprint(made_from)):
            _make(cuts, speech, source, config, output, made_from)
    return output


def share_targets(cuts: Iterable[Any], output: Path | str, config: TargetsConfig, shard: Shard) -> str:
    """One share of :func:`cluster_cuts`; shards may run on any machines that share the folder.

    A shard draws its share of the sample; shard 0 fits the k-means when all have; then each gives its share of the
    frames their units. Shards that run together (torchrun) wait for each other and finish the work; others do what
    can be done, and are run again.

    Returns:
        What is to be done next; "" when the units are there.

    Raises:
        As :func:`make_targets`.
    """
    output = Path(output)
    speech, source = Speech.of_cuts(cuts), feature_source(config)
    made_from = _made_from(speech, source, config)
    key = fingerprint(made_from)
    work = output / f"work-{key}"
    with hold(output / LOCK_FILE, shared=True), hold(work / f".lock-{shard.index}-of-{shard.count}"):
        if _finished(output, key):
            return ""
        drawn = _sample_parts(speech, source, config, work / "sample")
        centroids = work / CENTROIDS_FILE
        if not is_zipfile(centroids):
            for _ in run_parts(shard.of(drawn), speech, config, None, "drawing frames"):
                pass  # a part is kept in its file
            shard.meet()
            missing = sum(not is_zipfile(part.path) for part in drawn)
            if shard.index == 0 and not missing:
                _fit(_sample(speech, source, config, work / "sample")[0], config, centroids)
            shard.meet()
            if not is_zipfile(centroids):
                return (
                    f"{missing} of {len(drawn)} parts of the sample are missing: run the other shards, then 0 again"
                    if missing
                    else "the sample is complete: run shard 0 again, which fits the k-means, then the others"
                )
        kmeans = read_kmeans(work)
        parts = _unit_parts(speech, config, work / "units")
        for _ in run_parts(shard.of(parts), speech, config, kmeans, "assigning units"):
            pass
    shard.meet()
    if not shard.together:
        missing = sum(not is_zipfile(part.path) for part in parts)
        return f"{missing} of {len(parts)} parts are missing" if missing else "run the same command without --shard"
    if shard.index == 0:
        cluster_cuts(cuts, output, config)
    shard.meet()
    return ""


def _made_from(speech: Speech, source: FeatureSource, config: TargetsConfig) -> dict[str, Any]:
    """All that the units depend on."""
    settings = {name: value for name, value in asdict(config).items() if name not in _FREE}
    return {"corpus": speech.fingerprint, "source": source.description, "settings": settings}


def _make(
    cuts: Iterable[Any],
    speech: Speech,
    source: FeatureSource,
    config: TargetsConfig,
    output: Path,
    made_from: dict[str, Any],
) -> None:
    key = fingerprint(made_from)
    work = output / f"work-{key}"
    sample, problems = _sample(speech, source, config, work / "sample")
    kmeans = _fit(sample, config, work / CENTROIDS_FILE)
    problems = _assign(speech, source, config, kmeans, output, work / "units")
    with atomic_path(output / CENTROIDS_FILE) as partial:
        np.savez(partial, centroids=kmeans.centroids)
    store = UnitStore.open(output)
    if len(store) == 0:
        reason = problems[0].reason if problems else "no utterance is long enough"
        raise CorpusError(f"no utterance of the corpus could be used: {reason}", "check the audio files")
    record = {
        "key": key,
        "made_from": made_from,
        "version": __version__,
        "sampled_frames": len(sample),
        "units": {"utterances": len(store), "rate": store.rate, "fingerprint": store.fingerprint},
        "quality": as_row(measure_units(store, cuts)),
        "problems": [asdict(problem) for problem in problems],
    }
    write_json(output / RECORD_FILE, record)  # last: it says that all is there
    for folder in output.glob("work-*"):
        shutil.rmtree(folder)


def read_kmeans(folder: Path | str) -> KMeans:
    """The centroids of a folder of units, to give other audio the same units.

    Raises:
        InputError: there are none.
    """
    path = Path(folder) / CENTROIDS_FILE
    try:
        with np.load(path) as file:
            return KMeans(np.ascontiguousarray(file["centroids"], dtype=np.float32))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read centroids from {path}: {error}", "make the units again") from error


def _finished(output: Path, key: str) -> bool:
    """Whether ``output`` already holds these units."""
    if not (output / RECORD_FILE).exists():
        if (output / INDEX_FILE).exists() and not any(output.glob("work-*")):
            raise InputError(f"{output} holds units that were not made here", "choose another folder")
        return False
    if read_json(output / RECORD_FILE).get("key") == key:
        return True
    raise InputError(
        f"{output} holds units of another corpus, encoder or settings (see its {RECORD_FILE})",
        "choose another folder, or remove this one",
    )


def _sample(
    speech: Speech, source: FeatureSource, config: TargetsConfig, work: Path
) -> tuple[NDArray[np.float32], list[Problem]]:
    """Rows for the k-means: (rows, dim)."""
    parts = _sample_parts(speech, source, config, work)
    results = list(run_parts(parts, speech, config, None, "drawing frames"))
    sample = np.concatenate([result["values"] for result in results] or [np.empty((0, source.dim), np.float32)])
    return sample, _problems(speech, results)


def _sample_parts(speech: Speech, source: FeatureSource, config: TargetsConfig, work: Path) -> list[Part]:
    rows = sample_rows(speech, source, config)
    return plan_parts(speech, np.array(sorted(rows), dtype=np.int64), work, config.batch_seconds, rows)


def _unit_parts(speech: Speech, config: TargetsConfig, work: Path) -> list[Part]:
    return plan_parts(speech, np.arange(len(speech.utterances)), work, config.batch_seconds)


def sample_rows(speech: Speech, source: FeatureSource, config: TargetsConfig) -> Rows:
    """Which frames of which utterances the k-means is fitted on.

    Utterances of training speakers come in random order until they have ``spread x sample_frames`` frames; of these,
    ``sample_frames`` are drawn without replacement, each as likely as the other.

    Raises:
        TooFewSamplesError: there are fewer frames than clusters.
    """
    split = speech.split(validation_share=config.validation_share, test_share=config.test_share, seed=config.split_seed)
    frames = np.array([source.frames(_samples_at(u.samples, source.sample_rate)) for u in speech.utterances])
    chosen: list[int] = []
    total = 0
    for index in generator(config.seed, "sample", "utterances").permutation(len(speech.utterances)).tolist():
        if total >= config.spread * config.sample_frames:
            break
        if frames[index] > 0 and speech.speakers[index] in split.train:
            chosen.append(index)
            total += int(frames[index])
    if total < config.clusters:
        raise TooFewSamplesError(
            f"the corpus has {total} frames of training speakers for {config.clusters} clusters",
            "use more audio or fewer clusters",
        )
    wanted = min(config.sample_frames, total)
    drawn = np.sort(generator(config.seed, "sample", "frames").choice(total, wanted, replace=False))
    ends = np.cumsum(frames[chosen])
    owner = np.searchsorted(ends, drawn, side="right")
    first = ends - frames[chosen]
    bounds = np.searchsorted(owner, np.arange(len(chosen) + 1))
    return {
        index: drawn[bounds[n] : bounds[n + 1]] - first[n]
        for n, index in enumerate(chosen)
        if bounds[n] < bounds[n + 1]
    }


def _samples_at(samples: int, sample_rate: int) -> int:
    return samples if sample_rate == SAMPLE_RATE else samples * sample_rate // SAMPLE_RATE


def _fit(sample: NDArray[np.float32], config: TargetsConfig, path: Path) -> KMeans:
    """The k-means, fitted once and kept for a run that continues."""
    if not is_zipfile(path):  # not there, or cut short
        seed = derived_seed(config.seed, "kmeans")
        fitted = fit_kmeans(sample, config.clusters, seed=seed, iterations=config.iterations, n_init=config.restarts)
        with atomic_path(path) as partial:
            np.savez(partial, centroids=fitted.centroids)
    return read_kmeans(path.parent)


def _assign(
    speech: Speech, source: FeatureSource, config: TargetsConfig, kmeans: KMeans, output: Path, work: Path
) -> list[Problem]:
    """Give every frame its unit, and write the units in the corpus' order."""
    parts = _unit_parts(speech, config, work)
    results = list(run_parts(parts, speech, config, kmeans, "assigning units"))
    units: dict[int, NDArray[Any]] = {}
    for result in results:
        streams = np.split(result["values"], np.cumsum(result["counts"])[:-1])
        units |= dict(zip(result["utterances"].tolist(), streams, strict=True))
    order = sorted(units)
    write_units(
        output,
        [speech.utterances[index].id for index in order],
        [units[index] for index in order],
        classes=config.clusters,
        stride=source.stride,
        offset=source.offset,
    )
    return _problems(speech, results)


def _problems(speech: Speech, results: Iterable[dict[str, NDArray[Any]]]) -> list[Problem]:
    return [
        Problem(speech.utterances[int(index)].id, str(reason))
        for result in results
        for index, reason in zip(result["failed"], result["reasons"], strict=True)
    ]
