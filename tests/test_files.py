import json

import pytest

from speechstrata.errors import InputError
from speechstrata.files import atomic_path, fingerprint, read_json, sha256_of_file, write_json


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "scores.json"
    write_json(target, {"value": 1})

    def write_half():
        with atomic_path(target) as partial:
            partial.write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_half()
    assert json.loads(target.read_text()) == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_the_partial_file_keeps_the_suffix_of_its_target(tmp_path):
    with atomic_path(tmp_path / "rows.npz") as partial:
        assert partial.suffix == ".npz"
        partial.write_bytes(b"rows")
    assert (tmp_path / "rows.npz").read_bytes() == b"rows"


def test_an_unwritable_folder_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(InputError, match="file"), atomic_path(blocker / "scores.json"):
        pass


def test_fingerprints_ignore_the_order_of_keys_but_not_the_values():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint([])) == 16


def test_reading_json_names_the_file_that_is_broken(tmp_path):
    broken = tmp_path / "config.json"
    broken.write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not valid JSON"):
        read_json(broken)
    with pytest.raises(InputError, match="cannot read"):
        read_json(tmp_path / "missing.json")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    file = tmp_path / "empty"
    file.touch()
    assert sha256_of_file(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
