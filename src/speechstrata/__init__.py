"""Train multi-resolution speech models and measure, layer by layer, what any speech encoder holds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechstrata.analysis.suite import analyze
    from speechstrata.corpora.corpus import load_corpus
    from speechstrata.encoders.loading import load_encoder

__version__ = "0.1.0"
__all__ = ["__version__", "analyze", "load_corpus", "load_encoder"]

_HOMES = {
    "analyze": "speechstrata.analysis.suite",
    "load_corpus": "speechstrata.corpora.corpus",
    "load_encoder": "speechstrata.encoders.loading",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import speechstrata`` itself imports nothing heavy."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
