"""What a HuBERT or an MR-HuBERT is made of: the one source of truth about its shape.

HuBERT and MR-HuBERT are one family: a front-end, a projection, and a chain of Transformer encoders
("blocks") with sampling modules between them. HuBERT is the chain of length one. Everything that has to
know the order of the blocks (the network, its cost, its drawing, its taps) reads :func:`block_plan`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from speechstrata.errors import InputError

Extractor = Literal["default", "layer_norm", "log_mel"]
SamplingKind = Literal["adapter", "plain"]
Residual = Literal["post", "pre"]
Padding = Literal["valid", "reference"]
MaskCarry = Literal["input", "reference"]
Role = Literal["encoder", "middle", "decoder"]

#: (a, b): the frame rate is multiplied by a / b.
Ratio = tuple[int, int]


class ConvLayer(NamedTuple):
    """One layer of the convolutional feature extractor."""

    channels: int
    kernel: int
    stride: int


#: The extractor of HuBERT (and of wav2vec 2.0): 320 samples per frame, a receptive field of 400.
CONV_LAYERS = (ConvLayer(512, 10, 5), *[ConvLayer(512, 3, 2)] * 4, *[ConvLayer(512, 2, 2)] * 2)

#: The log-mel front-end: 25 ms windows every 10 ms, two neighbours stacked to one 20 ms frame.
MEL_WINDOW, MEL_HOP, MEL_STACK = 400, 160, 2

_CHOICES: dict[str, tuple[str, ...]] = {
    "extractor": ("default", "layer_norm", "log_mel"),
    "sampling": ("adapter", "plain"),
    "residual": ("post", "pre"),
    "padding": ("valid", "reference"),
    "mask_carry": ("input", "reference"),
}


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a HuBERT or MR-HuBERT, its objective's heads, and its training-time noise.

    Attributes:
        layers: Transformer layers of each block, in order of execution; an odd number of blocks:
            encoders, the middle block, decoders. One block is a HuBERT.
        ratios: one (a, b) per way down; step i multiplies the frame rate by a/b, and the way up inverts
            it. ``(1, 1)`` keeps the rate (and the sampling modules).
        dim: size of a frame's vector in the Transformer.
        ffn_dim: hidden size of the feed-forward layers.
        heads: attention heads per layer.
        square_projection: project the front-end's output even where it has ``dim`` channels already, as transformers
            does and the published code does not.
        layer_norm_first: pre-LN layers and a LayerNorm after each block (large models); else post-LN
            layers and a LayerNorm before each block (base models).
        positional_kernel: width of the convolutional positional embedding, in frames; first block only.
        positional_groups: its groups.
        extractor: the front-end. ``default``: GroupNorm after the first convolution; ``layer_norm``:
            LayerNorm after each; ``log_mel``: no convolutions, two stacked 10 ms log-mel frames.
        conv_layers: the convolutional extractor; unused with ``log_mel``.
        conv_bias: whether its convolutions have a bias.
        mel_bins: filters of the log-mel front-end.
        normalize: whether each waveform is brought to zero mean and unit variance.
        sampling: ``adapter``: every sampling module has a transposed and a plain convolution;
            ``plain``: only the one that changes the rate (B3-a).
        sampling_kernel: their width.
        residual: where an encoder's output joins its decoder: ``post`` adds it to the decoder's output (all
            released models), ``pre`` to its input (the MR-HuBERT paper's text and figure).
        auxiliary_heads: masked prediction at every resolution (True), or at the finest only.
        classes: rows of the class-embedding tables: one number per label stream.
        label_rates: labels per second of each stream. One stream is shared by all heads and subsampled for
            the lower resolutions; otherwise stream i is the head's of the i-th finest resolution.
        label_offset: row of unit 0 in the tables: 4 in released models, whose dictionaries begin with
            four special symbols (never targets, but negatives in the softmax).
        final_dim: dimension in which frames and classes are compared.
        logit_temperature: cosine similarities are divided by this.
        dropout, attention_dropout, activation_dropout, input_dropout: after each sublayer; on attention
            weights; inside the feed-forward; on the projection's output.
        layerdrop: probability that a Transformer layer is skipped in training.
        feature_grad_mult: the gradient into the front-end is scaled by this; 0 freezes it.
        feature_penalty: weight of the mean square of the extractor's output in the loss.
        padding: ``valid``: an utterance's states are the same alone and in any batch;
            ``reference``: padded batches behave as in the published code, for parity.
        mask_carry: the frames that the finest head scores: ``input``: the input's own mask;
            ``reference``: that mask after subsampling and repetition, as in the published code.
        sample_rate: of the waveforms, in hertz.
    """

    layers: tuple[int, ...] = (4, 4, 4)
    ratios: tuple[Ratio, ...] = ((1, 2),)
    dim: int = 768
    ffn_dim: int = 3072
    heads: int = 12
    square_projection: bool = False
    layer_norm_first: bool = False
    positional_kernel: int = 128
    positional_groups: int = 16
    extractor: Extractor = "default"
    conv_layers: tuple[ConvLayer, ...] = CONV_LAYERS
    conv_bias: bool = False
    mel_bins: int = 80
    normalize: bool = False
    sampling: SamplingKind = "adapter"
    sampling_kernel: int = 1
    residual: Residual = "post"
    auxiliary_heads: bool = True
    classes: tuple[int, ...] = (504,)
    label_rates: tuple[float, ...] = (50.0,)
    label_offset: int = 4
    final_dim: int = 256
    logit_temperature: float = 0.1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    input_dropout: float = 0.1
    layerdrop: float = 0.05
    feature_grad_mult: float = 0.1
    feature_penalty: float = 10.0
    padding: Padding = "valid"
    mask_carry: MaskCarry = "input"
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _require(getattr(self, name) in allowed, name, getattr(self, name), f"one of {', '.join(allowed)}")
        for name in ("dim", "ffn_dim", "heads", "positional_kernel", "positional_groups", "mel_bins",
                     "sampling_kernel", "final_dim", "sample_rate"):  # fmt: skip
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        for name in ("dropout", "attention_dropout", "activation_dropout", "input_dropout",
                     "layerdrop"):  # fmt: skip
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a probability below 1")
        steps = len(self.ratios)
        _require(
            len(self.layers) == 2 * steps + 1 and min(self.layers) > 0,
            "layers",
            self.layers,
            f"{2 * steps + 1} positive numbers, for {steps} steps down: encoders, the middle block, decoders",
        )
        _require(
            all(len(ratio) == 2 and min(ratio) > 0 for ratio in self.ratios),
            "ratios",
            self.ratios,
            "pairs (a, b) of positive whole numbers",
        )
        _require(self.dim % self.heads == 0, "heads", self.heads, f"a divisor of dim = {self.dim}")
        _require(
            self.dim % self.positional_groups == 0,
            "positional_groups",
            self.positional_groups,
            f"a divisor of dim = {self.dim}",
        )
        _require(
            self.extractor == "log_mel"
            or (bool(self.conv_layers) and all(min(layer) > 0 for layer in self.conv_layers)),
            "conv_layers",
            self.conv_layers,
            "triples (channels, kernel, stride) of positive whole numbers",
        )
        streams = len(self.classes)
        _require(
            streams in (1, self.head_count) and min(self.classes, default=0) > self.label_offset >= 0,
            "classes",
            self.classes,
            f"one number, or one for each of the {self.head_count} heads, above label_offset",
        )
        _require(
            len(self.label_rates) == streams and min(self.label_rates) > 0,
            "label_rates",
            self.label_rates,
            f"one positive rate for each of the {streams} label streams",
        )
        _require(self.logit_temperature > 0, "logit_temperature", self.logit_temperature, "above 0")

    @property
    def frame_stride(self) -> int:
        """Samples from one frame of the front-end to the next (320 = 20 ms)."""
        if self.extractor == "log_mel":
            return MEL_HOP * MEL_STACK
        stride = 1
        for layer in self.conv_layers:
            stride *= layer.stride
        return stride

    @property
    def receptive_field(self) -> int:
        """Samples that the front-end's first frame sees; a shorter waveform has no frame."""
        if self.extractor == "log_mel":
            return MEL_WINDOW
        field = 1
        for layer in reversed(self.conv_layers):
            field = (field - 1) * layer.stride + layer.kernel
        return field

    @property
    def frontend_dim(self) -> int:
        """Size of a frame of the front-end's output."""
        return self.mel_bins * MEL_STACK if self.extractor == "log_mel" else self.conv_layers[-1].channels

    @property
    def has_projection(self) -> bool:
        """Whether a linear layer follows the front-end."""
        return self.square_projection or self.frontend_dim != self.dim

    @property
    def head_count(self) -> int:
        """Number of masked-prediction heads."""
        return len(self.ratios) + 1 if self.auxiliary_heads else 1

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON (tuples become lists there)."""
        values = asdict(self)
        values["conv_layers"] = [tuple(layer) for layer in self.conv_layers]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkConfig":
        """The inverse of :meth:`to_dict`; missing fields take their defaults.

        Raises:
            InputError: an unknown field, or a value that does not fit.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"unknown network setting {unknown[0]!r}", f"the settings are: {', '.join(sorted(known))}")
        values = dict(values)
        try:
            for name in ("layers", "classes"):
                if name in values:
                    values[name] = tuple(int(value) for value in values[name])
            if "label_rates" in values:
                values["label_rates"] = tuple(float(value) for value in values["label_rates"])
            if "ratios" in values:
                values["ratios"] = tuple((int(up), int(down)) for up, down in values["ratios"])
            if "conv_layers" in values:
                values["conv_layers"] = tuple(ConvLayer(*map(int, layer)) for layer in values["conv_layers"])
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"a network setting has the wrong form: {error}", "see NetworkConfig") from error


