import json
import os
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch

from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.parted_moments import PartedMoments
from speechstrata.analysis.shards import is_shard_folder
from speechstrata.analysis.suite import analyze
from speechstrata.errors import InputError
from speechstrata.sharding import Shard, parse_shard
from tests.analysis.speech import make_corpus, make_encoder

CONFIG = AnalysisConfig(
    scores=("cca-mel", "cca-intra", "cka-mel", "cca-phone", "cca-word", "mi-phone", "probe-phone", "spoken-sts"),
    layers=("conv6", "T0", "T2"),
    sample_sets=2,
    min_words_per_type=3,
    mi_clusters_phone=6,
    mi_clusters_word=8,
)
#: Small batches, so that every shard has some.
BATCH_SECONDS = 8.0


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the processes of torchrun: with other threads, float32 states differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    corpus = make_corpus(folder / "tones", utterances=60, broken=(7,))
    sts = folder / "sts"
    sts.mkdir()
    names = sorted(path.name for path in corpus.parent.glob("*.wav") if "07" not in path.name)[:8]
    (sts / "recordings.tsv").write_text(
        "sentence\tspeaker\taudio\n" + "".join(f"s{i // 2}\tx{i}\t{corpus.parent / n}\n" for i, n in enumerate(names))
    )
    (sts / "pairs.tsv").write_text("sentence_a\tsentence_b\tscore\ns0\ts1\t1\ns0\ts2\t2.5\ns1\ts3\t4\ns2\ts3\t0\n")
    encoder = make_encoder(folder / "encoder")
    return Inputs(models=(str(encoder),), corpus=str(corpus), controls=("fbank",), sts=str(sts))


def run(inputs, output, shard="", config=CONFIG, batch_seconds=BATCH_SECONDS):
    return analyze(inputs, config, ComputeConfig(shard=shard, batch_seconds=batch_seconds, score_workers=1), output)


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    return run(inputs, tmp_path_factory.mktemp("whole"))


def assert_same_scores(first, second, tolerance=1e-9):
    one, two = (pl.read_parquet(folder / "scores.parquet") for folder in (first, second))
    exact = [name for name, kind in one.schema.items() if kind != pl.Float64]
    assert one.select(exact).equals(two.select(exact))
    for name in ("value", "nats", "baseline"):
        np.testing.assert_allclose(
            one[name].to_numpy().astype(float), two[name].to_numpy().astype(float), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_taken_together_give_the_scores_of_one_process(inputs, whole, tmp_path, count):
    for index in reversed(range(count)):
        left = run(inputs, tmp_path / "run", f"{index}/{count}")
        assert is_shard_folder(left)
        assert not (left / "scores.parquet").exists()
    merged = run(inputs, tmp_path / "run")
    assert_same_scores(whole, merged)
    assert (merged / "problems.jsonl").read_text() == (whole / "problems.jsonl").read_text()
    assert json.loads((merged / "problems.jsonl").read_text())["where"] == "utterance-07"
    assert not (merged / "shards").exists()


def test_more_shards_than_batches_are_harmless(inputs, whole, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"layers": ("T2",), "scores": ("cca-mel", "cca-word")}))
    for index in range(5):
        run(inputs, tmp_path / "run", f"{index}/5", config, batch_seconds=60.0)
    merged = run(inputs, tmp_path / "run", config=config, batch_seconds=60.0)
    assert_same_scores(run(inputs, tmp_path / "one", config=config, batch_seconds=60.0), merged)


def test_what_is_missing_or_of_other_options_is_said_and_never_merged(inputs, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"layers": ("T2",), "scores": ("cca-mel", "cca-word")}))
    output = tmp_path / "run"
    run(inputs, output, "1/2", config)
    with pytest.raises(InputError, match="lacks shard 0/2"):
        run(inputs, output, config=config)
    run(inputs, output, "0/2", config)
    with pytest.raises(InputError, match="has not finished"):
        run(inputs, output, config=config, batch_seconds=16.0)  # other batches: other shares
    rows = next((output / "shards" / "0-of-2").rglob("T2.word.npy"))
    good = rows.read_bytes()
    rows.write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"T2\.word\.npy"):
        run(inputs, output, config=config)
    frames = next((output / "shards" / "1-of-2").rglob("frames-1.npz"))
    rows.write_bytes(good)
    frames.write_bytes(frames.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"frames-1\.npz"):
        run(inputs, output, config=config)
    shutil.rmtree(output / "shards" / "1-of-2")
    run(inputs, output, "1/2", config)
    run(inputs, output, "0/2", config)  # finished: nothing is run again
    assert_same_scores(run(inputs, tmp_path / "one", config=config), run(inputs, output, config=config))
    run(inputs, output, "0/3", config)
    (output / "shards" / "0-of-2").mkdir()
    with pytest.raises(InputError, match=r"shards of \[2, 3\]"):
        run(inputs, output, config=config)


