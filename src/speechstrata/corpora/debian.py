"""Files out of a Debian package, without Debian's tools; and fetching one where there is apt."""

import io
import lzma
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

from speechstrata.errors import CorpusError

_MAGIC = b"!<arch>\n"


def read_from_package(package: Path, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """The files of a ``.deb`` whose paths end with one of ``suffixes``: suffix -> bytes.

    Raises:
        CorpusError: not a Debian package, compressed in a way that Python cannot read, or a file is missing.
    """
    data = package.read_bytes()
    if not data.startswith(_MAGIC):
        raise CorpusError(f"{package} is not a Debian package", "give the .deb file")
    found: dict[str, bytes] = {}
    offset = len(_MAGIC)
    while offset + 60 <= len(data):  # an ar archive: 60-byte headers, each followed by its file, padded to 2
        name = data[offset : offset + 16].decode("latin-1").strip().rstrip("/")
        length = data[offset + 48 : offset + 58].strip()
        if not length.isdigit():
            raise CorpusError(f"{package} is damaged: {name!r} has the length {length!r}", "fetch it again")
        size = int(length)
        offset += 60
        if name.startswith("data.tar"):
            found |= _from_tar(package, data[offset : offset + size], suffixes)
        offset += size + size % 2
    missing = [suffix for suffix in suffixes if suffix not in found]
    if missing:
        raise CorpusError(f"{package} has no file {missing[0]}", "is it the right package?")
    return found


def _from_tar(package: Path, data: bytes, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                suffix = next((suffix for suffix in suffixes if member.name.endswith(suffix)), None)
                if suffix is not None and member.isfile():
                    file = archive.extractfile(member)
                    found[suffix] = file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        remedy = "unpack it with 'dpkg-deb -x' and give the folder"
        raise CorpusError(f"{package} cannot be unpacked: {error}", remedy) from error
    return found


def fetch_package(name: str, folder: Path) -> Path:
    """Fetch a package with ``apt-get download`` into ``folder``.

    Raises:
        CorpusError: there is no apt here, or it cannot get the package.
    """
    remedy = f"fetch the package {name} of Debian (packages.debian.org/{name}) and give its .deb file"
    if shutil.which("apt-get") is None:
        raise CorpusError(f"there is no apt-get here to fetch {name}", remedy)
    folder.mkdir(parents=True, exist_ok=True)
    run = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True, check=False)
    packages = sorted(folder.glob(f"{name}_*.deb"))
    if run.returncode != 0 or not packages:
        lines = run.stderr.strip().splitlines() or ["no reason given"]
        raise CorpusError(f"apt-get cannot download {name}: {lines[-1]}", remedy)
    return packages[-1]