@dataclass(frozen=True)
class Sampling:
    """A sampling module: ``down0`` multiplies the frame rate by up / down."""

    name: str
    up: int
    down: int


def sampling_convs(config: NetworkConfig, sampling: Sampling) -> tuple[bool, bool]:
    """Whether a sampling module has a transposed convolution (stride ``up``) and a plain one (stride ``down``)."""
    adapter = config.sampling == "adapter"
    same, upwards = sampling.up == sampling.down == 1, sampling.name.startswith("up")
    return adapter or sampling.up > 1 or (same and upwards), adapter or sampling.down > 1 or (same and not upwards)


@dataclass(frozen=True)
class Block:
    """One Transformer encoder of the chain.

    Attributes:
        name: ``encoder0``, ``encoder1``, ..., ``middle``, ``decoder0``, ... (in order of execution);
            a HuBERT's only block is ``encoder0``.
        role: what it is in the chain.
        layers: its Transformer layers.
        stride: samples from one of its frames to the next.
        sampling: the module that feeds it; None for the first block.
        skip: name of what is added to its output (``residual="post"``) or input (``"pre"``): its
            encoder's output for a decoder; for the middle block its own input, always added to its output.
        head: index of the masked-prediction head on its output, 0 the finest resolution; None without one.
        positional: whether it has the convolutional positional embedding.
    """

    name: str
    role: Role
    layers: int
    stride: Fraction
    sampling: Sampling | None
    skip: str | None
    head: int | None
    positional: bool


