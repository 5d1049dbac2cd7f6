"""Word vectors out of gensim's files, without gensim and without running what a file says.

``KeyedVectors.save`` writes a pickle: a program that may call any function it names, in files beside it too. Here
classes become inert objects, and nothing but numpy's own arrays is made.
"""

import pickle
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_KEYED_VECTORS = ("KeyedVectors", "Word2VecKeyedVectors", "EuclideanKeyedVectors", "FastTextKeyedVectors", "Vocab")
_LONGEST_WORD = 1000


class _Inert:
    """An object of a class that is not loaded: its state, as data."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# The Python unpickler, not the C one: a single opcode makes the C one take memory for 2**32 entries.
class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("gensim.models.") and name in _KEYED_VECTORS:
            return _Inert
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return getattr(np, name)
        raise ValueError(f"it names {module}.{name}, which no word vectors need: do not trust it")


def read_keyed_vectors(path: Path, wanted: Set[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The wanted words and their vectors of a file that ``KeyedVectors.save`` (or a model's ``wv.save``) wrote.

    Raises:
        ValueError: it is no such file.
    """
    with path.open("rb") as file:
        content = _Reader(file).load()
    state = content.state if isinstance(content, _Inert) else None
    if not isinstance(state, dict):
        raise ValueError("it holds no KeyedVectors")
    words = state.get("index_to_key", state.get("index2word"))
    vectors = state.get("vectors", state.get("syn0"))
    if vectors is None:
        beside = path.with_name(f"{path.name}.vectors.npy")
        if not beside.is_file():
            raise ValueError(f"its vectors are in {beside.name}, which is not there")
        vectors = np.load(beside, mmap_mode="r", allow_pickle=False)
    if not isinstance(words, list) or not isinstance(vectors, np.ndarray) or len(words) != len(vectors):
        raise ValueError("its words and vectors do not fit together")
    for word, vector in zip(words, vectors, strict=True):
        if word in wanted:
            yield word, np.asarray(vector)


def read_word2vec(path: Path, wanted: Set[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The wanted words and their vectors of a binary word2vec file: a header, then each word, a space, its float32s.

    Raises:
        ValueError: it is no such file, or is cut short.
    """
    with path.open("rb") as file:
        count, dimensions = (int(number) for number in file.readline(100).split())
        if not 1 <= dimensions <= 100_000 or count < 0:
            raise ValueError(f"its header tells of {count} vectors of {dimensions} numbers")
        for number in range(count):
            word = _word(file)
            data = file.read(4 * dimensions)
            if len(data) != 4 * dimensions:
                raise ValueError(f"it ends at vector {number + 1} of {count}")
            if word in wanted:
                yield word, np.frombuffer(data, dtype="<f4")


def _word(file: IO[bytes]) -> str:
    letters = bytearray()
    while (letter := file.read(1)) != b" ":
        if not letter or len(letters) > _LONGEST_WORD:
            raise ValueError("it is cut short, or no word2vec file")
        if letter != b"\n":  # some writers end a vector with one
            letters += letter
    return letters.decode("utf-8", errors="replace")
