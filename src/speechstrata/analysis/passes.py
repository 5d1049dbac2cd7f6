"""One pass of an encoder: run it over the audio, or take what the shards of a divided run left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechstrata.analysis.blocks import Block, PassLog
from speechstrata.analysis.config import AnalysisConfig, ComputeConfig
from speechstrata.analysis.frames import FrameStatistics
from speechstrata.analysis.model_pass import Consumer, Utterances, run_pass
from speechstrata.analysis.pooling import RowPlan, SpanPooler
from speechstrata.analysis.provenance import AnalysedModel
from speechstrata.analysis.run_folder import RunFolder
from speechstrata.analysis.shards import Part, save_frames, shard_folder, shard_utterances
from speechstrata.analysis.spans import Unit
from speechstrata.errors import InputError
from speechstrata.files import fingerprint
from speechstrata.sharding import WHOLE, Shard


@dataclass(frozen=True)
class Pass:
    """What one pass of an encoder is for.

    Attributes:
        name: of its log.
        key: fingerprint of what it depends on besides its blocks.
        utterances: that the blocks are of.
        blocks: the plan.
        plans: unit -> all the rows that are pooled.
        frame_sets: the sample sets whose frames are wanted.
        pools: whether the rows are wanted.
    """

    name: str
    key: str
    utterances: Utterances
    blocks: Sequence[Block]
    plans: Mapping[Unit, RowPlan]
    frame_sets: frozenset[int] = frozenset()
    pools: bool = True

    @property
    def needed(self) -> list[Block]:
        """The blocks that something is wanted of."""
        return [block for block in self.blocks if self.pools or block.frame_set in self.frame_sets]


class Passes:
    """Runs the passes of an analysis, or of one shard of it; or takes together what shards left.

    Args:
        run_folder: of the analysis or the shard.
        config: the rule for spans.
        compute: batches.
        shard: which share of each pass is run; ``None`` for all.
        shares: the shards whose results are taken; where there are any, no encoder is run.
    """

    def __init__(
        self,
        run_folder: RunFolder,
        config: AnalysisConfig,
        compute: ComputeConfig,
        shard: Shard | None,
        shares: Sequence[Shard],
    ) -> None:
        self._run_folder = run_folder
        self._config = config
        self._compute = compute
        self._shard = shard
        self._shares = shares

    def own_rows(
        self, plans: Mapping[Unit, RowPlan], blocks: Sequence[Block], utterances: Utterances
    ) -> Mapping[Unit, RowPlan]:
        """Those of the rows that are pooled here."""
        if self._shard is None:
            return plans
        mine = shard_utterances(blocks, utterances.seconds, self._compute.batch_seconds, self._shard)
        return {unit: plan.of_utterances(mine) for unit, plan in plans.items()}

    def run(
        self,
        model: AnalysedModel,
        work: Pass,
        layers: Sequence[str],
        statistics: FrameStatistics | None = None,
        on_frames: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fill ``model.store`` and, one sample set after another, ``statistics``.

        Args:
            model: the encoder, and where its rows go.
            work: what is wanted.
            layers: names of the layers that are visited.
            statistics: of frames.
            on_frames: called when those of a sample set are complete; not in a shard, which keeps them in a file.
        """
        if self._shares:
            self._collect(model, work, statistics, on_frames)
            return
        pooler = SpanPooler(
            self.own_rows(work.plans, work.blocks, work.utterances),
            model.store,
            model.encoder.sample_rate,
            self._config.span,
        )

        def consumers(block: Block) -> list[Consumer]:
            taking: list[Consumer] = [pooler] if work.pools else []
            if statistics is not None and block.frame_set in work.frame_sets:
                statistics.start(block.frame_set)
                taking.append(statistics)
            return taking

        key = self._key(work, self._shard)
        log = PassLog(model.cache / f"{work.name}.json", key, work.blocks, fresh=model.store.fresh)
        if work.pools and not log.done:
            model.store.clear()

        def on_block(block: Block) -> None:
            self._note(log.unread)
            if statistics is None or block.frame_set not in work.frame_sets:
                return
            statistics.complete()
            if self._shard is None:
                on_frames(block.frame_set)
            else:
                save_frames(model.cache, statistics, block.frame_set)
            statistics.clear()

        run_pass(
            model.encoder,
            work.utterances,
            work.needed,
            layers,
            consumers,
            log,
            batch_seconds=self._compute.batch_seconds,
            flush=model.store.flush,
            on_block=on_block,
            shard=self._shard or WHOLE,
        )

    def _collect(
        self,
        model: AnalysedModel,
        work: Pass,
        statistics: FrameStatistics | None,
        on_frames: Callable[[int], None],
    ) -> None:
        """Take what the shards left of this pass."""
        parts = [Part(shard, self._cache(model, shard)) for shard in self._shares]
        for part in parts:
            self._note(part.unread(work.name, self._key(work, part.shard), work.blocks, work.needed))
        if work.pools:
            for part in parts:
                seconds, batch_seconds = work.utterances.seconds, self._compute.batch_seconds
                mine = shard_utterances(work.blocks, seconds, batch_seconds, part.shard)
                part.add_rows(model.store, model.layers, work.plans, mine)
        for sample_set in sorted(work.frame_sets) if statistics is not None else []:
            assert statistics is not None
            statistics.start(sample_set)
            for part in parts:
                part.add_frames(statistics, sample_set)
            statistics.complete()
            on_frames(sample_set)
            statistics.clear()

    def _cache(self, model: AnalysedModel, shard: Shard) -> Path:
        return shard_folder(self._run_folder.path, shard) / model.cache.relative_to(self._run_folder.path)

    def _key(self, work: Pass, shard: Shard | None) -> str:
        if shard is None:
            return work.key
        return fingerprint([work.key, shard.index, shard.count, self._compute.batch_seconds])

    def _note(self, unread: Mapping[str, str]) -> None:
        for utterance, reason in unread.items():
            self._run_folder.failed("utterance", utterance, InputError(reason, "mend or remove the audio"))
