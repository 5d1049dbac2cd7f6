"""Reading the labels that a probe corpus carries on its cuts."""

from typing import Any

from lhotse.cut import Cut

from speechstrata.errors import CorpusError


def only_supervision(cut: Cut) -> Any:
    """The supervision of a cut that has one.

    Raises:
        CorpusError: it has none, or several.
    """
    if len(cut.supervisions) != 1:
        raise CorpusError(
            f"the utterance {cut.id} has {len(cut.supervisions)} supervisions; this task needs one", "mend the corpus"
        )
    return cut.supervisions[0]


def custom_label(cut: Cut, name: str, kind: type) -> Any:
    """The supervision's custom field of that name.

    Raises:
        CorpusError: it is missing, empty, or not a ``kind``.
    """
    value = (only_supervision(cut).custom or {}).get(name)
    if not isinstance(value, kind) or not value:
        raise CorpusError(f"the utterance {cut.id} has no {name!r} ({value!r})", "make the probe corpus again")
    return value
