"""The page: one HTML file that needs no network, with the curves, the tables and where they come from.

Everything that comes from a run enters the page as JSON and is shown as text; a content security policy with
the hashes of the page's own scripts keeps anything else from running.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata import __version__
from speechstrata.files import write_text
from speechstrata.report.axes import places, transformer_count
from speechstrata.report.glossary import CONTROLS, VARIANTS, entry, score_order, variant_order, variant_title
from speechstrata.report.merge import Merged, Subject
from speechstrata.report.style import look
from speechstrata.report.tables import SPREAD

_SCRIPTS = ("data.js", "charts.js", "tables.js", "findings.js", "paper.js", "main.js")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
#: Columns of the summary that the page needs; ``place`` is added.
_COLUMNS = (
    "setting", "model", "step", "layer", "index", "kind", "tap", "stride_ms", "score", "unit", "variant", "reference",
    "mean", "low", "high", "sets", "seeds", "n", "n_high", "classes", "classes_high", "k", "k_high", "nats",
    "baseline", "warning",
)  # fmt: skip
_DIGITS = 5


def write_page(merged: Merged, summary: pl.DataFrame, figures: Sequence[Path], file: Path) -> Path:
    """Write the page for a summary (see ``tables.summarize``) to ``file`` and return it.

    Args:
        merged: the runs.
        summary: their points.
        figures: the PNG files beside the page, in ``figures/``, to be linked.
        file: usually ``index.html``.
    """
    write_text(file, render_page(merged, summary, figures))
    return file


def render_page(merged: Merged, summary: pl.DataFrame, figures: Sequence[Path] = ()) -> str:
    """The whole page as a string."""
    return render_data(page_data(merged, summary, figures), _heading(merged))


def render_data(data: Mapping[str, Any], heading: str) -> str:
    """The page of what :func:`page_data` gives, and maybe of a reproduction under ``paper`` (see ``paper_page``)."""
    from plotly.offline import get_plotlyjs

    scripts = {
        "plotly": _inline_script(get_plotlyjs()),
        "js": _inline_script("\n".join(_asset(name) for name in _SCRIPTS)),
    }
    parts = {
        **scripts,
        "policy": _policy(scripts.values()),
        "css": _asset("page.css"),
        "title": escape(f"{heading} — speechstrata"),
        "heading": escape(heading),
        "version": escape(__version__),
        "data": _inline_json(data),
    }
    # one pass over the template: text that is put in is never searched for placeholders
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], _asset("page.html"))


def page_data(merged: Merged, summary: pl.DataFrame, figures: Sequence[Path] = ()) -> dict[str, Any]:
    """What the page's scripts read, as JSON-serialisable values."""
    scores = sorted(summary["score"].unique(), key=score_order)
    units = {
        name: " and ".join(summary.filter(pl.col("score") == name)["unit"].unique(maintain_order=True))
        for name in scores
    }
    variants = sorted(summary["variant"].unique(), key=variant_order)
    drawn = set(summary["model"].unique())
    return {
        "settings": [
            {
                "key": setting.key,
                "title": setting.title,
                "corpus": asdict(setting.corpus),
                "protocol": {"name": setting.protocol.name, "text": setting.protocol.text},
            }
            for setting in merged.settings
        ],
        "models": [_model(subject) for subject in merged.subjects if subject.label in drawn],
        "scores": [asdict(entry(name)) | {"unit": units[name]} for name in scores],
        "variants": [
            {
                "name": name,
                "title": variant_title(name),
                "text": VARIANTS[name][1] if name in VARIANTS else "A variant of your own.",
                "control": variant_title(name).startswith("control: "),
            }
            for name in variants
        ],
        "controls": CONTROLS,
        "spread": SPREAD,
        "points": _points(merged, summary),
        "problems": [{"run": run, **asdict(problem)} for run, problem in merged.problems],
        "runs": [
            {
                "name": run.path.name,
                "created": run.created,
                "config": run.config,
                "provenance": run.provenance,
            }
            for run in merged.runs
        ],
        "figures": [file.stem for file in figures],
        "paper": None,
    }


def _model(subject: Subject) -> dict[str, Any]:
    style = look(subject)
    kinds = {layer.kind for layer in subject.info.layers}
    return {
        "label": subject.label,
        "control": subject.is_control,
        "control_of": subject.control_of,
        "shown": not subject.info.supervision.startswith("averaged"),
        "supervision": subject.info.supervision,
        "colour": style.colour,
        "dark": style.dark,
        "symbol": style.symbol,
        "steps": subject.steps,
        "layers": [layer.name for layer in subject.info.layers],
        "single": len(subject.info.layers) == 1,
        "shallow": "transformer" not in kinds,
        "transformers": transformer_count(subject),
    }


def _points(merged: Merged, summary: pl.DataFrame) -> dict[str, Any]:
    """The summary as columns, rounded to what can be read, and each point's place on a depth axis."""
    where = {(subject.label, layer): place for subject in merged.subjects for layer, place in places(subject).items()}
    columns: dict[str, Any] = {}
    for name in _COLUMNS:
        column = summary[name]
        if column.dtype == pl.Float64:
            columns[name] = [None if value is None else round(value, _DIGITS) for value in column]
        elif column.dtype == pl.String:
            columns[name] = _encoded(column)
        else:
            columns[name] = column.to_list()
    keys = summary.select("model", "layer", "depth").rows()
    columns["place"] = [round(where.get((model, layer), depth), _DIGITS) for model, layer, depth in keys]
    return columns


def _encoded(column: pl.Series) -> dict[str, list[Any]]:
    """A column of few different texts as those texts and, for each row, which one it is."""
    texts = column.unique(maintain_order=True).to_list()
    codes = {text: code for code, text in enumerate(texts)}
    return {"texts": texts, "codes": [codes[text] for text in column]}


def _heading(merged: Merged) -> str:
    encoders = [subject.label for subject in merged.subjects if not subject.is_control]
    corpora = list(dict.fromkeys(setting.corpus.name for setting in merged.settings))
    if 1 <= len(encoders) <= 3:
        what = ", ".join(encoders)
    else:
        what = f"{len(encoders)} encoders" if encoders else "Controls"
    return f"{what}, layer by layer, on {' and '.join(corpora)}"


def _asset(name: str) -> str:
    return resources.files("speechstrata.report").joinpath("assets", name).read_text(encoding="utf-8")


def _inline_script(script: str) -> str:
    """A script that cannot end its own element early, whatever its strings hold."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _inline_json(value: Mapping[str, Any]) -> str:
    """JSON that holds no ``<``: names with markup in them stay text. NaN, which JSON lacks, becomes null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _policy(scripts: Any) -> str:
    """Only the page's own scripts run, and nothing is fetched from anywhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
