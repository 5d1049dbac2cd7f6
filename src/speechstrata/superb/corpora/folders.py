"""Checks that a folder is the one that was asked for."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from speechstrata.errors import CorpusError
from speechstrata.files import read_text


def require(root: Path, names: Iterable[str], what: str) -> None:
    """Check that ``root`` has these files and folders.

    Raises:
        CorpusError: it has not; the message lists what is missing.
    """
    names = list(names)
    if not root.is_dir():
        raise CorpusError(f"there is no folder {root}", f"give the folder of {what}")
    if missing := [name for name in names if not (root / name).exists()]:
        raise CorpusError(
            f"{root} is not {what}: {', '.join(missing)} missing",
            f"give the folder that holds {', '.join(names)}",
        )


def read_rows(path: Path, columns: Iterable[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table with a header.

    Raises:
        CorpusError: it has not the columns.
        InputError: it cannot be read.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)), delimiter=delimiter)
    if missing := set(columns) - set(reader.fieldnames or ()):
        raise CorpusError(f"{path} has no column {', '.join(sorted(missing))}", "download it again")
    return list(reader)
