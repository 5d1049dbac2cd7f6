"""Tables and figures of probe runs, from their folders."""

from pathlib import Path

import polars as pl
import pytest

from speechstrata.errors import InputError
from speechstrata.files import write_json
from speechstrata.superb.figure import weights_figure, write_figure
from speechstrata.superb.results import (
    find_runs,
    metrics_table,
    read_weights,
    remarks,
    summary_table,
    weights_table,
)


def run(folder: Path, task: str, seed: int, metrics: dict[str, float], **more: object) -> None:
    layers = [
        {"name": f"T{n}", "stride_ms": 20.0 * (1 + n % 2), "weight": 0.25, "mean_norm": 2.0, "weight_times_norm": 0.25}
        for n in range(4)
    ]
    write_json(folder / "config.json", {})
    write_json(
        folder / "result.json",
        {
            "task": task, "model": "some/where/tiny/model", "corpus": "mini-x", "mini": True, "seed": seed,
            "budget": 1.0, "recipe": {"steps": 10, "learning_rate": 1e-3}, "best_step": 10, "dev": metrics,
            "test": {"test": metrics}, "layers": layers, "seconds": {"all": 1.0, "fit": 0.5}, **more,
        },
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, wer in enumerate((0.4, 0.5)):
        run(tmp_path / f"asr-{seed}", "asr", seed, {"wer": wer, "cer": 0.2})
    run(tmp_path / "ks-0", "ks", 0, {"accuracy": 0.9}, budget=0.5)
    return tmp_path


def test_the_table_has_means_and_spreads_in_the_units_of_the_field(folder: Path) -> None:
    text = summary_table(find_runs([folder]))
    assert "| tiny | 45.00 ± 7.07 | 20.00 ± 0.00 | 90.00 |" in text
    assert "not comparable with published SUPERB numbers" in text
    assert "0.5 of their recipe" in text


def test_tables_are_tidy(folder: Path) -> None:
    runs = find_runs([folder])
    assert metrics_table(runs).shape == (10, 14)
    assert weights_table(runs).shape == (12, 12)
    assert weights_table(runs)["layer"].unique().sort().to_list() == ["T0", "T1", "T2", "T3"]


def test_a_table_of_weights_says_what_its_runs_do(folder: Path) -> None:
    runs = find_runs([folder])
    weights_table(runs).write_csv(folder / "weights.csv")
    table, said = read_weights([folder / "weights.csv"])
    assert table.equals(weights_table(runs))
    assert said == remarks(runs)
    with pytest.raises(InputError, match="stands alone"):
        read_weights([folder / "weights.csv", folder])
    (folder / "other.csv").write_text("model,task\na,b\n")
    with pytest.raises(InputError, match="has no column corpus"):
        read_weights([folder / "other.csv"])


def test_a_sweep_counts_as_its_best_run(folder: Path) -> None:
    result = find_runs([folder / "asr-0"])[0].result
    for rate in ("1", "2"):
        run(folder / "sweep" / f"lr-{rate}", "asr", 0, {"wer": 0.1})
    write_json(folder / "sweep/result.json", result | {"sweep": {}})
    assert {found.folder.name for found in find_runs([folder])} == {"asr-0", "asr-1", "ks-0", "sweep"}
    assert any("Learning rates" in remark for remark in remarks(find_runs([folder])))


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished probe run"):
        find_runs([tmp_path])


def test_the_figure_is_written_as_pdf_and_png(folder: Path) -> None:
    runs = find_runs([folder])
    written = write_figure(weights_figure(weights_table(runs), "weight", remarks(runs)), folder / "figures/weights")
    assert [path.suffix for path in written] == [".pdf", ".png"]
    assert all(path.stat().st_size > 5_000 for path in written)


def test_maps_are_spread_evenly_and_nothing_covers_anything() -> None:
    """Long names and a narrow map: no heading reaches the next map, the bar of colours, or the title."""
    names = [
        "no auxiliary loss, no downsampling",
        "short",
        "MR-HuBERT-base\n(published)",
        "d",
        "a rather long one, too",
    ]
    table = pl.DataFrame(
        [
            {"model": name, "task": task, "index": index, "layer": f"T{index}", "stride_ms": 20.0, "weight": 0.25}
            for name in names
            for task in (("asr", "sf") if name == "d" else ("sf",))
            for index in range(4 + len(name) % 3)
        ]
    )
    figure = weights_figure(table, "weight", ["a remark"], "The title of the figure")
    figure.canvas.draw()
    maps, bar = figure.axes[:-1], figure.axes[-1]
    assert [len({round(axes.get_position().y0, 3) for axes in row}) for row in (maps[:3], maps[3:])] == [1, 1]
    assert [label.get_text() for label in maps[1].get_xticklabels()] == ["SF"]
    assert "".join(maps[0].get_title("left").split()) == "noauxiliaryloss,nodownsampling"
    boxes = [axes._left_title.get_window_extent() for axes in maps]
    boxes += [bar.get_tightbbox(), *(text.get_window_extent() for text in figure.texts)]
    assert not [(a, b) for at, a in enumerate(boxes) for b in boxes[:at] if a.overlaps(b)]
    assert all(box.x1 < figure.bbox.x1 and box.y1 < figure.bbox.y1 for box in boxes)
