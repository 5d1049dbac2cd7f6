"""The main job: a corpus and some encoders in, a run folder with every layer's scores out."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from speechstrata.analysis.blocks import Block, plan_blocks
from speechstrata.analysis.config import FRAME_SCORES, AnalysisConfig, ComputeConfig, Inputs, check_options
from speechstrata.analysis.frames import FrameStatistics
from speechstrata.analysis.further_scoring import further_tasks
from speechstrata.analysis.material import Material, prepare_material
from speechstrata.analysis.model_names import inter_parts, is_front_end, wanted_models
from speechstrata.analysis.passes import Pass, Passes
from speechstrata.analysis.pooling import RowPlan, RowStore, stored_bytes
from speechstrata.analysis.provenance import AnalysedModel, describe_run, layer_depths, milliseconds
from speechstrata.analysis.run_folder import Problem, RunFolder, ScoreRow, read_config
from speechstrata.analysis.scoring import LayerScore, Task, inter_tasks, run_tasks, sentence_tasks, unit_tasks
from speechstrata.analysis.shards import find_shards, shard_folder
from speechstrata.analysis.spans import Unit, whole_utterances
from speechstrata.encoders.base import Layer
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError, SpeechstrataError
from speechstrata.files import LOCK_FILE, fingerprint, hold
from speechstrata.sharding import Shard, parse_shard

#: Part of every journal key: raise it when a change of the code changes scores, so that old ones are not served.
SCORES_VERSION = 1


def analyze(
    inputs: Inputs,
    config: AnalysisConfig | None = None,
    compute: ComputeConfig | None = None,
    output: Path | None = None,
    *,
    strict: bool = False,
) -> Path:
    """Score every layer of some encoders on a corpus.

    One forward pass per encoder and utterance serves all layers, scores and sample sets. Finished scores are
    kept as they are made: the same command continues a run that was stopped, and serves what is already there.

    Args:
        inputs: encoders, corpus and what they are compared with.
        config: what is computed.
        compute: how.
        output: the run folder; by default ``runs/<corpus>-<fingerprint of inputs and config>``.
        strict: raise at the first utterance, score or model that cannot be used, instead of reporting it.

    Returns:
        The run folder; ``docs/report.md`` describes its files.

    Raises:
        InputError: an option cannot be followed, the folder cannot be written, or no score at all could be computed.
        CorpusError: the corpus cannot be found or read.
        EncoderError: none of the encoders can be loaded.
    """
    config, compute = config or AnalysisConfig(), compute or ComputeConfig()
    check_options(inputs, config, compute)
    described = {"inputs": asdict(inputs), "analysis": asdict(config), "compute": asdict(compute)}
    if output is None:
        digest = fingerprint([described["inputs"], described["analysis"]])
        output = Path("runs") / f"{Path(inputs.corpus).stem}-{digest[:8]}"
    shard = parse_shard(compute.shard)
    if shard is None:
        _notice_changes(output, described)
        with hold(output / LOCK_FILE):
            return _analyze(output, inputs, config, compute, described, strict)
    mine = replace(compute, device=shard.device(compute.device))
    with hold(output / LOCK_FILE, shared=True), hold(shard_folder(output, shard) / LOCK_FILE):
        folder = _analyze(shard_folder(output, shard), inputs, config, mine, described, strict, shard)
    shard.meet()
    if shard.index or not shard.together:
        return folder
    return analyze(inputs, config, replace(mine, shard=""), output, strict=strict)


def _analyze(
    folder: Path,
    inputs: Inputs,
    config: AnalysisConfig,
    compute: ComputeConfig,
    described: dict[str, Any],
    strict: bool,
    shard: Shard | None = None,
) -> Path:
    run = RunFolder(folder, strict=strict)
    try:
        return _Analysis(run, inputs, config, compute, shard).run(described)
    finally:
        run.write_problems()
        run.close()


def _row_store(cache: Path, layers: tuple[Layer, ...], plans: Mapping[Unit, RowPlan]) -> RowStore:
    """A store with a row for every row of the plans."""
    return RowStore(cache, layers, {unit: len(plan.spans_of_rows) for unit, plan in plans.items()})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _notice_changes(output: Path, described: dict[str, Any]) -> None:
    """Say which options differ from those of the run that was in this folder before."""
    before = read_config(output)
    if before is None:
        return
    for part in ("inputs", "analysis"):
        for name, value in described[part].items():
            now = list(value) if isinstance(value, tuple) else value
            if before.get(part, {}).get(name) != now:
                _say(f"changed since the last run in {output}: {name} was {before.get(part, {}).get(name)}, is {now}")


class _Analysis:
    """One run: what its stages share."""

    def __init__(
        self, run: RunFolder, inputs: Inputs, config: AnalysisConfig, compute: ComputeConfig, shard: Shard | None
    ) -> None:
        self.run_folder = run
        self.shard = shard
        self.passes = Passes(run, config, compute, shard, find_shards(run.path) if shard is None else [])
        self.inputs = inputs
        self.config = config
        self.compute = compute
        self.served = 0
        self.material: Material
        self.splits: str
        self.blocks: list[Block]
        self.rows: Mapping[Unit, RowPlan]

    def run(self, described: dict[str, Any]) -> Path:
        self.material = prepare_material(self.inputs, self.config, self.run_folder)
        self.splits = fingerprint(list(self.material.utterances.splits))
        _say(self.material.statement)
        used = [plan.utterances() for plan in self.material.plans.values()]
        pooled = np.unique(np.concatenate([*used, np.zeros(0, np.int64)]))
        speech = self.material.utterances
        self.blocks = plan_blocks(self.material.frame_sets, pooled, speech.seconds)
        self.rows = self.passes.own_rows(self.material.plans, self.blocks, speech)
        models = [model for each in wanted_models(self.inputs) if (model := self.load(*each)) is not None]
        if not any(model.role == "encoder" for model in models):
            reasons = "; ".join(f"{p.where}: {p.reason}" for p in self.run_folder.problems if p.what == "model")
            raise EncoderError(f"no encoder could be loaded ({reasons})", "check the names")
        for model in models:
            self.score(model)
        if self.shard is not None:
            return self.run_folder.path
        self.compare(models)
        keys = [key for model in models for key in model.keys]
        self.run_folder.write_results(keys, described, describe_run(models, self.material, self.config.seed))
        for folder in ("cache", "shards"):
            shutil.rmtree(self.run_folder.path / folder, ignore_errors=True)
        if self.served:
            _say(f"{self.served} of {len(keys)} results were already there")
        if self.run_folder.problems:
            _say(f"{len(self.run_folder.problems)} things were left out: see {self.run_folder.path / 'problems.jsonl'}")
        return self.run_folder.path

    def load(self, source: str, role: str, control_of: str | None) -> AnalysedModel | None:
        """An encoder of the run, or ``None`` with the reason among the problems."""
        encoder = self.run_folder.attempt(
            "model",
            source,
            lambda: load_encoder(
                source,
                device=self.compute.device,
                dtype=self.compute.dtype,
                control="random" if control_of is not None else None,
                seed=self.config.seed,
            ),
        )
        if encoder is None:
            return None
        layers = encoder.layers
        if self.config.layers and not is_front_end(source):
            layers = tuple(layer for layer in layers if layer.name in self.config.layers)
            missing = sorted(set(self.config.layers) - {layer.name for layer in layers})
            if missing:
                names = ", ".join(layer.name for layer in encoder.layers)
                reason = f"it has no layer {', '.join(missing)}"
                self.run_folder.failed("layers", source, EncoderError(reason, f"its layers are: {names}"))
            if not layers:
                return None
        cache = self.run_folder.path / "cache" / fingerprint([encoder.name, encoder.fingerprint, self.config.layers])
        return AnalysedModel(source, role, control_of, encoder, layers, _row_store(cache, layers, self.rows), cache)

    # Keys and tasks

    def key(self, model: AnalysedModel, task: Task) -> str:
        """A fingerprint of everything that a task's values depend on."""
        config = asdict(self.config)
        relevant = {name: config[name] for name in ("seed", "span", "null_direction", "controls", "min_span_seconds")}
        frame_level = task.score in FRAME_SCORES
        return fingerprint(
            [
                SCORES_VERSION,
                model.encoder.name,
                model.encoder.fingerprint,
                self.compute.dtype,
                self.material.corpus.fingerprint,
                self.material.sts.fingerprint if self.material.sts and task.score == "spoken-sts" else None,
                asdict(self.material.protocol),
                relevant,
                # The size of disjoint sets of utterances depends on their number.
                self.config.sample_sets if frame_level else None,
                # The corpus's fingerprint does not know them.
                self.splits if task.score.startswith("mi-") else None,
                self.material.training_speakers,
                task.layer,
                task.score,
                task.sample_set,
                task.depends_on,
            ]
        )

    def pending(self, model: AnalysedModel, tasks: Sequence[Task]) -> list[Task]:
        """The tasks whose results are not there yet."""
        waiting = []
        for task in tasks:
            key = self.key(model, task)
            if self.run_folder.finished(key) is None:
                waiting.append(task)
            else:
                model.keys.append(key)
                self.served += 1
        return waiting

    def finish(self, model: AnalysedModel, tasks: Sequence[Task]) -> None:
        """Compute tasks and keep their results; one that fails is noted and harms no other."""
        depth_of = dict(zip(model.encoder.layers, layer_depths(model.encoder.layers), strict=True))

        def done(task: Task, scores: list[LayerScore]) -> None:
            layer = model.encoder.layer(task.layer)
            rows = [
                ScoreRow(
                    model=model.encoder.name,
                    layer=layer.name,
                    index=model.encoder.layers.index(layer),
                    depth=depth_of[layer],
                    kind=layer.kind,
                    stride_ms=milliseconds(layer.stride, model.encoder),
                    seed=self.config.seed,
                    step=model.step,
                    **asdict(score),
                )
                for score in scores
            ]
            key = self.key(model, task)
            self.run_folder.finish(key, rows)
            model.keys.append(key)

        def failed(task: Task, error: SpeechstrataError) -> None:
            self.run_folder.failed(task.score, f"{model.encoder.name} {task.layer}", error)

        run_tasks(tasks, f"{model.encoder.name}: scores", self.compute.score_workers, done, failed)

    # Stages

    def score(self, model: AnalysedModel) -> None:
        """All the scores of one encoder that need no other encoder."""
        material = self.material
        ids = material.utterances.ids
        intra = self.config.intra_layer
        if intra and "cca-intra" in self.config.scores and not is_front_end(model.source):
            self.run_folder.attempt("cca-intra", model.source, lambda: model.encoder.layer(intra))
        statistics = FrameStatistics(model.encoder, model.layers, self.config, ids)
        frame_tasks = {
            number: self.pending(model, statistics.tasks(number)) for number in range(len(material.frame_sets))
        }
        unit_tasks_ = self.pending(
            model,
            [
                task
                for layer in model.layers
                for sets in material.sets.values()
                for task in (
                    *unit_tasks(layer.name, model.store, sets, self.config),
                    *further_tasks(layer.name, model.store, sets, self.config),
                )
            ],
        )
        pools = bool(unit_tasks_ or self.inputs.inter)
        if pools:
            size = stored_bytes(model.layers, {unit: len(plan.spans_of_rows) for unit, plan in self.rows.items()})
            _say(f"{model.encoder.name}: {size / 1e6:,.0f} MB of pooled states, removed at the end")
        frame_sets = frozenset(number for number, tasks in frame_tasks.items() if tasks)
        work = Pass("pass", self.pass_key(), material.utterances, self.blocks, material.plans, frame_sets, pools)
        visited = [layer.name for layer in model.encoder.layers if layer.name in statistics.needs]
        self.passes.run(model, work, visited, statistics, lambda number: self.finish(model, frame_tasks[number]))
        if self.shard is None:
            self.finish(model, unit_tasks_)
        self.score_sentences(model)

    def score_sentences(self, model: AnalysedModel) -> None:
        """spoken-sts of one encoder."""
        sts = self.material.sts
        if sts is None:
            return
        speech = sts.utterances
        every = np.arange(len(speech.ids))
        plans: dict[Unit, RowPlan] = {
            "sentence": RowPlan(whole_utterances(speech.ids, speech.speakers, speech.seconds.tolist()), every)
        }
        blocks = plan_blocks([], every, speech.seconds)
        store = _row_store(model.cache, model.layers, self.passes.own_rows(plans, blocks, speech))
        tasks = self.pending(model, [task for layer in model.layers for task in sentence_tasks(layer.name, store, sts)])
        if not tasks:
            return
        work = Pass("sentences", self.pass_key(), speech, blocks, plans)
        self.passes.run(replace(model, store=store), work, [layer.name for layer in model.layers])
        if self.shard is None:
            self.finish(model, tasks)

    def pass_key(self) -> str:
        """A fingerprint of everything that a pass depends on besides its blocks and the encoder."""
        material = self.material
        sts = material.sts.fingerprint if material.sts else None
        return fingerprint(
            [
                asdict(self.config),
                asdict(self.inputs),
                material.corpus.fingerprint,
                self.splits,
                material.training_speakers,
                sts,
                self.compute.dtype,
            ]
        )

    def compare(self, models: Sequence[AnalysedModel]) -> None:
        """cca-inter: every layer of the encoders analysed with a layer of each encoder given to compare with."""
        if "cca-inter" not in self.config.scores:
            return
        if not self.inputs.inter:
            reason, remedy = "no other model was given", "give one with --inter"
            self.run_folder.add_problem(Problem("cca-inter", "run", reason, remedy))
        by_source = {model.source: model for model in models if model.role == "encoder"}
        for other_name in self.inputs.inter:
            source, layer_name = inter_parts(other_name)
            other = by_source.get(source)
            if other is None:
                continue  # noted when it could not be loaded
            if layer_name is not None and layer_name not in {layer.name for layer in other.layers}:
                names = ", ".join(layer.name for layer in other.layers)
                error = EncoderError(f"{source} has no layer {layer_name!r}", f"its layers are: {names}")
                self.run_folder.failed("cca-inter", other_name, error)
                continue
            reference = layer_name or other.layers[-1].name
            compared = [model for model in models if model is not other and model.source in self.inputs.models]
            if not compared:
                reason, remedy = "it is the model that is analysed", "compare its layers by cca-intra and --intra_layer"
                self.run_folder.add_problem(Problem("cca-inter", other_name, reason, remedy))
            for model in compared:
                tasks = [
                    task
                    for layer in model.layers
                    for sets in self.material.sets.values()
                    for task in inter_tasks(
                        layer.name, model.store, reference, other.store, other.encoder, sets, self.config
                    )
                ]
                self.finish(model, self.pending(model, tasks))
