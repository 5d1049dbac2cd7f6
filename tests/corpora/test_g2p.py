import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from speechstrata.corpora.g2p import GraphemeToPhoneme, load_g2p
from speechstrata.errors import MissingExtraError

FOUND = importlib.util.find_spec("g2p_en")
needs_weights = pytest.mark.skipif(FOUND is None, reason="g2p-en is not installed (the extra 'align')")


def random_weights(seed: int, size: int = 16) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)

    def array(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape).astype(np.float32)

    weights = {"fc_w": array(74, size), "fc_b": array(74)}
    for part, symbols in (("enc", 29), ("dec", 74)):
        weights |= {f"{part}_emb": array(symbols, size)}
        weights |= {f"{part}_w_ih": array(3 * size, size), f"{part}_w_hh": array(3 * size, size)}
        weights |= {f"{part}_b_ih": array(3 * size), f"{part}_b_hh": array(3 * size)}
    return weights


def decode_with_torch(weights: dict[str, np.ndarray], word: str) -> list[int]:
    """The same network of torch's own GRU cells: the indices of the output symbols."""
    cells = {}
    for part in ("enc", "dec"):
        size = weights[f"{part}_w_hh"].shape[1]
        cell = torch.nn.GRUCell(weights[f"{part}_w_ih"].shape[1], size)
        for ours, theirs in (("w_ih", "weight_ih"), ("w_hh", "weight_hh"), ("b_ih", "bias_ih"), ("b_hh", "bias_hh")):
            getattr(cell, theirs).data = torch.tensor(weights[f"{part}_{ours}"])
        cells[part] = cell
    state = torch.zeros(1, size)
    symbols: list[int] = []
    with torch.no_grad():
        for letter in [*(ord(char) - ord("a") + 3 for char in word), 2]:
            state = cells["enc"](torch.tensor(weights["enc_emb"][letter])[None], state)
        symbol = 2
        while len(symbols) < 20:
            state = cells["dec"](torch.tensor(weights["dec_emb"][symbol])[None], state)
            symbol = int((torch.tensor(weights["fc_w"]) @ state[0] + torch.tensor(weights["fc_b"])).argmax())
            if symbol == 3:
                break
            symbols.append(symbol)
    return symbols


@pytest.mark.parametrize("seed", range(5))
def test_the_network_is_torchs_gru(seed):
    weights = random_weights(seed)
    predict = GraphemeToPhoneme(weights)
    for word in ("a", "asterisk", "zyzzyva"):
        expected = tuple(predict._symbols[symbol] for symbol in decode_with_torch(weights, word) if symbol > 3)
        assert predict(word) == expected


@needs_weights
def test_the_symbols_are_those_of_the_package():
    source = Path(FOUND.origin).with_name("g2p.py").read_text(encoding="utf-8")
    listed = source.split("self.phonemes = ")[1].split("self.g2idx")[0]
    assert tuple(eval(f"({listed})")) == load_g2p()._symbols


@needs_weights
@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("activationist", "AE2 K T IH0 V EY1 SH AH0 N IH0 S T"),  # the package's own example
        ("bluetooth", "B L UW1 T UW2 TH"),
        ("o'reilly", "AO1 R AH0 L IY0"),
    ],
)
def test_words_outside_the_dictionary_get_a_pronunciation(word, phones):
    assert " ".join(load_g2p()(word)) == phones


def test_without_the_package_the_remedy_is_named(monkeypatch):
    load_g2p.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"g2p-en.*align"):
        load_g2p()
