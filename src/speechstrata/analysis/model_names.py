"""What the names of encoders on the command line say."""

from speechstrata.analysis.config import Inputs
from speechstrata.analysis.provenance import STEP
from speechstrata.encoders.averaged import parse_averaged
from speechstrata.errors import EncoderError

#: The control that is an encoder of its own.
FBANK = "fbank"
#: Before a model's name: that model re-initialised, and no other.
RANDOM_OF = "random:"


def wanted_models(inputs: Inputs) -> list[tuple[str, str, str | None]]:
    """(name, role, control of) of every encoder of a run, each once."""
    wanted: list[tuple[str, str, str | None]] = [(name, "encoder", None) for name in inputs.models]
    wanted += [(inter_parts(other)[0], "encoder", None) for other in inputs.inter]
    if "random" in inputs.controls:
        # One for the checkpoints of a training: they share an architecture.
        last_of_training = {STEP.sub("", name): name for name in inputs.models if not is_front_end(name)}
        wanted += [(name, "control", name) for name in last_of_training.values()]
    single = [control.removeprefix(RANDOM_OF) for control in inputs.controls if control.startswith(RANDOM_OF)]
    wanted += [(name, "control", name) for name in single]
    if "fbank" in inputs.controls and FBANK not in inputs.models:
        wanted.append((FBANK, "control", None))
    return list(dict.fromkeys(wanted))


def inter_parts(given: str) -> tuple[str, str | None]:
    """``MODEL:LAYER`` or ``MODEL``; the model may be ``averaged:40ms:MODEL``."""
    own = own_name(given)
    model, colon, layer = own.rpartition(":")
    return (given.removesuffix(own) + model, layer) if colon and model else (given, None)


def own_name(source: str) -> str:
    """The model's own name in ``averaged:40ms:MODEL``, else all of it."""
    try:
        averaged = parse_averaged(source)
    except EncoderError:
        return source  # said when it is loaded
    return source if averaged is None else averaged.source


def is_front_end(source: str) -> bool:
    """Whether this is the filterbank, which has one layer and no weights."""
    return own_name(source) == FBANK
