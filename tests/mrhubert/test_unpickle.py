"""Reading a checkpoint executes nothing, and whatever is wrong with it is a CheckpointError."""

import argparse
import collections
import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.errors import CheckpointError
from speechstrata.mrhubert.expressions import parse_expression
from speechstrata.mrhubert.unpickle import Record, StoredTensor, plain, read_checkpoint


def loaded(value: Any) -> Any:
    """What ``read_checkpoint`` gives, with its tensors read."""
    if isinstance(value, StoredTensor):
        return value.load("x")
    if isinstance(value, dict):
        return {key: loaded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [loaded(item) for item in value]
    return value


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_and_containers_are_read(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "plain": base,
        "strided": base.t()[1:3],
        "shared": base[2],
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "int": torch.tensor([1, -2, 3]),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "ordered": collections.OrderedDict(a=1, b=[None, "text", (1.5, True)]),
    }
    path = tmp_path / "c.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = loaded(read_checkpoint(path))
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(read[name], value.data), name
            assert read[name].dtype == value.dtype
    assert read["ordered"] == {"a": 1, "b": [None, "text", [1.5, True]]}


def test_namespaces_become_dictionaries(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(arch="hubert", layers=[1, 2])}, tmp_path / "c.pt")
    assert plain(read_checkpoint(tmp_path / "c.pt")["args"]) == {"arch": "hubert", "layers": [1, 2]}


class Call:
    """Pickles to a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def archive(path: Path, program: bytes) -> Path:
    """A file like torch's, around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", program)
        file.writestr("archive/byteorder", "little")
    return path


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(os.system, "touch {victim}"), "posix.system|nt.system"),
        (Call(eval, "open('{victim}', 'w')"), "builtins.eval"),
        (Call(getattr, 1, "real"), "builtins.getattr"),
        (Call(Path.touch, Path("{victim}")), "getattr|Path|pathlib"),
        (Call(__import__, "os"), "builtins.__import__"),
        (Call(torch.load, "{victim}"), "torch.serialization.load"),
        (Call(io.open, "{victim}", "w"), "io.open|_io.open"),
        (Call(bytearray, 1 << 40), "builtins.bytearray"),
    ],
)
def test_a_hostile_pickle_is_refused_by_name_and_not_run(tmp_path: Path, call: Call, named: str) -> None:
    victim = tmp_path / "victim"
    function, args = call.call
    args = tuple(arg.format(victim=victim) if isinstance(arg, str) else arg for arg in args)
    args = tuple(victim if isinstance(arg, Path) else arg for arg in args)
    for protocol in (2, 4):
        path = archive(tmp_path / "h.pt", pickle.dumps({"model": Call(function, *args)}, protocol))
        with pytest.raises(CheckpointError, match=named):
            read_checkpoint(path)
    legacy = tmp_path / "legacy.pt"
    legacy.write_bytes(pickle.dumps(Call(function, *args), 2))
    with pytest.raises(CheckpointError, match=named):
        read_checkpoint(legacy)
    assert not victim.exists()


def test_toolkit_classes_are_recorded_not_imported(tmp_path: Path) -> None:
    program = b"\x80\x02cfairseq.evil\nrun\n(X\x05\x00\x00\x00helloK\x07tR}X\x01\x00\x00\x00aK\x01sb."
    record = read_checkpoint(archive(tmp_path / "r.pt", program))
    assert isinstance(record, Record)
    assert (record.name, record.args, record.state) == ("fairseq.evil.run", ("hello", 7), {"a": 1})


@pytest.mark.parametrize(
    "program",
    [
        # BUILD with attributes on an allowed function, and on an allowed class
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__K\x01sb.",
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        # a tensor whose storage is a number; one with negative strides
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00(K\x02t(K\x01tI00\n}tR.",
        # a memo index that would take 32 GiB; a byte string that is longer than the file; a stack underflow
        b"\x80\x02K\x01r\xff\xff\xff\xffh\x07.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fx.",
        b"\x80\x02R.",
        b"",
        b"\x80\x02",
        b"\x80\x09K\x01.",
        b"\x80\x02Q.",
    ],
)
def test_broken_programs_are_checkpoint_errors(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_checkpoint(archive(tmp_path / "b.pt", program))


def test_a_missing_file_a_text_file_and_another_zip(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="check the path"):
        read_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello\n")
    with pytest.raises(CheckpointError, match=r"text\.pt"):
        read_checkpoint(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as file:
        file.writestr("readme", "hello")
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        read_checkpoint(tmp_path / "other.pt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02N.")
        file.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(CheckpointError, match="compressed"):
        read_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_an_error(tmp_path: Path, zipped: bool, keep: float) -> None:
    path = tmp_path / "c.pt"
    torch.save({"model": {f"layer{i}": torch.randn(50, 50) for i in range(5)}}, path,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(CheckpointError):
        loaded(read_checkpoint(path))


def test_a_tensor_that_reaches_past_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save({"w": torch.ones(3, 5)}, path)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    program = next(name for name in entries if name.endswith("data.pkl"))
    assert entries[program].count(b"K\x03K\x05\x86") == 1
    entries[program] = entries[program].replace(b"K\x03K\x05\x86", b"K\x63K\x05\x86")
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"w of shape \(99, 5\) reaches past"):
        read_checkpoint(path)["w"].load("w")


def test_a_name_that_is_damaged_beside_its_content_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save({"w": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as file:
        start = next(entry.header_offset for entry in file.infolist() if entry.filename.endswith("data/0"))
    data = bytearray(path.read_bytes())
    data[start + 7] |= 8  # the local header says UTF-8
    data[start + 30] = 0xDA  # where this begins a character of two bytes
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="w is cut short"):
        read_checkpoint(path)["w"].load("w")


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_an_error(tmp_path_factory: pytest.TempPathFactory, program: bytes) -> None:
    path = archive(tmp_path_factory.getbasetemp() / "fuzz.pt", program)
    with suppress(CheckpointError):
        read_checkpoint(path)


def test_a_legacy_header_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    at = data.rindex(struct.pack("<q", 3))
    path.write_bytes(data[:at] + struct.pack("<q", 1 << 60) + data[at + 8 :])
    with pytest.raises(CheckpointError, match="cut short"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2),
        ("[3,2,2,2,3]", [3, 2, 2, 2, 3]),
        ("2 * [1] + [ 2*3 , -4+1 ]", [1, 1, 6, -3]),
        ("(1, 2) + (3,)", (1, 2, 3)),
        ("[]", []),
    ],
)
def test_expressions_have_pythons_value(text: str, value: object) -> None:
    assert parse_expression(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "[x for x in (1,)]", "1 ** 9", "[1] * 10**9", "[[1] * 500] * 2 * 500",
        "9999999", "2 * 999999", "'a' * 3", "[1] + (2,)", "[1] * [2]", "1.5", "True", "", "[1", "(" * 500, "f()",
        "1 if 1 else 2", "[1]" + " + [1]" * 600, "-[1]", "[*[1]]", "lambda: 1", "{1: 2}",
    ],
)  # fmt: skip
def test_other_expressions_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="was not read"):
        parse_expression(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_an_error(text: str) -> None:
    with suppress(CheckpointError):
        parse_expression(text)
