"""Frame-level scores: statistics of every layer's frames against the spectrum and against another layer's frames."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.analysis.cca import cross_validated_pwcca_from_moments
from speechstrata.analysis.cka import linear_cka, permuted_cka
from speechstrata.analysis.config import AnalysisConfig
from speechstrata.analysis.fbank import (
    SAMPLE_RATE,
    VIEW_DIM,
    acoustic_view,
    average_to_hop,
    matching_frames,
)
from speechstrata.analysis.forward import Batch
from speechstrata.analysis.moments import Moments
from speechstrata.analysis.parted_moments import PartedMoments
from speechstrata.analysis.sampling import frame_parts
from speechstrata.analysis.scoring import LayerScore, Task, one_core_per_thread
from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder
from speechstrata.encoders.fbank import HOP
from speechstrata.errors import TooFewSamplesError
from speechstrata.seeds import derived_seed

N_PARTS = 10
#: Rows of a layer that wait before they are added to its statistics.
_BUFFER_ROWS = 16384


@dataclass(frozen=True)
class _Clock:
    """The rate at which a layer's frames enter the statistics: every layer of one clock has the same rows.

    Attributes:
        stride: samples at 16 kHz from one row to the next.
        averaged: frames of 10 ms or finer, averaged to one every 10 ms.
    """

    stride: Fraction
    averaged: bool


def _clock(layer: Layer, sample_rate: int) -> _Clock:
    stride = Fraction(layer.stride) * SAMPLE_RATE / sample_rate
    averaged = stride <= HOP and layer.kind != "fbank"
    return _Clock(Fraction(HOP) if averaged else stride, averaged)


class FrameStatistics:
    """Second-order statistics of one encoder's frames, for one sample set at a time.

    What is kept does not grow with the audio: for every layer and each of ten parts, one matrix of its own
    products and one against each view. Layers finer than 10 ms are averaged to 10 ms; coarser ones are paired
    with the view's frame nearest in index, at their own rate.

    Args:
        encoder: whose frames they are.
        layers: of it.
        config: the frame view, the layer of cca-intra, the seed.
        utterance_ids: of the corpus; they seed the parts.
    """

    def __init__(
        self, encoder: SpeechEncoder, layers: Sequence[Layer], config: AnalysisConfig, utterance_ids: Sequence[str]
    ) -> None:
        self._encoder = encoder
        self._config = config
        self._ids = utterance_ids
        self._layers = {layer.name: layer for layer in layers}
        self._reference = _intra_layer(encoder.layers, config) if "cca-intra" in config.scores else None
        needed = {layer.name: layer for layer in (*layers, *filter(None, [self._reference]))}
        self._clocks = {name: _clock(layer, encoder.sample_rate) for name, layer in needed.items()}
        self._views: dict[str, int] = {}
        if {"cca-mel", "cka-mel"} & set(config.scores):
            self._views[config.frame_view] = VIEW_DIM[config.frame_view]
        if self._reference is not None:
            self._views["intra"] = self._reference.dim
        self._set = -1
        self.clear()

    @property
    def needs(self) -> frozenset[str]:
        """Names of the layers that must be visited: those scored, and the one that cca-intra compares with."""
        return frozenset(self._clocks)

    def clear(self) -> None:
        """Let go of the statistics."""
        self._of_layer: dict[str, PartedMoments] = {}
        self._of_view: dict[tuple[_Clock, str], PartedMoments] = {}
        self._bad: dict[str, int] = {}
        self._bad_reference = 0
        self._batch: Batch | None = None
        self._states: dict[str, list[NDArray[np.float32]]] = {}

    def start(self, sample_set: int) -> None:
        """Begin the statistics of a sample set."""
        self.clear()
        self._set = sample_set
        # They never add rows by themselves: ``_flush`` does, for all layers at once.
        for name, layer in self._layers.items():
            self._of_layer[name] = PartedMoments(layer.dim, self._views, n_parts=N_PARTS, buffer_rows=sys.maxsize)
        for clock in set(self._clocks.values()):
            for view, dim in self._views.items():
                self._of_view[clock, view] = PartedMoments(dim, n_parts=N_PARTS, buffer_rows=sys.maxsize)

    def begin(self, batch: Batch) -> None:
        """A batch comes next."""
        self._batch = batch
        self._states = {}

    def visit(self, layer: Layer, output: HiddenStates) -> None:
        """Keep a layer's frames, at most one every 10 ms, until the batch ends."""
        clock = self._clocks[layer.name]
        lengths = output.lengths.tolist()
        stride = Fraction(layer.stride) * SAMPLE_RATE / self._encoder.sample_rate
        states = output.states.to(torch.float32).cpu()
        kept = []
        for row, frames in enumerate(lengths):
            own = states[row, :frames].numpy()
            # A copy, where nothing is averaged: the encoder may write to its output after this.
            kept.append(average_to_hop(own, stride) if clock.averaged else own.copy())
        self._states[layer.name] = kept

    def end(self) -> None:
        """Add the batch to the statistics."""
        if self._batch is None:
            return
        clocks: dict[_Clock, list[str]] = {}
        for name, clock in self._clocks.items():
            clocks.setdefault(clock, []).append(name)
        gathered: dict[_Clock, list[tuple[int, int, NDArray[np.intp], NDArray[np.intp]]]] = {c: [] for c in clocks}
        views: dict[_Clock, list[NDArray[np.float32]]] = {clock: [] for clock in clocks}
        for row, (number, samples) in enumerate(
            zip(self._batch.utterances.tolist(), self._batch.lengths.tolist(), strict=True)
        ):
            spectrum = self._spectrum(row, samples)
            parts = frame_parts(len(spectrum), N_PARTS, self._config.seed, self._set, self._ids[number])
            for clock, names in clocks.items():
                frames = min(len(self._states[name][row]) for name in names)
                pairs = matching_frames(frames, clock.stride, len(spectrum))
                gathered[clock].append((row, frames, pairs.layer, parts[pairs.view].astype(np.intp)))
                views[clock].append(spectrum[pairs.view])
        for clock, names in clocks.items():
            self._add(clock, names, gathered[clock], views[clock])
        self._batch = None
        self._states = {}
        self._flush(_BUFFER_ROWS)

    def _flush(self, least: int) -> None:
        """Add the rows that wait to the statistics of which at least so many wait, a layer a thread."""
        full = [each for each in (*self._of_layer.values(), *self._of_view.values()) if each.waiting >= least]
        if full:
            with one_core_per_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
                for _ in pool.map(PartedMoments.flush, full):
                    pass

    def _spectrum(self, row: int, samples: int) -> NDArray[np.float32]:
        assert self._batch is not None
        waveform = self._batch.waveforms[row, :samples].numpy()
        if self._encoder.sample_rate != SAMPLE_RATE:
            import soxr

            waveform = soxr.resample(waveform, self._encoder.sample_rate, SAMPLE_RATE)
        return acoustic_view(waveform, self._config.frame_view)

    def _add(
        self,
        clock: _Clock,
        names: Sequence[str],
        gathered: Sequence[tuple[int, int, NDArray[np.intp], NDArray[np.intp]]],
        spectra: Sequence[NDArray[np.float32]],
    ) -> None:
        parts = np.concatenate([part for _, _, _, part in gathered])
        others: dict[str, NDArray[np.float32]] = {}
        if self._config.frame_view in self._views:
            others[self._config.frame_view] = np.concatenate(spectra)
        if self._reference is not None:
            rows = [
                self._states[self._reference.name][row][self._nearest(clock, frames, row)]
                for row, _, frames, _ in gathered
            ]
            reference = np.concatenate(rows)
            finite = np.asarray(np.isfinite(reference).all(axis=1))
            self._bad_reference += int((~finite).sum())
            others["intra"] = np.where(finite[:, None], reference, 0)
        for view, values in others.items():
            self._of_view[clock, view].update(values, parts)
        for name in self._layers.keys() & set(names):
            states = np.concatenate([self._states[name][row][frames] for row, _, frames, _ in gathered])
            finite = np.isfinite(states).all(axis=1)
            if not finite.all():
                self._bad[name] = self._bad.get(name, 0) + int((~finite).sum())
                states = np.where(finite[:, None], states, 0)
            self._of_layer[name].update(states, parts, others)

    def _nearest(self, clock: _Clock, frames: NDArray[np.intp], row: int) -> NDArray[np.intp]:
        """The frame of the reference layer that is nearest to each of these frames of another clock."""
        assert self._reference is not None
        available = len(self._states[self._reference.name][row])
        own = self._clocks[self._reference.name]
        if own == clock:
            return np.minimum(frames, available - 1)
        times = frames * float(clock.stride / own.stride)
        nearest = np.floor(times + 0.5).astype(np.intp)
        return np.asarray(np.minimum(nearest, available - 1))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The statistics as named arrays, for ``numpy.savez``."""
        state = {
            f"{prefix}|{name}": array
            for prefix, statistics in self._named()
            for name, array in statistics.state_dict().items()
        }
        state["bad reference"] = np.array(self._bad_reference)
        return state | {f"bad|{name}": np.array(count) for name, count in self._bad.items()}

    def absorb(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add the frames whose ``state_dict`` this is: the same as if they had been visited here."""
        for prefix, statistics in self._named():
            start = f"{prefix}|"
            statistics.absorb({name.removeprefix(start): state[name] for name in state if name.startswith(start)})
        self._bad_reference += int(state["bad reference"])
        for name in state:
            kind, _, layer = name.partition("|")
            if kind == "bad":
                self._bad[layer] = self._bad.get(layer, 0) + int(state[name])

    def _named(self) -> Iterator[tuple[str, PartedMoments]]:
        for layer, statistics in self._of_layer.items():
            yield f"layer|{layer}", statistics
        for (clock, view), statistics in self._of_view.items():
            yield f"view|{view} every {clock.stride}{' averaged' if clock.averaged else ''}", statistics

    def complete(self) -> None:
        """The sample set is whole: from here on the statistics are only read, by any number of threads."""
        self._flush(1)

    def tasks(self, sample_set: int) -> list[Task]:
        """The scores of that sample set, to be computed while its statistics are there."""
        tasks = []
        for name in self._layers:
            for score in ("cca-mel", "cka-mel"):
                if score in self._config.scores:
                    tasks.append(self._task(name, score, self._config.frame_view, sample_set))
            if self._reference is not None:
                tasks.append(self._task(name, "cca-intra", "intra", sample_set))
        return tasks

    def _task(self, layer: str, score: str, view: str, sample_set: int) -> Task:
        reference = view if score != "cca-intra" else (self._reference.name if self._reference else "")

        def compute() -> list[LayerScore]:
            if sample_set != self._set:
                raise AssertionError("the statistics are those of another sample set")
            if layer in self._bad:
                raise TooFewSamplesError(f"{self._bad[layer]} frames are not finite", "look at the model")
            if score == "cca-intra" and self._bad_reference:
                raise TooFewSamplesError(f"frames of {reference} are not finite", "look at the model, or --intra_layer")
            parts = self._of_layer[layer].moments(view, self._of_view[self._clocks[layer], view])
            if score == "cka-mel":
                whole = Moments.merge(parts)
                baseline = permuted_cka(whole) if self._config.controls else None
                value = linear_cka(whole)
                return [LayerScore(score, "frame", "", reference, sample_set, value, whole.n, baseline=baseline)]
            result = cross_validated_pwcca_from_moments(
                parts,
                seed=derived_seed(self._config.seed, "trials", "frame", sample_set),
                null_direction=self._config.null_direction,
            )
            return [
                LayerScore(
                    score,
                    "frame",
                    "",
                    reference,
                    sample_set,
                    value=result.score,
                    n=result.n,
                    warning=result.warning or "",
                )
            ]

        return Task(layer, score, sample_set, compute, (reference,))


def _intra_layer(layers: Sequence[Layer], config: AnalysisConfig) -> Layer | None:
    """The layer that cca-intra compares with: the one named, else the first Transformer layer's input."""
    name = config.intra_layer or "T0"
    return next((layer for layer in layers if layer.name == name), None)
