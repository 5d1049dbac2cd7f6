"""Write the states of chosen layers to disk, pooled over spans or frame by frame, for an analysis of one's own."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from speechstrata.analysis.blocks import PassLog, plan_blocks
from speechstrata.analysis.config import ComputeConfig, SpanRule
from speechstrata.analysis.forward import Batch
from speechstrata.analysis.model_pass import Consumer, Utterances, run_pass
from speechstrata.analysis.pooling import RowPlan, RowStore, SpanPooler, stored_bytes
from speechstrata.analysis.spans import Spans, collect_spans, whole_utterances
from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import atomic_path, fingerprint, read_json, write_json

#: What a row of the output is.
ExtractUnit = Literal["phone", "word", "utterance", "frame"]
#: "npy": one array per layer (or, for frames, one file per utterance); "parquet": one table with a vector column per
#: layer.
ExtractFormat = Literal["npy", "parquet"]


def extract(
    model: str,
    corpus: str,
    output: Path,
    *,
    unit: ExtractUnit = "word",
    layers: Sequence[str] = (),
    file_format: ExtractFormat = "npy",
    span: SpanRule = "published",
    compute: ComputeConfig | None = None,
) -> Path:
    """Run an encoder over a corpus once and write its states.

    Pooled units give ``<layer>.<unit>.npy`` (rows, dim), float32, with ``rows.parquet`` naming utterance, speaker,
    label, start and end (seconds) of each row; with ``file_format="parquet"`` the vectors are columns of that table.
    Frames give ``frames/<number>.npz`` per utterance, one array (frames, dim) per layer, and the table. A run that
    was stopped continues. Rows of utterances that could not be read are NaN (of frames, the file is null), and are
    counted at the end.

    Args:
        model: an encoder, as for ``load_encoder``.
        corpus: as for ``load_corpus``.
        output: the folder to write.
        unit: "phone" (the middle third, by the rule ``span``), "word", "utterance" (the mean of all frames; its files
            are named ``<layer>.sentence.npy``) or "frame".
        layers: names; all by default.
        file_format: "npy" or "parquet"; frames are always npz.
        span: which frames of a phone are averaged.
        compute: device, precision, batch size.

    Returns:
        ``output``.

    Raises:
        EncoderError: the model cannot be loaded, or has no such layer.
        CorpusError: the corpus cannot be read, or has no alignments of that unit.
        InputError: the folder cannot be written.
    """
    from speechstrata.corpora.corpus import load_corpus

    compute = compute or ComputeConfig()
    encoder = load_encoder(model, device=compute.device, dtype=compute.dtype)
    chosen = tuple(encoder.layer(name) for name in layers) if layers else encoder.layers
    loaded = load_corpus(corpus, lazy=True)
    utterances = Utterances.of_corpus(loaded)
    key = fingerprint([encoder.fingerprint, loaded.fingerprint, unit, span, [layer.name for layer in chosen]])
    everything = np.arange(len(utterances.ids))
    blocks = plan_blocks([], everything, utterances.seconds, block_seconds=600.0)
    names = [layer.name for layer in chosen]
    done = output / "extract.json"
    if done.exists() and read_json(done).get("key") == fingerprint([key, file_format]):
        print(f"{output} is already complete", file=sys.stderr)
        return output

    if unit == "frame":
        writer = _FrameWriter(output / "frames", encoder)
        consumers: list[Consumer] = [writer]
        flush, fresh = _nothing, not (output / "frames").is_dir()
        spans = whole_utterances(utterances.ids, utterances.speakers, utterances.seconds.tolist())
    else:
        spans = _spans(loaded, utterances, unit)
        if not len(spans):
            raise CorpusError(f"corpus {loaded.name} has no {unit} alignments", "make them with `speechstrata align`")
        count = len(spans)
        size = stored_bytes(chosen, {spans.unit: count}) / 1e6
        print(f"{count:,} rows of {len(chosen)} layers: {size:,.0f} MB", file=sys.stderr)
        store = RowStore(output, chosen, {spans.unit: count})
        plan = RowPlan(spans, np.arange(count))
        consumers = [SpanPooler({spans.unit: plan}, store, encoder.sample_rate, span)]
        flush, fresh = store.flush, store.fresh

    log = PassLog(output / "pass.json", key, blocks, fresh=fresh)
    if unit != "frame" and not log.done:
        store.clear()
    run_pass(
        encoder,
        utterances,
        blocks,
        names,
        lambda _: consumers,
        log,
        batch_seconds=compute.batch_seconds,
        flush=flush,
        on_block=lambda _: None,
    )
    _write_tables(output, spans, names, unit, file_format, log.unread)
    write_json(
        done,
        {
            "key": fingerprint([key, file_format]),
            "model": encoder.name,
            "model_fingerprint": encoder.fingerprint,
            "corpus": loaded.name,
            "corpus_fingerprint": loaded.fingerprint,
            "unit": unit,
            "span": span,
            "dtype": compute.dtype,
            "layers": {
                layer.name: {"dim": layer.dim, "stride_seconds": float(layer.stride) / encoder.sample_rate}
                for layer in chosen
            },
            "unread": log.unread,
        },
    )
    if log.unread:
        print(f"{len(log.unread)} utterances could not be used: see {output / 'extract.json'}", file=sys.stderr)
    return output


def _nothing() -> None:
    """Frames are written as they come."""


def _spans(corpus: Any, utterances: Utterances, unit: ExtractUnit) -> Spans:
    if unit == "utterance":
        return whole_utterances(utterances.ids, utterances.speakers, utterances.seconds.tolist())
    if unit == "phone":
        return collect_spans(corpus.cuts, "phone")
    return collect_spans(corpus.cuts, "word")


class _FrameWriter:
    """Writes the frames of each utterance to a file of its own when its batch is complete."""

    def __init__(self, folder: Path, encoder: SpeechEncoder) -> None:
        self._folder = folder
        self._encoder = encoder
        self._batch: Batch | None = None
        self._states: list[dict[str, Any]] = []

    def begin(self, batch: Batch) -> None:
        self._batch = batch
        self._states = [{} for _ in batch.utterances]

    def visit(self, layer: Layer, output: HiddenStates) -> None:
        states = output.states.float().cpu().numpy()
        for row, frames in enumerate(output.lengths.tolist()):
            self._states[row][layer.name] = states[row, :frames].copy()

    def end(self) -> None:
        assert self._batch is not None
        for number, states in zip(self._batch.utterances.tolist(), self._states, strict=True):
            with atomic_path(self._folder / f"{number:06d}.npz") as partial:
                np.savez(partial, **states)


def _write_tables(
    output: Path,
    spans: Spans,
    layers: Sequence[str],
    unit: ExtractUnit,
    file_format: ExtractFormat,
    unread: Mapping[str, str],
) -> None:
    import polars

    columns: dict[str, Any] = {
        "utterance": [spans.utterance_ids[number] for number in spans.utterance],
        "speaker": [spans.speakers[number] for number in spans.utterance],
        "start": spans.start,
        "end": spans.end,
    }
    if unit == "frame":
        columns["file"] = [
            None if spans.utterance_ids[number] in unread else f"frames/{number:06d}.npz" for number in spans.utterance
        ]
    elif unit != "utterance":
        columns["label"] = [spans.labels[label] for label in spans.label]
    if file_format == "parquet" and unit != "frame":
        for name in layers:
            rows = np.load(output / f"{name}.{spans.unit}.npy", mmap_mode="r")
            columns[name] = polars.Series(name, np.asarray(rows), dtype=polars.Array(polars.Float32, rows.shape[1]))
    try:
        with atomic_path(output / "rows.parquet") as partial:
            polars.DataFrame(columns).write_parquet(partial)
    except OSError as error:
        raise InputError(f"cannot write {output / 'rows.parquet'}: {error}", "free some space") from error
    if file_format == "parquet" and unit != "frame":
        for name in layers:
            (output / f"{name}.{spans.unit}.npy").unlink()
