"""The page of a reproduction: findings and their evidence, cost beside quality, layer weights, tables, figures, curves.

``write_paper_page(Path("runs/paper"))`` writes ``runs/paper/index.html`` from the folder alone (``docs/reproduce.md``).
"""

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.files import read_json, write_text
from speechstrata.report.page import page_data, render_data
from speechstrata.report.paper_cost import cost_points, qualities
from speechstrata.report.paper_data import FIGURE_TITLES, PaperData, read_paper
from speechstrata.report.paper_weights import weights_of

_TABLES = {
    "table1": "Table 1. The models",
    "table2": "Table 2. Downstream tasks",
    "table3": "Table 3. Where the residual is added",
}
_PICTURE_WIDTH = 1300  # pixels, within the page


def write_paper_page(output: Path) -> Path:
    """Write ``index.html`` of a reproduction and return it.

    Args:
        output: its folder. Figures are put into the page as ``figures/*.png`` has them; those that are not there are
            left out.

    Raises:
        InputError: a file of the folder is missing or broken.
    """
    output = Path(output)
    data = read_paper(output)
    page = page_data(data.merged, data.summary)
    hidden = {cell.label for cell in data.cells if cell.large}
    for model in page["models"]:
        if model["label"] in hidden or model["control_of"] in hidden:
            model["shown"] = False
    page["paper"] = paper_data(data)
    file = output / "index.html"
    write_text(file, render_data(page, f"The paper, made again: its findings at the scale “{data.scale}”"))
    return file


def paper_data(data: PaperData) -> dict[str, Any]:
    """What the page says of a reproduction, as JSON-serialisable values."""
    config = read_json(data.folder / "config.json")
    remarks, maps = _maps(data)
    return {
        "scale": data.scale,
        "design": data.findings["design"],
        "findings": data.findings["findings"],
        "claims": data.findings["claims"],
        "cost": {"points": cost_points(data), "qualities": qualities(data)},
        "weights": maps,
        "weight_remarks": remarks,
        "tables": _tables(data),
        "figures": [_picture(file) for file in _pictures(data.folder / "figures")],
        "config": config,
        "command": _command(config, data.folder),
    }


def _command(config: Any, folder: Path) -> str:
    """The command line that the configuration stands for."""
    words = ["speechstrata", "reproduce"]
    options = config.get("reproduce", {}) if isinstance(config, Mapping) else {}
    for field in fields(ReproduceConfig):
        value = options.get(field.name, field.default)
        if value == field.default or (field.name == "training_set" and not value):
            continue
        words.append(f"--{field.name.replace('_', '-')}")
        if isinstance(value, list):
            words += map(str, value)
        elif field.name not in ("probes", "from_scratch"):  # these two are switches
            words.append(str(value).lower() if isinstance(value, bool) else str(value))
    corpora = config.get("corpora", []) if isinstance(config, Mapping) else []
    if corpora:
        words += ["--corpus", *map(str, corpora)]
    return shlex.join([*words, "--output", str(folder)])


def _maps(data: PaperData) -> tuple[list[str], list[dict[str, Any]]]:
    """The layer weights of each cell, tasks across; the paper's own as maps of their own."""
    tasks = list(TASKS)
    cells = [cell.name for cell in data.cells]
    table, remarks = weights_of(data, cells, tasks, published=True)
    maps = []
    for (cell, source), own in table.group_by("cell", "source", maintain_order=True):
        here = source == "here"
        shown = [task for task in tasks if task in set(own["task"])]
        maps.append(
            {
                "model": next(each.label for each in data.cells if each.name == cell),
                "source": source,
                "published": not here,
                "probes": _probes(own["seed"].n_unique()) if here else "",
                "tasks": shown,
                "layers": _layers(own, shown, here),
            }
        )
    return remarks, [each for each in maps if not each["published"]] + [each for each in maps if each["published"]]


def _probes(count: int) -> str:
    return "1 probe a task" if count == 1 else f"{count} probes a task"


def _layers(own: pl.DataFrame, tasks: Sequence[str], here: bool) -> list[dict[str, Any]]:
    layers = own.sort("index").unique("layer", keep="first", maintain_order=True)
    columns = ("weight", "weight_times_norm") if here else ("weight",)
    result = []
    for name, stride in layers.select("layer", "stride_ms").rows():
        cells: dict[str, Any] = {"name": name, "stride_ms": stride, "weight": None, "weight_times_norm": None}
        for column in columns:
            cells[column] = []
            for task in tasks:
                values = own.filter((pl.col("layer") == name) & (pl.col("task") == task))[column].to_list()
                cells[column].append(
                    {"mean": sum(values) / len(values), "low": min(values), "high": max(values), "n": len(values)}
                    if values
                    else None
                )
        result.append(cells)
    return result


def _tables(data: PaperData) -> list[dict[str, Any]]:
    from speechstrata.experiments.paper_tables import PUBLISHED, table_1, table_2, table_3

    tables = (
        table_1(data.scale, data.cost), table_2(data.scale, data.probes), table_3(data.scale, data.residual)
    )  # fmt: skip
    return [
        {
            "title": _TABLES[table.name],
            "caption": table.caption,
            "heads": table.heads,
            "groups": [
                {"title": title, "rows": rows, "published": PUBLISHED in title.lower()} for title, rows in table.rows
            ],
        }
        for table in tables
    ]


def _pictures(folder: Path) -> list[Path]:
    """The figures in the paper's order, those of a replication after all others."""
    order = list(FIGURE_TITLES)

    def place(file: Path) -> tuple[bool, int, str]:
        name = _figure_of(file.stem)
        return (file.stem != name, order.index(name) if name in order else len(order), file.stem)

    return sorted(folder.glob("figure-*.png"), key=place)


def _figure_of(stem: str) -> str:
    """The figure that a file shows: ``figure-2a`` of ``figure-2a-<corpus>``; "" for one that is none of the paper's."""
    return max((name for name in FIGURE_TITLES if stem == name or stem.startswith(f"{name}-")), key=len, default="")


def _picture(file: Path) -> dict[str, Any]:
    """A figure within the page: smaller, and with 256 colours.

    By the octree, which keeps the colours of thin lines; the median cut mixes them with what there is more of.
    """
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if picture.width > _PICTURE_WIDTH:
        height = round(picture.height * _PICTURE_WIDTH / picture.width)
        picture = picture.resize((_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG", optimize=True)
    title = _title(file.stem)
    return {
        "name": file.stem,
        "title": title,
        "alt": f"{title}. The numbers are in figures/{file.stem}.csv",
        "width": picture.width,
        "height": picture.height,
        "image": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
    }


def _title(stem: str) -> str:
    name = _figure_of(stem)
    corpus = stem.removeprefix(name).removeprefix("-")
    return FIGURE_TITLES[name] + (f", {corpus}" if corpus else "") if name else stem
