"""Pronunciations of words that no dictionary has: the grapheme-to-phoneme network of ``g2p-en``, run by NumPy.

The weights (Park & Kim, g2p-en 2.x: a GRU encoder-decoder of 256 units trained on CMUdict) are read from the installed
package's file. The package itself is not imported: it downloads data when it is.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import MissingExtraError

_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
# fmt: off
_CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y",
    "Z", "ZH",
)
# fmt: on
_GRAPHEMES = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
_START, _END = 2, 3
_LONGEST = 20  # phones, as the package decodes

_Weights = dict[str, NDArray[np.float32]]


def _phone_symbols() -> tuple[str, ...]:
    """The network's outputs: 4 marks, then ARPAbet in alphabetical order, vowels with their three stresses.

    ``UW`` is in the table without stress too.
    """
    symbols = ["UW", *_CONSONANTS, *(f"{vowel}{stress}" for vowel in _VOWELS for stress in "012")]
    return ("<pad>", "<unk>", "<s>", "</s>", *sorted(symbols))


class GraphemeToPhoneme:
    """Predict pronunciations.

    Args:
        weights: the arrays of the checkpoint: ``enc_*`` and ``dec_*`` of one GRU each, ``fc_*`` of the output layer.
    """

    def __init__(self, weights: _Weights) -> None:
        self._weights = weights
        self._symbols = _phone_symbols()
        self._letters = {letter: index for index, letter in enumerate(_GRAPHEMES)}

    def __call__(self, word: str) -> tuple[str, ...]:
        """ARPAbet phones of ``word``, vowels with stress digits; greedy decoding, at most 20 phones.

        Characters outside a-z are left out first (the network was trained without them).
        """
        weights = self._weights
        letters = [self._letters[char] for char in word.lower() if char in self._letters]
        state = np.zeros(weights["enc_w_hh"].shape[1], dtype=np.float32)
        for letter in [*letters, self._letters["</s>"]]:
            state = self._step("enc", weights["enc_emb"][letter], state)
        symbol = _START
        phones: list[str] = []
        for _ in range(_LONGEST):
            state = self._step("dec", weights["dec_emb"][symbol], state)
            symbol = int((weights["fc_w"] @ state + weights["fc_b"]).argmax())
            if symbol == _END:
                break
            if symbol > _END:
                phones.append(self._symbols[symbol])
        return tuple(phones)

    def _step(self, part: str, given: NDArray[np.float32], state: NDArray[np.float32]) -> NDArray[np.float32]:
        """One step of a GRU (gates in the order reset, update, new; the new gate resets after its matrix)."""
        from_input = self._weights[f"{part}_w_ih"] @ given + self._weights[f"{part}_b_ih"]
        from_state = self._weights[f"{part}_w_hh"] @ state + self._weights[f"{part}_b_hh"]
        size = len(state)
        reset = _sigmoid(from_input[:size] + from_state[:size])
        update = _sigmoid(from_input[size : 2 * size] + from_state[size : 2 * size])
        new = np.tanh(from_input[2 * size :] + reset * from_state[2 * size :])
        stepped: NDArray[np.float32] = (1 - update) * new + update * state
        return stepped


def _sigmoid(value: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)), dtype=np.float32)


@lru_cache(maxsize=1)
def load_g2p() -> GraphemeToPhoneme:
    """The network with the installed package's weights.

    Raises:
        MissingExtraError: ``g2p-en`` is not installed.
    """
    found = importlib.util.find_spec("g2p_en")
    if found is None or found.origin is None:
        raise MissingExtraError("g2p-en", "align", "the pronunciation of words outside the dictionary")
    with np.load(Path(found.origin).with_name("checkpoint20.npz")) as arrays:
        return GraphemeToPhoneme({name: arrays[name] for name in arrays.files})
