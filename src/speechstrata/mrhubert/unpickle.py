"""Read a PyTorch checkpoint without running anything that it says.

A checkpoint is a pickle: a program that may call any function it names. Here every name is looked up in a
short list, and what is not on it is refused. Classes of training toolkits become inert :class:`Record`
objects; tensors become :class:`StoredTensor` objects whose bytes are read only when wanted (so an
optimizer's state never is). Both of torch's formats are read: the zip archive, and the older plain stream.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from speechstrata.errors import CheckpointError

_LARGEST_PICKLE = 1 << 27
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
#: Classes and functions of these packages become inert records; nothing of them is imported or called.
_RECORDED = ("fairseq", "omegaconf", "hydra", "argparse", "s3prl", "numpy", "examples")


class Record:
    """An object of a class that is not loaded: its class's name, its arguments and its state, as data."""

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name, self.args = name, args
        self.state: Any = None
        self.items: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Keep what the pickle appends, should the class be a list."""
        self.items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file: its shape is known, its numbers are read by :meth:`load`."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    read: Callable[[_Storage], bytes]

    def load(self, name: str) -> Tensor:
        """The tensor, contiguous, in the file's type.

        Args:
            name: its key, for messages.

        Raises:
            CheckpointError: its shape does not fit its bytes, or the bytes are not there.
        """
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.storage.dtype)
        if last >= self.storage.count or math.prod(self.shape) > self.storage.count:
            raise CheckpointError(
                f"the checkpoint's tensor {name} of shape {self.shape} reaches past its stored numbers",
                "fetch the file again; it is damaged",
            )
        data = bytearray(self.read(self.storage))
        if len(data) != self.storage.count * self.storage.dtype.itemsize:
            raise CheckpointError(f"the checkpoint's tensor {name} is cut short", "fetch the file again; it is damaged")
        values = torch.frombuffer(data, dtype=self.storage.dtype)
        return values.as_strided(self.shape, self.strides, self.offset).clone()


def read_checkpoint(path: Path | str) -> Any:
    """The content of a checkpoint as plain containers, numbers, :class:`Record` and :class:`StoredTensor`.

    Raises:
        CheckpointError: the file is missing, damaged, not a checkpoint, or names something that is not allowed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(path) if zipped else _read_legacy(path, file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.remedy) from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}", "check the path") from error
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint ({type(error).__name__}: {str(error)[:100]})",
            "fetch the file again; it is damaged or not a checkpoint",
        ) from error


def _read_zip(path: Path) -> Any:
    archive = zipfile.ZipFile(path)  # open as long as there is a tensor that may be read
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("the archive holds no data.pkl", "give a file that torch.save wrote")
    root = pickles[0].removesuffix("data.pkl")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise CheckpointError("the archive is compressed, which torch never does", "save it with torch")
    if entries[pickles[0]].file_size > _LARGEST_PICKLE:
        raise CheckpointError("its pickle is too large", "give a file that torch.save wrote")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError("its numbers are big-endian", "save it on a little-endian machine")

    def read(storage: _Storage) -> bytes:
        entry = entries.get(f"{root}data/{storage.key}")
        if entry is None or entry.file_size != storage.count * storage.dtype.itemsize:
            return b""
        try:
            return archive.read(entry)
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError):  # or a damaged name, or encrypted
            return b""

    return _Reader(io.BytesIO(archive.read(pickles[0])), read).load()


