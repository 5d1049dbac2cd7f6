"""A trained pair of encoders on disk, and the vectors of written words that they give."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.networks import WordEmbedder, embed_written, spellings
from speechstrata.agwe.segments import pronunciations, vocabulary
from speechstrata.errors import InputError
from speechstrata.files import atomic_path, read_json, write_json

_NETWORK, _WEIGHTS = "network.json", "model.safetensors"


def save_model(model: WordEmbedder, config: AgweConfig, folder: Path) -> None:
    """Write ``network.json`` and ``model.safetensors``."""
    from safetensors.torch import save

    write_json(folder / _NETWORK, {"config": asdict(config), "symbols": list(model.symbols)})
    with atomic_path(folder / _WEIGHTS) as partial:
        partial.write_bytes(save({name: value.contiguous() for name, value in model.state_dict().items()}))


def load_model(folder: Path | str) -> tuple[WordEmbedder, AgweConfig]:
    """The encoders of a run folder.

    Raises:
        InputError: it holds none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    described = read_json(folder / _NETWORK)
    try:
        config = AgweConfig(**described["config"])
        with torch.random.fork_rng(devices=[]):
            model = WordEmbedder(described["symbols"], config)
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder} holds no trained word encoders: {error}", "give the run folder of a finished 'agwe train'"
        ) from error
    return model, config


def write_vectors(model: WordEmbedder, spelt: Mapping[str, tuple[str, ...]], path: Path, *, half: bool = False) -> int:
    """Write the embeddings of written words as ``.npz`` with ``words`` and ``vectors``; gives how many.

    Words with a symbol that the model does not know are left out.

    Args:
        model: the encoders.
        spelt: word -> its symbols.
        path: of the file.
        half: write half precision, which halves the file.

    Raises:
        InputError: the model knows the symbols of none of them.
    """
    words = [word for word, symbols in spelt.items() if model.knows(symbols)]
    if not words:
        raise InputError(
            f"the model knows the symbols of none of {len(spelt)} words", "give words of the language it was trained on"
        )
    vectors: NDArray[np.floating] = embed_written(model, [spelt[word] for word in words])
    with atomic_path(path) as partial:
        np.savez_compressed(partial, words=np.array(words), vectors=vectors.astype(np.float16) if half else vectors)
    return len(words)


def embed_words(folder: Path | str, sources: list[str], output: Path, *, half: bool = False) -> tuple[int, int]:
    """The vectors of the words of corpora and word lists, by a trained model: how many of how many.

    Args:
        folder: a finished run.
        sources: corpora (by name, folder or manifest) and ``.txt`` files with a word a line. A model of phones takes
            them from a corpus's alignments, so it cannot read word lists.
        output: an ``.npz`` file.
        half: in half precision.

    Raises:
        InputError: a word list for a model of phones, or nothing that it can spell.
        CorpusError: a corpus cannot be read.
    """
    from speechstrata.corpora.corpus import load_corpus

    model, config = load_model(folder)
    spelt: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.endswith(".txt"):
            if config.symbols == "phones":
                raise InputError(f"{source} has no phones, and {folder} spells words in phones", "give a corpus")
            try:
                lines = Path(source).read_text(encoding="utf-8").splitlines()
            except OSError as error:
                raise InputError(f"cannot read {source}: {error.strerror}", "give a word a line") from error
            found = spellings((line.strip().lower() for line in lines if line.strip()), None)
        else:
            cuts = list(load_corpus(source).cuts)
            found = spellings(vocabulary(cuts), pronunciations(cuts) if config.symbols == "phones" else None)
        spelt = found | spelt
    return write_vectors(model, dict(sorted(spelt.items())), output, half=half), len(spelt)
