"""Every kind of probe corpus by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from speechstrata.errors import CorpusError, InputError
from speechstrata.files import LOCK_FILE, hold, read_json, room_for
from speechstrata.superb.corpora.probe_corpus import CORPUS_FILE, ProbeCorpus


@dataclass(frozen=True)
class Kind:
    """A kind of probe corpus.

    Attributes:
        task: that it is for.
        maker: ``module:function``.
        source: what its source is; "" where it has none.
        options: paths that it takes besides.
    """

    task: str
    maker: str
    source: str
    options: tuple[str, ...] = ()


_PREPARED = "a prepared corpus of aligned speech by several speakers (amazon-queen)"
KINDS: dict[str, Kind] = {
    "librispeech": Kind("asr", "librispeech:librispeech", "the folder LibriSpeech"),
    "audio-snips": Kind("sf", "snips:audio_snips", "the folder with all.iob.snips.txt"),
    "fluent-speech-commands": Kind("ic", "fluent:fluent_speech_commands", "fluent_speech_commands_dataset"),
    "speech-commands": Kind("ks", "speech_commands:speech_commands", "the folder of v0.01", ("test",)),
    "libri2mix": Kind("sd", "libri2mix:libri2mix", "the folder with train, dev and test in Kaldi's form"),
    "voicebank-demand": Kind("se", "voicebank:voicebank_demand", "the folder with the four folders of recordings"),
    "mini-asr": Kind("asr", "mini_queen:mini_asr", _PREPARED),
    "mini-sf": Kind("sf", "mini_commands:mini_sf", ""),
    "mini-ic": Kind("ic", "mini_commands:mini_ic", ""),
    "mini-ks": Kind("ks", "mini_queen:mini_ks", _PREPARED),
    "mini-sd": Kind("sd", "mini_queen:mini_sd", _PREPARED, ("real",)),
    "mini-se": Kind("se", "mini_queen:mini_se", f"{_PREPARED} with its sound effects", ("music",)),
}


def prepare_probe_corpus(kind: str, source: Path | None, output: Path, **options: Path) -> ProbeCorpus:
    """Make a probe corpus.

    Args:
        kind: one of :data:`KINDS`.
        source: see the kind.
        output: folder to make.
        options: paths that the kind takes besides its source.

    Raises:
        InputError: an unknown kind, a source missing or not needed, an option that the kind does not take, or a folder
            that cannot be written or that another process writes to.
        CorpusError: the source is not what it should be, or the folder holds another corpus.
    """
    if kind not in KINDS:
        raise InputError(f"there is no probe corpus {kind!r}", f"one of {', '.join(KINDS)}")
    known = KINDS[kind]
    if bool(known.source) != (source is not None):
        needed = f"give {known.source}" if known.source else "leave the source out"
        raise InputError(f"{kind} takes {'a' if known.source else 'no'} source", needed)
    if foreign := set(options) - set(known.options):
        raise InputError(f"{kind} does not take {', '.join(sorted(foreign))}", "leave it out")
    module, function = known.maker.split(":")
    make: Callable[..., ProbeCorpus] = getattr(import_module(f"{__package__}.{module}"), function)
    given: tuple[Any, ...] = (output,) if source is None else (source, output)
    with hold(output / LOCK_FILE), room_for(output):
        _refuse_other_corpus(output, known.task)
        return make(*given, **options)


def _refuse_other_corpus(output: Path, task: str) -> None:
    """A folder is only written again for the task that its corpus is for."""
    if not (output / CORPUS_FILE).exists():
        return
    held = read_json(output / CORPUS_FILE)
    if held.get("task") != task:
        raise CorpusError(f"{output} already holds the corpus {held.get('name')!r}", "choose another folder")
