"""Every option of a pre-training run, as frozen dataclasses; importing this module is cheap."""

from dataclasses import dataclass, field
from typing import Any, Literal

#: Samples per second of every waveform and every unit stream in this room.
SAMPLE_RATE = 16_000
#: Samples from one model frame to the next at the finest resolution (20 ms).
FRAME_STRIDE = 320


@dataclass(frozen=True)
class TargetsConfig:
    """How acoustic units are made: features, k-means on a bounded sample, the nearest centroid of every frame.

    Attributes:
        features: "mfcc" (39 dimensions, 100 Hz; the first iteration), or any encoder that ``analyze`` takes.
        layer: of the encoder, by name; of a multi-resolution model "post_skip" and "pre_skip" outputs have names too.
        clusters: number of units.
        sample_frames: the k-means is fitted on so many frames, drawn at random.
        spread: the frames are drawn from utterances with at least so many times as many frames.
        iterations: of Lloyd's algorithm.
        restarts: the best of so many k-means runs.
        seed: of the sample and the first centroids.
        validation_share, test_share, split_seed: as in ``DataConfig``: the speakers whom a training run with the same
            values keeps out do not take part in the k-means (they do get units).
        batch_seconds: audio in one batch of an encoder.
        workers: processes, of one thread each; any number gives the same bytes.
        device: of an encoder.
    """

    features: str = "mfcc"
    layer: str = ""
    clusters: int = 100
    sample_frames: int = 300_000
    spread: int = 4
    iterations: int = 50
    restarts: int = 1
    seed: int = 0
    validation_share: float = 0.0
    test_share: float = 0.0
    split_seed: int = 0
    batch_seconds: float = 60.0
    workers: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class MaskingConfig:
    """Which frames are hidden from the model.

    Attributes:
        probability: spans = ``int(probability x frames / span + U[0,1))``; they may overlap.
        span: frames (of 20 ms) in a span.
        minimum_spans: at least so many spans in every utterance.
        mode: "spans" keeps every utterance's spans whole; "reference" cuts each row of a batch to the smallest
            row's count by unmasking single random frames, as the public code does.
    """

    probability: float = 0.8
    span: int = 10
    minimum_spans: int = 2
    mode: Literal["spans", "reference"] = "spans"


@dataclass(frozen=True)
class DataConfig:
    """What the model is trained on, and in which batches.

    Attributes:
        corpus: a prepared corpus, by name or folder.
        targets: folders of ``speechstrata targets``; one for all resolutions, or one per target stream.
        batch_seconds: a batch holds at most so many seconds of audio, padding included.
        batches_per_step: batches in one optimizer step, over all processes and accumulation rounds; a run gives the
            same result however they are shared out.
        minimum_seconds: shorter utterances are left out.
        maximum_seconds: longer utterances are cropped, at a new place in each epoch.
        padding: False crops each batch to its shortest utterance (the published way); True pads.
        buckets: of like lengths, out of which batches are drawn.
        validation_share: the share of the audio, by speakers, kept out of training for the validation loss.
        test_share: the share of the audio, by speakers, kept out of training and validation.
        split_seed: of the choice of those speakers; not the training seed, so that all models of a family agree.
        validation_seconds: at most so much of the validation speakers' audio is used; 0: all.
        cache: keep decoded "waveform"s (16-bit) or the model's "logmel" features (half precision) in a memory-mapped
            file (see ``run.cache_folder``); "none" decodes the audio anew in each epoch.
        workers: processes that load data; 0: the training process does.
    """

    corpus: str = ""
    targets: tuple[str, ...] = ()
    batch_seconds: float = 62.5
    batches_per_step: int = 1
    minimum_seconds: float = 2.0
    maximum_seconds: float = 15.625
    padding: bool = False
    buckets: int = 30
    validation_share: float = 0.05
    test_share: float = 0.0
    split_seed: int = 0
    validation_seconds: float = 0.0
    cache: Literal["none", "waveform", "logmel"] = "none"
    workers: int = 2


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a polynomial decay.

    Attributes:
        averaging: "high_resolution" divides the sum over all heads by the masked frames of the high resolution (as
            published: low-resolution terms weigh about half); "per_resolution" divides each head's sum by its own.
        steps: optimizer steps in all.
        learning_rate: at the end of the warm-up.
        warmup_steps: steps of linear warm-up.
        end_learning_rate: at the last step.
        decay_power: of the polynomial decay; 1 is linear.
        betas: of Adam.
        epsilon: of Adam; added after the bias correction (torch), not before it (the public code).
        weight_decay: decoupled, of all parameters (as published).
        clip_norm: of the gradient over the global masked count; 0: none.
        ema_decay: keep an exponential moving average of the weights, which is then validated and exported; 0: none.
    """

    averaging: Literal["high_resolution", "per_resolution"] = "high_resolution"
    steps: int = 400_000
    learning_rate: float = 5e-4
    warmup_steps: int = 32_000
    end_learning_rate: float = 0.0
    decay_power: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 10.0
    ema_decay: float = 0.0


@dataclass(frozen=True)
class RunConfig:
    """How the run goes about it.

    Intervals are in steps; one that is longer than the run means the run's end. Each has to be a multiple of the one
    before it (``log_every``, ``checkpoint_every``, ``validate_every``), and the run of ``validate_every``.

    Attributes:
        log_every: between lines of the training curve.
        checkpoint_every: between checkpoints; at most so many steps are lost when the run is killed.
        validate_every: between validations.
        keep_every: also keep a checkpoint for good every so many steps (a multiple of ``checkpoint_every``); 0: only
            the last and the best one.
        precision: of the forward and backward passes; the weights stay float32.
        compile: run the model through ``torch.compile``.
        strategy: "auto" is one process, or DDP under ``torchrun``; "fsdp" shards weights and optimizer state.
        accelerator: "auto" takes a GPU where there is one.
        wandb_project: also log to Weights & Biases.
        cache_folder: of caches of audio; "" is ``cache`` beside the run's folder, shared by the runs there.
    """

    log_every: int = 100
    checkpoint_every: int = 1_000
    validate_every: int = 5_000
    keep_every: int = 50_000
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    wandb_project: str = ""
    cache_folder: str = ""


@dataclass(frozen=True)
class PretrainConfig:
    """A whole pre-training run; a recipe file lists only what differs from these defaults.

    Attributes:
        name: of the recipe.
        about: one line for people.
        model: a named model of ``speechstrata.mrhubert`` under ``name``; other keys override fields of its config.
        seed: of the weights, the data order, the crops, the masks and the dropout.
    """

    name: str = ""
    about: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    seed: int = 1


@dataclass(frozen=True)
class Intervals:
    """The intervals of a run, in steps, none longer than the run; ``keep`` 0: no checkpoint is kept for good."""

    log: int
    checkpoint: int
    validate: int
    keep: int

    @classmethod
    def of(cls, config: PretrainConfig) -> "Intervals":
        """Those of ``config``."""
        run, steps = config.run, config.optimizer.steps
        keep = min(run.keep_every, steps)
        return cls(min(run.log_every, steps), min(run.checkpoint_every, steps), min(run.validate_every, steps), keep)