def _read_legacy(path: Path, file: BinaryIO) -> Any:
    def refuse(_: _Storage) -> bytes:
        return b""

    if _Reader(file, refuse).load() != _LEGACY_MAGIC:
        raise CheckpointError("it is not a PyTorch checkpoint", "give a .pt file that torch.save wrote")
    _Reader(file, refuse).load()  # protocol
    system = _Reader(file, refuse).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError("its numbers are big-endian", "save it on a little-endian machine")
    places: dict[str, int] = {}

    def read(storage: _Storage) -> bytes:
        if storage.key not in places:
            return b""
        with path.open("rb") as again:
            again.seek(places[storage.key])
            return again.read(storage.count * storage.dtype.itemsize)

    reader = _Reader(file, read)
    content = reader.load()
    for key in _Reader(file, refuse).load():
        known = reader.storages.get(key)
        header = file.read(8)
        if known is None or len(header) != 8 or struct.unpack("<q", header)[0] != known.count:
            raise CheckpointError("its stored numbers are cut short", "fetch the file again; it is damaged")
        places[key] = file.tell()
        file.seek(known.count * known.dtype.itemsize, io.SEEK_CUR)
    return content


class _Call:
    """A function on the allow-list, as an object that a pickle cannot alter."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise CheckpointError("the pickle tries to alter a function", "do not trust this file")


# The Python unpickler, not the C one: a single opcode makes the C one take memory for 2**32 entries.
class _Reader(pickle._Unpickler):
    def __init__(self, file: BinaryIO, read: Callable[[_Storage], bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self._read_storage = read
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # the name that Python 2 had for it
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _Call(self._tensor)
        if module == "torch._utils" and name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return _Call(lambda data, *_: data)
        if (module, name) == ("torch", "Size"):
            return _Call(tuple)
        if (module, name) == ("torch", "device"):
            return _Call(lambda *args: ":".join(map(str, args)))
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("collections", "defaultdict"):
            return _Call(lambda *_: defaultdict())
        if module == "builtins" and name in _BUILTINS:
            return _BUILTINS[name]
        if (module, name) == ("typing", "Any"):
            return None
        if module == "_codecs" and name == "encode":
            return _Call(lambda text, *_: str(text).encode("latin-1"))
        if module.split(".")[0] in _RECORDED:
            return _record_class(f"{module}.{name}")
        raise CheckpointError(f"the pickle names {module}.{name}, which no checkpoint needs", "do not trust this file")

    def persistent_load(self, reference: Any) -> _Storage:
        kind, dtype, key, _, count, *view = reference
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(count, int) or count < 0:
            raise CheckpointError("the pickle refers to something that is not a tensor", "do not trust this file")
        if view and view[0] is not None:
            raise CheckpointError("its tensors are views in a very old format", "save it again with torch >= 1.6")
        storage = _Storage(str(key), dtype, count)
        self.storages[storage.key] = storage
        return storage

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(isinstance(value, int) and value >= 0 for value in numbers):
            raise CheckpointError("the pickle describes a tensor that cannot be", "do not trust this file")
        return StoredTensor(storage, offset, tuple(shape), tuple(strides), self._read_storage)


_BUILTINS: dict[str, Any] = {
    "dict": dict,
    "list": list,
    "set": set,
    "tuple": tuple,
    "int": int,
    "long": int,
    "float": float,
    "str": str,
    "unicode": str,
    "bool": bool,
    "complex": complex,
}


def _record_class(name: str) -> Any:
    """A class whose objects are records of ``name``, however the pickle makes them."""

    def make(cls: type, *args: Any) -> Record:
        return Record(name, args)

    return type("Recorded", (), {"__new__": make, "__slots__": ()})


def plain(value: Any, depth: int = 0) -> Any:
    """Records of configurations (DictConfig, ListConfig, Namespace, enumerations) as dicts, lists and values."""
    if depth > 32:
        raise CheckpointError("the checkpoint's configuration is nested too deeply", "do not trust this file")
    if isinstance(value, Record):
        state: dict[Any, Any] = value.state if isinstance(value.state, dict) else {}
        for key in ("_content", "_val"):  # omegaconf's containers and nodes
            if key in state:
                return plain(state[key], depth + 1)
        if state:
            return {str(name): plain(item, depth + 1) for name, item in state.items()}
        return plain(value.args[0], depth + 1) if value.args else None
    if isinstance(value, dict):
        return {str(plain(key, depth + 1)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    return value
