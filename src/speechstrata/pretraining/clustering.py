"""The two passes over the audio that units need: rows for the k-means, then the unit of every frame.

The batches of a pass are planned once and shared out in parts. A part's result is a file, written atomically, so a
killed run loses the parts in flight; a part is computed by one thread with the same batches in whichever process, so
any number of workers gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.analysis.forward import plan_batches
from speechstrata.analysis.kmeans import KMeans
from speechstrata.errors import SpeechstrataError
from speechstrata.files import atomic_path
from speechstrata.pretraining.config import SAMPLE_RATE, TargetsConfig
from speechstrata.pretraining.features import FeatureSource, feature_source
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.units import unit_dtype
from speechstrata.progress import ProgressBar

#: Seconds of audio in a part: what a killed run may lose per worker.
_PART_SECONDS = 600.0

#: (utterances, row numbers of each that are wanted), for the sampling pass.
Rows = dict[int, NDArray[np.int64]]


@dataclass(frozen=True)
class Part:
    """Some batches of a pass.

    Attributes:
        path: of its result.
        batches: utterance indices of each batch.
        seconds: of audio.
        rows: utterance -> the frames wanted, in the sampling pass; None to assign units to all frames.
    """

    path: Path
    batches: tuple[NDArray[np.int64], ...]
    seconds: float
    rows: Rows | None = None


@dataclass(frozen=True)
class Problem:
    """An utterance that has no units, and why."""

    utterance: str
    reason: str


def plan_parts(
    speech: Speech, utterances: NDArray[np.int64], folder: Path, batch_seconds: float, rows: Rows | None = None
) -> list[Part]:
    """Share out ``utterances`` to parts; depends on the corpus and ``batch_seconds`` alone."""
    seconds = np.array([utterance.samples / SAMPLE_RATE for utterance in speech.utterances])
    parts: list[Part] = []
    batches: list[NDArray[np.int64]] = []
    held = 0.0

    def close() -> None:
        nonlocal batches, held
        chosen = None if rows is None else {int(u): rows[int(u)] for batch in batches for u in batch}
        parts.append(Part(folder / f"part-{len(parts):05d}.npz", tuple(batches), held, chosen))
        batches, held = [], 0.0

    for batch in plan_batches(seconds, utterances, batch_seconds):
        batches.append(batch)
        held += float(seconds[batch].sum())
        if held >= _PART_SECONDS:
            close()
    if batches:
        close()
    return parts


def run_parts(
    parts: Sequence[Part], speech: Speech, config: TargetsConfig, kmeans: KMeans | None, description: str
) -> Iterator[dict[str, NDArray[Any]]]:
    """Compute the parts that are not there yet; then give the results of all, in order."""
    missing = [part for part in parts if not is_zipfile(part.path)]  # not there, or cut short
    done = sum(part.seconds for part in parts) - sum(part.seconds for part in missing)
    with ProgressBar(description, total=sum(part.seconds for part in parts) or 1, unit="s") as bar:
        bar.advance(done)
        if config.workers <= 1 or len(missing) <= 1:
            with one_thread():
                worker = Worker(speech, config, kmeans) if missing else None
                for part in missing:
                    assert worker is not None
                    worker.run(part)
                    bar.advance(part.seconds)
        else:
            with ProcessPoolExecutor(
                min(config.workers, len(missing)),
                mp_context=get_context("spawn"),
                initializer=_start_worker,
                initargs=(speech, config, kmeans),
            ) as pool:
                futures: dict[Future[None], Part] = {pool.submit(_run_part, part): part for part in missing}
                for future in as_completed(futures):
                    try:
                        future.result()
                    except BrokenExecutor as error:
                        raise SpeechstrataError(
                            "a worker process died, perhaps for lack of memory",
                            "run the same command again with fewer --workers; it continues from here",
                        ) from error
                    bar.advance(futures[future].seconds)
    for part in parts:
        with np.load(part.path) as result:
            yield dict(result)


class Worker:
    """Computes parts; one in each process."""

    def __init__(self, speech: Speech, config: TargetsConfig, kmeans: KMeans | None) -> None:
        self.speech = speech
        self.source = feature_source(config)
        self.kmeans = kmeans

    def run(self, part: Part) -> None:
        """Compute a part and write its result: values, their utterances and counts, and the problems."""
        utterances: list[int] = []
        values: list[NDArray[Any]] = []
        problems: list[tuple[int, str]] = []
        for batch in part.batches:
            for utterance, features in self._features(batch, problems):
                utterances.append(utterance)
                values.append(self._reduce(utterance, features, part.rows))
        empty = np.empty((0, self.source.dim), np.float32) if self.kmeans is None else np.empty(0, np.uint8)
        with atomic_path(part.path) as partial:
            np.savez(
                partial,
                utterances=np.array(utterances, dtype=np.int64),
                counts=np.array([len(value) for value in values], dtype=np.int64),
                values=np.concatenate(values) if values else empty,
                failed=np.array([number for number, _ in problems], dtype=np.int64),
                reasons=np.array([reason for _, reason in problems], dtype=np.str_),
            )

    def _reduce(self, utterance: int, features: NDArray[np.float32], rows: Rows | None) -> NDArray[Any]:
        if rows is not None:
            wanted = rows[utterance]
            return features[wanted[wanted < len(features)]]
        assert self.kmeans is not None
        return self.kmeans.assign(features).astype(unit_dtype(len(self.kmeans.centroids)))

    def _features(
        self, batch: NDArray[np.int64], problems: list[tuple[int, str]]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The features of each utterance of a batch that can be used."""
        waves: dict[int, NDArray[np.float32]] = {}
        for utterance in batch.tolist():
            try:
                wave = self.speech.load(utterance, self.source.sample_rate)
            except SpeechstrataError as error:
                problems.append((utterance, error.message))
                continue
            if self.source.frames(len(wave)) < 1:
                problems.append((utterance, f"{len(wave)} samples are too few for one frame"))
                continue
            waves[utterance] = wave
        try:
            features = _compute(self.source, list(waves.values()))
        except SpeechstrataError:  # one of them cannot be used: find out which
            for utterance, wave in waves.items():
                try:
                    yield utterance, _compute(self.source, [wave])[0]
                except SpeechstrataError as error:
                    problems.append((utterance, error.message))
            return
        yield from zip(waves, features, strict=True)


def _compute(source: FeatureSource, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    if not waves:
        return []
    lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
    batch = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in enumerate(waves):
        batch[row, : len(wave)] = torch.from_numpy(wave)
    return source.features(batch, lengths)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and faiss use a single thread, so that sums are taken in one order."""
    import faiss

    threads, faiss_threads = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(faiss_threads)


_worker: Worker | None = None


def _start_worker(speech: Speech, config: TargetsConfig, kmeans: KMeans | None) -> None:
    import faiss

    global _worker
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    _worker = Worker(speech, config, kmeans)


def _run_part(part: Part) -> None:
    assert _worker is not None
    _worker.run(part)
