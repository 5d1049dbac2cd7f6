"""The training step: the objective, its global normalisation, the optimizer, and what is measured on the way."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.distributed as distributed
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from speechstrata.errors import SpeechstrataError
from speechstrata.files import write_json
from speechstrata.mrhubert.config import NetworkConfig, block_plan
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.objective import PreTrainingOutput
from speechstrata.mrhubert.transformer import TransformerLayer
from speechstrata.pretraining.config import Intervals, PretrainConfig
from speechstrata.pretraining.dataset import Batch
from speechstrata.pretraining.fourier import use_fourier
from speechstrata.pretraining.schedule import learning_rate
from speechstrata.seeds import derived_seed

_NATS_PER_BIT = math.log(2)
#: Sums kept per head: masked cross-entropy, hits, frames; unmasked cross-entropy, hits, frames.
_PER_HEAD = 6


def build_model(network: NetworkConfig, seed: int) -> MRHubertForPreTraining:
    """A new model; its weights depend on ``seed`` alone, and the random state of the process is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        model = MRHubertForPreTraining(MRHubertConfig(network))
    use_fourier(model)
    return model


class PretrainingModule(lightning.LightningModule):
    """Masked prediction as a Lightning module.

    Loss and gradient are sums over frames; once the batches of all processes and accumulation rounds of a step are in,
    the gradient is divided by all their masked frames. So a step gives the same result however it is shared out.
    Dropout draws from a generator seeded by (seed, batch number), so neither a resumed run nor another number of
    processes changes it.

    Args:
        config: of the run.
        network: of the model.
        output: the run's folder, for the report on a batch whose loss is not finite.
    """

    def __init__(self, config: PretrainConfig, network: NetworkConfig, output: Path) -> None:
        super().__init__()
        self.config, self.network, self.output = config, network, output
        self.model = build_model(network, config.seed)
        # compiling in place keeps the parameters' names, and so the checkpoints, what they are
        if config.run.compile:
            self.model.compile(dynamic=True)
        self._head_weights = head_weights(config, network)
        self._sharded = False
        self._nominal = _nominal_frames(config)
        self._log_every = Intervals.of(config).log
        heads = network.head_count
        self._step_frames = torch.zeros((), dtype=torch.float64)
        self._window = torch.zeros(2 + _PER_HEAD * heads, dtype=torch.float64)
        self._validation = torch.zeros(2 + _PER_HEAD * heads, dtype=torch.float64)
        self.gradient_norm = math.nan
        self.validation_metrics: dict[str, float] = {}

    def configure_model(self) -> None:
        """Shard each Transformer layer, and the rest, where the strategy is FSDP (Lightning may call this twice)."""
        if self.config.run.strategy != "fsdp" or self._sharded:
            return
        from torch.distributed.fsdp import fully_shard

        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for module in self.model.modules():
            if isinstance(module, TransformerLayer):
                fully_shard(module, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self._sharded = True

    # Training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, over a constant that keeps gradients near those of a mean."""
        torch.manual_seed(derived_seed(self.config.seed, "noise", batch.number))
        output: PreTrainingOutput = self.model(batch.inputs, batch.lengths, batch.mask, batch.targets)
        loss = weighted_loss(output, self._head_weights)
        if not torch.isfinite(loss):
            self._stop_on(batch, "loss", float(loss.detach()))
        sums = output_sums(output, loss)
        self._step_frames = self._step_frames + sums[1].cpu()
        self._window += sums.cpu()
        self._last_batch = batch
        return loss / self._nominal

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Divide the step's summed gradient by its masked frames over all processes, then clip its norm."""
        frames = self._total(self._step_frames)
        self._step_frames = torch.zeros((), dtype=torch.float64)
        # undo what was divided on the way: the constant, Lightning's mean over rounds, DDP's over processes
        rounds = self.trainer.accumulate_grad_batches * self.trainer.world_size
        scale = self._nominal * rounds / max(float(frames), 1.0)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, scale)
        limit = self.config.optimizer.clip_norm or math.inf
        total: Any = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        # under FSDP each process has the norm of its own shards until they are brought together
        norm = float(total.full_tensor() if self._sharded else total)
        self.gradient_norm = norm
        if not math.isfinite(norm) and self.config.run.precision != "fp16":  # fp16 skips such steps by itself
            self._stop_on(self._last_batch, "gradient norm", norm)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Write a line of the training curve where one is due."""
        step = self.trainer.global_step
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches:
            return
        if step % self._log_every:
            return
        metrics = self._metrics(self._total(self._window), masked_only=True)
        metrics["learning_rate"] = learning_rate(step - 1, self.config.optimizer)
        metrics["gradient_norm"] = self.gradient_norm
        self._window.zero_()
        self._log(metrics, "train", step)

    # Validation

    def on_validation_epoch_start(self) -> None:
        """Begin to sum."""
        self._validation.zero_()

    def validation_step(self, batch: Batch | None, batch_idx: int) -> None:
        """Add a batch to the sums."""
        if batch is None:
            return
        output: PreTrainingOutput = self.model(
            batch.inputs, batch.lengths, batch.mask, batch.targets, score_unmasked=True
        )
        self._validation += output_sums(output, weighted_loss(output, self._head_weights)).cpu()

    def on_validation_epoch_end(self) -> None:
        """Write a line of the validation curve."""
        self.validation_metrics = self._metrics(self._total(self._validation), masked_only=False)
        self._log(self.validation_metrics, "validation", self.trainer.global_step)

    # The rest

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over all parameters alike, as published, and the golden schedule."""
        settings = self.config.optimizer
        optimizer = AdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            # a fused step undoes fp16's scaling of the gradient itself, after it was clipped
            fused=self.config.run.precision != "fp16",
        )
        schedule = LambdaLR(optimizer, lambda step: learning_rate(step, settings) / settings.learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _total(self, sums: Tensor) -> Tensor:
        """The sum over all processes."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return sums
        total = sums.to(self.device)
        distributed.all_reduce(total)
        return total.cpu()

    def _metrics(self, sums: Tensor, *, masked_only: bool) -> dict[str, float]:
        """Means from sums: losses in bits per frame, accuracies, by head (0 is the finest resolution)."""
        values = sums.tolist()
        metrics = {"loss": values[0] / max(values[1], 1.0) / _NATS_PER_BIT}
        for head in range(self.network.head_count):
            row = values[2 + head * _PER_HEAD : 2 + (head + 1) * _PER_HEAD]
            for name, (entropy, correct, count) in (("masked", row[:3]), ("unmasked", row[3:])):
                if name == "unmasked" and masked_only:
                    continue
                metrics[f"{name}_loss_{head}"] = entropy / max(count, 1.0) / _NATS_PER_BIT
                metrics[f"{name}_accuracy_{head}"] = correct / max(count, 1.0)
        return metrics

    def _log(self, metrics: dict[str, float], stage: str, step: int) -> None:
        for logger in self.trainer.loggers:
            logger.log_metrics({f"{stage}/{name}": value for name, value in metrics.items()}, step)

    def _stop_on(self, batch: Batch, what: str, value: float) -> None:
        step = self.trainer.global_step
        path = self.output / f"not-finite-step-{step}-rank-{self.global_rank}.json"
        rows = [crop._asdict() for crop in batch.crops]
        write_json(path, {"step": step, "batch": batch.number, what: str(value), "utterances": rows})
        raise SpeechstrataError(
            f"the {what} is {value} at step {step}; the batch's utterances are in {path}",
            "look at their audio, lower optimizer.learning_rate, or use run.precision=fp32; "
            "the last checkpoint is untouched",
        )


def weighted_loss(output: PreTrainingOutput, weights: tuple[float, ...] | None) -> Tensor:
    """The summed objective of a batch; ``weights`` multiply the heads' terms, None leaves it as published."""
    if weights is None:
        return output.loss
    extra = [(weight - 1.0) * head.cross_entropy for weight, head in zip(weights, output.heads, strict=True)]
    return output.loss + torch.stack(extra).sum()


def head_weights(config: PretrainConfig, network: NetworkConfig) -> tuple[float, ...] | None:
    """Weights that turn the published averaging into one per resolution.

    A head at half the frame rate has half the masked frames; twice its sum over the high resolution's count is its own
    mean, up to the rounding of the carried mask. None for the published averaging.
    """
    if config.optimizer.averaging == "high_resolution":
        return None
    heads = sorted((block.head, block.stride) for block in block_plan(network) if block.head is not None)
    return tuple(float(stride / heads[0][1]) for _, stride in heads)


def output_sums(output: PreTrainingOutput, loss: Tensor) -> Tensor:
    """(2 + 6 x heads,) float64: loss, sample size; then per head the sums of :class:`HeadScore`."""
    nothing = output.heads[0].cross_entropy.new_zeros(())
    values = [loss, output.sample_size]
    for head in output.heads:
        values += [head.cross_entropy, head.correct, head.count]
        for value in (head.unmasked_cross_entropy, head.unmasked_correct, head.unmasked_count):
            values.append(nothing if value is None else value)
    return torch.stack([value.detach().to(torch.float64) for value in values])


def _nominal_frames(config: PretrainConfig) -> float:
    """About as many masked frames as a step has; a power of two, so that dividing by it loses nothing."""
    frames = 0.5 * 50 * config.data.batch_seconds * config.data.batches_per_step
    return 2.0 ** round(math.log2(max(frames, 1.0)))
