"""The part of any run's origin that does not depend on what it computed: versions, machine, command."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from speechstrata import __version__

#: Packages whose versions can move a number.
_TRACED_PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "faiss-cpu",
    "lhotse",
    "soundfile",
    "soxr",
    "av",
    "polars",
)


def provenance(seeds: Sequence[int]) -> dict[str, Any]:
    """The part of a run's origin that does not depend on what was analysed."""
    packages = {}
    for name in _TRACED_PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "speechstrata": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["speechstrata", *sys.argv[1:]]),
        "packages": packages,
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        },
        "seeds": list(seeds),
    }
