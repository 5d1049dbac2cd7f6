import copy

import numpy as np
import pytest
import torch

from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.networks import WordEmbedder, embed_spoken, embed_written, spellings

RNG = np.random.default_rng(0)
FRAMES = [RNG.standard_normal((length, 39)).astype(np.float32) for length in (2, 31, 7, 12, 50)]
SPELT = [tuple(word) for word in ("a", "babble", "cab", "abc")]


@pytest.fixture(params=["gru", "lstm"])
def model(request):
    torch.manual_seed(0)
    config = AgweConfig(dim=10, hidden=12, symbol_dim=5, cell=request.param, stack=3, text_layers=2)
    model = WordEmbedder("abcle", config)
    model.fit_scale(FRAMES)
    return model


def test_embeddings_are_the_same_alone_and_in_any_batch(model):
    for embed, items in ((embed_spoken, FRAMES), (embed_written, SPELT)):
        together = embed(model, items)
        alone = np.concatenate([embed(model, [item]) for item in items])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        np.testing.assert_allclose(embed(model, items, batch=2), alone, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_frames_are_standardised_by_what_was_fitted(model):
    every = np.concatenate(FRAMES)
    np.testing.assert_allclose(model.mean.numpy(), every.mean(axis=0), atol=1e-5)
    moved = copy.deepcopy(model)
    scaled = [3 * segment + 2 for segment in FRAMES]
    moved.fit_scale(scaled)
    np.testing.assert_allclose(embed_spoken(moved, scaled), embed_spoken(model, FRAMES), atol=1e-4)


def test_a_step_that_is_not_full_repeats_the_last_frame(model):
    seven = FRAMES[2]
    filled = np.concatenate([seven, seven[-1:], seven[-1:]])
    np.testing.assert_allclose(embed_spoken(model, [seven]), embed_spoken(model, [filled]), atol=1e-6)


def test_the_end_of_a_word_matters_as_its_beginning_does(model):
    words = embed_written(model, [tuple("cab"), tuple("cac"), tuple("bab")])
    assert (words[:2] * words[1:]).sum(axis=1).max() < 1 - 1e-4


def test_unknown_symbols_are_not_known(model):
    assert model.knows("cable")
    assert not model.knows("cabin")
    assert not model.knows(())
    with pytest.raises(KeyError):
        embed_written(model, [tuple("cabin")])


def test_words_are_spelt_in_characters_or_in_phones():
    assert spellings(["it's", "a"], None) == {"it's": ("i", "t", "'", "s"), "a": ("a",)}
    assert spellings(["cat", "dog"], {"cat": ("K", "AE", "T")}) == {"cat": ("K", "AE", "T")}