@pytest.mark.slow
def test_torchrun_shares_out_and_merges_by_itself(inputs, whole, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    options = {name: value for name, value in CONFIG.__dict__.items() if value != getattr(AnalysisConfig(), name)}
    arguments = ["-m", "speechstrata.cli", "analyze", *inputs.models, "--corpus", inputs.corpus, "--control", "fbank"]
    arguments += ["--sts", str(inputs.sts), "--shard", "auto", "--output", str(tmp_path / "run")]
    arguments += ["--batch_seconds", str(BATCH_SECONDS)]
    for name, value in options.items():
        arguments += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_scores(whole, tmp_path / "run")
    assert (tmp_path / "run" / "index.html").exists()


def test_statistics_of_parts_add_up_whatever_their_references():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)) + 50
    y = x[:, :3] + rng.standard_normal((500, 3))
    x[250:] += 30  # the second half has another mean, and so another reference
    parts = rng.integers(4, size=500)

    def statistics(rows):
        views = PartedMoments(3, n_parts=4), PartedMoments(6, {"y": 3}, n_parts=4)
        views[0].update(y[rows], parts[rows])
        views[1].update(x[rows], parts[rows], {"y": y[rows]})
        return views

    whole_y, whole_x = statistics(slice(None))
    merged_y, merged_x = PartedMoments(3, n_parts=4), PartedMoments(6, {"y": 3}, n_parts=4)
    for rows in (slice(250, None), slice(0, 0), slice(0, 250)):
        part_y, part_x = statistics(rows)
        merged_y.absorb(part_y.state_dict())
        merged_x.absorb(part_x.state_dict())
    for one, two, part in zip(whole_x.moments("y", whole_y), merged_x.moments("y", merged_y), range(4), strict=True):
        chosen = parts == part
        assert two.n == chosen.sum()
        centred_x, centred_y = (v[chosen] - v[chosen].mean(axis=0) for v in (x, y))
        for name, direct in (("xx", centred_x.T @ centred_x), ("xy", centred_x.T @ centred_y)):
            np.testing.assert_allclose(getattr(two, f"scatter_{name}"), direct, rtol=1e-10, atol=1e-7)
        np.testing.assert_allclose(two.scatter_yy, one.scatter_yy, rtol=1e-10)
        np.testing.assert_allclose(two.mean_x, x[chosen].mean(axis=0), rtol=1e-12)
    with pytest.raises(InputError, match="other views"):
        merged_x.absorb(PartedMoments(6, {"z": 3}, n_parts=4).state_dict() or part_y.state_dict())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "a", "MASTER_PORT": "1", "LOCAL_RANK": "1"},
            Shard(5, 8, together=True, local=1),
        ),
        (
            {
                f"SLURM_ARRAY_TASK_{name}": str(value)
                for name, value in (("ID", 3), ("MIN", 1), ("MAX", 4), ("COUNT", 4))
            },
            Shard(2, 4),
        ),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Shard(1, 2)),
    ],
)
def test_shards_by_what_started_them(environment, expected):
    assert parse_shard("auto", environment) == expected


def test_shards_by_hand():
    assert parse_shard("") is None
    assert parse_shard("3/4") == Shard(3, 4)
    assert Shard(1, 3).of(range(8)) == range(1, 8, 3)
    assert Shard(0, 2, local=1).device("cuda") == "cuda:1"
    assert Shard(0, 2, local=1).device("cpu") == "cpu"
    for text in ("4/4", "1", "-1/4", "a/b", "0/0", "1/4/2", "0/9999999"):
        with pytest.raises(InputError, match="is no shard"):
            parse_shard(text)
    gaps = {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "4"}
    with pytest.raises(InputError, match="without gaps"):
        parse_shard("auto", gaps | {"SLURM_ARRAY_TASK_COUNT": "3"})
    with pytest.raises(InputError, match="neither"):
        parse_shard("auto", {})
