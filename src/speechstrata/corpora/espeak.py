"""Text to speech by espeak-ng, through its library as the package ``espeakng-loader`` carries it.

Formant synthesis: not how people sound, but about a hundred voices, the same samples on every machine of one version.
"""

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import InputError, MissingExtraError

_SYNCHRONOUS, _UTF8, _CHARACTERS = 2, 1, 1
_RATE, _PITCH = 1, 3
#: Of the noise of each utterance.
_SEED = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Utterance:
    """What is to be said, and how: see :meth:`Espeak.speak`."""

    text: str
    voice: str
    words_per_minute: int = 160
    pitch: int = 50


def speak_all(utterances: Sequence[Utterance]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """The waveforms, and their sample rate in hertz, in the order given.

    A process of its own says them one after another: the synthesiser's filters never forget what they have said before,
    so only a fresh one says the same list with the same samples.

    Raises:
        MissingExtraError: without ``espeakng-loader``.
        InputError: no such voice, or nothing to say.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_speak, utterances, chunksize=20)


def _speak(utterance: Utterance) -> tuple[NDArray[np.float32], int]:
    espeak = _espeak()
    wave = espeak.speak(
        utterance.text, utterance.voice, words_per_minute=utterance.words_per_minute, pitch=utterance.pitch
    )
    return wave, espeak.sample_rate


@lru_cache(maxsize=1)
def _espeak() -> "Espeak":
    return Espeak()


class Espeak:
    """The synthesiser; there is one for the whole process, since the library has one state.

    Attributes:
        sample_rate: of what it speaks, in hertz.

    Raises:
        MissingExtraError: without ``espeakng-loader``.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingExtraError("espeakng-loader", "superb", "text to speech") from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.sample_rate <= 0:
            raise InputError("espeak-ng did not start", "install espeakng-loader anew")
        self._blocks: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, *, words_per_minute: int = 160, pitch: int = 50) -> NDArray[np.float32]:
        """The waveform (samples,) of a text.

        Args:
            text: one sentence.
            voice: such as ``en-us+f3``: a language and a variant.
            words_per_minute: 80 to 450.
            pitch: 0 to 100.

        Raises:
            InputError: no such voice, or nothing to say.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}", "see `espeak-ng --voices`")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        # the library seeds the breath of some voices by the clock, to the second, when it is started
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        self._blocks = []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._blocks:
            raise InputError(f"espeak-ng says nothing for {text!r}", "give it words")
        wave: NDArray[np.float32] = np.concatenate(self._blocks).astype(np.float32) / np.float32(32_768)
        return wave

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


#: Dialects and variants that sound apart from each other.
DIALECTS: Sequence[str] = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp")
VARIANTS: Sequence[str] = ("m1", "f1", "m3", "f2", "m7", "f4")