def block_plan(config: NetworkConfig) -> tuple[Block, ...]:
    """The blocks in order of execution, each with what feeds it, what is added to it and what it predicts."""
    steps = len(config.ratios)
    stride = Fraction(config.frame_stride)
    if steps == 0:
        return (Block("encoder0", "encoder", config.layers[0], stride, None, None, 0, True),)
    blocks: list[Block] = []
    sampling: Sampling | None = None
    for index, (up, down) in enumerate(config.ratios):
        blocks.append(
            Block(f"encoder{index}", "encoder", config.layers[index], stride, sampling, None, None, index == 0)
        )
        sampling = Sampling(f"down{index}", up, down)
        stride = stride * down / up
    head = steps if config.auxiliary_heads else None
    assert sampling is not None
    blocks.append(Block("middle", "middle", config.layers[steps], stride, sampling, sampling.name, head, False))
    for index, (up, down) in enumerate(reversed(config.ratios)):
        stride = stride * up / down
        resolution = steps - 1 - index
        blocks.append(
            Block(
                name=f"decoder{index}",
                role="decoder",
                layers=config.layers[steps + 1 + index],
                stride=stride,
                sampling=Sampling(f"up{index}", down, up),
                skip=f"encoder{resolution}",
                head=resolution if config.auxiliary_heads or resolution == 0 else None,
                positional=False,
            )
        )
    return tuple(blocks)


def sampled_length(frames: int, sampling: Sampling) -> int:
    """Frames after a sampling module: ``ceil(frames x up / down)``, so that none is lost."""
    return -(-frames * sampling.up // sampling.down)


def frontend_length(config: NetworkConfig, samples: int) -> int:
    """Frames of the front-end for a waveform of that many samples; 0 if it is too short for one."""
    if samples < config.receptive_field:
        return 0
    if config.extractor == "log_mel":  # an odd last 10 ms frame is stacked with itself
        return -(-((samples - MEL_WINDOW) // MEL_HOP + 1) // MEL_STACK)
    for layer in config.conv_layers:
        samples = (samples - layer.kernel) // layer.stride + 1
    return samples


class BlockLength(NamedTuple):
    """Frames that a block runs on, and frames that are left once its skip connection is added.

    A decoder can run on a few frames more than its encoder had (66 for 65: half of 65 is 33, twice
    33 is 66); the sum is trimmed to the shorter.
    """

    run: int
    kept: int


def block_lengths(config: NetworkConfig, frames: int) -> tuple[BlockLength, ...]:
    """The lengths of every block of :func:`block_plan` for that many frames of the front-end."""
    kept: dict[str, int] = {}
    lengths: list[BlockLength] = []
    for block in block_plan(config):
        run = frames if block.sampling is None else sampled_length(frames, block.sampling)
        frames = min(run, kept[block.skip]) if block.role == "decoder" and block.skip else run
        kept[block.name] = frames
        lengths.append(BlockLength(frames if config.residual == "pre" else run, frames))
    return tuple(lengths)


def label_ratio(config: NetworkConfig, head: int) -> Fraction:
    """Labels of a head's stream per frame of its resolution: frame t takes label floor(t x ratio)."""
    stride = Fraction(config.frame_stride)
    for up, down in config.ratios[:head]:
        stride = stride * down / up
    rate = config.label_rates[head if len(config.label_rates) > 1 else 0]
    return Fraction(rate).limit_denominator(1000) * stride / config.sample_rate  # 33.33... is 100/3


def _require(fits: bool, name: str, value: object, wanted: str | Sequence[str]) -> None:
    if not fits:
        raise InputError(f"network setting {name} = {value!r} does not fit", f"give {wanted}")
