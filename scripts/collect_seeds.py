"""Collect the measurements of all training seeds into the tables that are committed with the package.

    python scripts/collect_seeds.py --analysis runs/queen runs/queen-seed2 --probes runs/probes --training runs/training

writes ``src/speechstrata/experiments/data/tiny/seeds.csv.gz``, ``probes.csv``, ``probe_weights.csv``, ``residual.csv``;
a table whose folders are not given stays as it is. Models are recognised by their packaged name or by the recipe in
their training folder; others are named: ``--named runs/x/model=b5-a:2``.
"""

import argparse
from pathlib import Path

from speechstrata.experiments.cells import SCALES
from speechstrata.experiments.collect import collect
from speechstrata.experiments.score_tables import write_folder
from speechstrata.report.runs import read_run

DATA = Path(__file__).parents[1] / "src" / "speechstrata" / "experiments" / "data"


def parse_named(texts: list[str]) -> dict[str, tuple[str, int]]:
    named = {}
    for text in texts:
        model, _, place = text.rpartition("=")
        cell, _, seed = place.partition(":")
        named[model] = (cell, int(seed))
    return named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--analysis", nargs="*", default=[], help="run folders of `analyze`")
    parser.add_argument("--parts", nargs="*", default=[], help="run folders on parts, by speakers, of --whole's corpus")
    parser.add_argument("--whole", help="run folder on the corpus that --parts are parts of")
    parser.add_argument("--probes", nargs="*", default=[], help="folders of `superb train`, or folders of them")
    parser.add_argument("--training", nargs="*", default=[], help="folders of `pretrain` of both residual variants")
    parser.add_argument("--named", nargs="*", default=[], metavar="MODEL=CELL:SEED")
    parser.add_argument("--output", type=Path, help="folder; by default the package's own")
    given = parser.parse_args()
    parts = {}
    if given.parts:
        if not given.whole:
            parser.error("--parts needs --whole")
        whole = read_run(given.whole).corpus.fingerprint
        parts = dict.fromkeys(map(Path, given.parts), whole)
    named = parse_named(given.named)
    tables = collect(given.scale, given.analysis, given.probes, given.training, named, parts)
    for path in write_folder(tables, given.output or DATA / given.scale):
        print(path)


if __name__ == "__main__":
    main()
