"""The costs: counted from the configuration as torch counts them while running, and measured."""

import csv
import json
import sys
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import HubertConfig, HubertModel

from speechstrata.errors import EncoderError, InputError
from speechstrata.mrhubert import cost
from speechstrata.mrhubert.config import ConvLayer, NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.cost import CostRow, measure_cost
from speechstrata.mrhubert.cost_figure import cost_figure, shares
from speechstrata.mrhubert.cost_report import print_cost, write_cost
from speechstrata.mrhubert.cost_worker import Session, _Memory
from speechstrata.mrhubert.flops import counted_macs
from speechstrata.mrhubert.macs import head_costs, parameter_count, part_costs
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.named import NAMED

SMALL = NetworkConfig(
    layers=(2, 1, 1),
    dim=48,
    ffn_dim=80,
    heads=3,
    positional_kernel=16,
    positional_groups=4,
    conv_layers=(ConvLayer(24, 10, 5), *[ConvLayer(24, 3, 2)] * 4, *[ConvLayer(24, 2, 2)] * 2),
    classes=(24,),
    final_dim=16,
    layerdrop=0.0,
)
SHAPES = {
    "two resolutions": SMALL,
    "one": replace(SMALL, layers=(3,), ratios=()),
    "three": replace(SMALL, layers=(1, 1, 2, 1, 1), ratios=((1, 2), (1, 2))),
    "the same": replace(SMALL, ratios=((1, 1),)),
    "the same, plain": replace(SMALL, ratios=((1, 1),), sampling="plain"),
    "two thirds": replace(SMALL, ratios=((2, 3),)),
    "two thirds, plain, before": replace(SMALL, ratios=((2, 3),), sampling="plain", residual="pre"),
    "upwards": replace(SMALL, ratios=((3, 2),)),
    "plain": replace(SMALL, sampling="plain"),
    "wide sampling": replace(SMALL, sampling_kernel=7),
    "even sampling": replace(SMALL, sampling_kernel=4, layers=(1, 1, 1, 1, 1), ratios=((1, 2), (1, 3))),
    "before": replace(SMALL, residual="pre", layers=(1, 1, 2, 1, 1), ratios=((1, 2), (1, 2))),
    "large style": replace(SMALL, layer_norm_first=True, extractor="layer_norm", conv_bias=True, normalize=True),
    "odd positions": replace(SMALL, positional_kernel=9),
    "no projection": replace(SMALL, dim=24),
    "log mel": replace(SMALL, extractor="log_mel", mel_bins=30),
    "one head": replace(SMALL, auxiliary_heads=False),
    "two streams": replace(SMALL, classes=(24, 40), label_rates=(50.0, 25.0)),
}


def total(parts):
    return sum(part.macs for part in parts)


@pytest.mark.parametrize("samples", [400, 5000, 16161, 33333])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_macs_of_a_network_are_those_that_torch_counts(shape, samples):
    network = SHAPES[shape]
    samples = max(samples, network.receptive_field)
    model = MRHubertModel(MRHubertConfig(network=network)).eval()
    with torch.no_grad():
        counted = counted_macs(lambda: model(torch.randn(1, samples)))
    assert total(part_costs(network, samples)) == counted


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_those_of_the_module(shape):
    with torch.device("meta"):
        module = MRHubertForPreTraining(MRHubertConfig(network=SHAPES[shape]))
    assert parameter_count(SHAPES[shape]) == module.model.num_parameters()
    assert parameter_count(SHAPES[shape], heads=True) == module.num_parameters()


def test_hubert_base_has_the_size_and_the_products_of_transformers_hubert():
    with torch.device("meta"):
        theirs = HubertModel(HubertConfig(attn_implementation="sdpa")).eval()
    assert parameter_count(NAMED["hubert-base"]) == theirs.num_parameters() == 94_371_712
    small = HubertConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=80,
        conv_dim=(24,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    theirs = HubertModel(small).eval()
    with torch.no_grad():
        counted = counted_macs(lambda: theirs(torch.randn(1, 16161)))
    frames, channels, kernel = (16161 - 10) // 5 + 1, 24, 10
    statistics = (frames + channels) * kernel**2  # ours takes GroupNorm's statistics from a matrix product
    assert total(part_costs(SHAPES["one"], 16161)) == counted + statistics


@pytest.mark.parametrize("shape", ["two resolutions", "one", "two streams", "one head", "log mel"])
def test_the_heads_cost_what_the_objective_adds(shape):
    network = SHAPES[shape]
    model = MRHubertForPreTraining(MRHubertConfig(network=network)).eval()
    samples, frames = 16000, 49
    mask = (torch.arange(50) % 3 == 0)[None]
    targets = [torch.zeros(1, 60, dtype=torch.long) for _ in network.classes]
    output = None

    def run():
        nonlocal output
        output = model(torch.randn(1, samples), [samples], mask, targets)

    with torch.no_grad():
        counted = counted_macs(run)
    masked = {index: int(score.count) for index, score in enumerate(output.heads)}
    assert masked[0] in (17, frames // 3 + 1)
    assert counted == total(part_costs(network, samples)) + total(head_costs(network, masked))


@given(st.floats(1, 20))
def test_downsampling_saves_more_the_longer_the_utterance(seconds):
    def saved(samples):
        low, high = (total(part_costs(NAMED[name], samples)) for name in ("mrhubert-base", "b5-a"))
        return 1 - low / high

    samples = int(16000 * seconds)
    assert 0.08 < saved(samples) < saved(8 * samples) < 0.5


def test_only_attention_grows_with_the_square_of_the_length():
    def macs(operation, samples):
        return sum(part.macs for part in part_costs(NAMED["b2-a"], samples) if part.operation == operation)

    second, ten = 16000 * 4 + 80, 16000 * 40 + 80  # whole numbers of 80 ms frames
    for operation in ("convolution", "linear", "sampling"):
        assert macs(operation, ten) == pytest.approx(10 * macs(operation, second), rel=0.01)
    assert macs("attention", ten) == pytest.approx(100 * macs("attention", second), rel=0.02)


def test_an_utterance_too_short_for_a_frame_is_refused():
    with pytest.raises(InputError, match=r"399 samples.*400"):
        part_costs(NAMED["tiny"], 399)


def test_the_operators_that_torchs_counter_leaves_out_are_counted():
    left, right, into = torch.ones(3, 5), torch.ones(5, 7), torch.ones(3, 7)
    assert counted_macs(lambda: into.addmm_(left, right)) == 3 * 5 * 7
    query, key, value = (torch.ones(2, 4, frames, 8, requires_grad=True) for frames in (6, 9, 9))
    scores = 2 * 4 * 6 * 9 * 8
    assert counted_macs(lambda: F.scaled_dot_product_attention(query, key, value)) == 2 * scores
    assert counted_macs(lambda: F.scaled_dot_product_attention(query, key, value).sum().backward()) == 7 * scores
    grouped = torch.nn.Conv1d(8, 12, 3, groups=4)
    frames = torch.ones(2, 8, 10, requires_grad=True)
    forward = 2 * 8 * 12 * 2 * 3  # batch, frames out, channels out, channels in of a group, kernel
    assert counted_macs(lambda: grouped(frames)) == forward
    assert counted_macs(lambda: grouped(frames).sum().backward()) == 3 * forward
    assert counted_macs(lambda: grouped(frames.detach()).sum().backward()) == 2 * forward
    turned = torch.nn.ConvTranspose1d(8, 12, 3, groups=4, stride=2)
    assert counted_macs(lambda: turned(frames).sum().backward()) == 3 * 2 * 10 * 8 * 3 * 3
    linear = torch.nn.Linear(5, 7)
    assert counted_macs(lambda: linear(left)) == 3 * 5 * 7


def session(model="tiny", mode="inference", device="cpu"):
    return Session({"model": model, "mode": mode, "device": device, "threads": 1})


def test_a_named_configuration_is_ready_with_random_weights():
    loaded = session()
    assert loaded.facts["parameters"] == parameter_count(NAMED["tiny"])
    assert loaded.facts["sample_rate"] == 16000
    assert NetworkConfig.from_dict(json.loads(json.dumps(loaded.facts["network"]))) == NAMED["tiny"]
    timed = loaded.answer("time", 0.5)
    assert timed["wall"] > 0
    assert timed["cpu"] > 0
    assert loaded.answer("count", 0.5)["macs"] == total(part_costs(NAMED["tiny"], 8000))


def test_a_training_step_does_about_three_times_the_products():
    training = session(mode="training")
    assert training.facts["parameters"] == parameter_count(NAMED["tiny"], heads=True)
    forward = total(part_costs(NAMED["tiny"], 4 * 16000))
    assert 2.8 * forward < training.answer("count", 4.0)["macs"] < 3.3 * forward


def test_another_encoder_is_counted_while_it_runs_and_has_no_training_step():
    loaded = session("fbank")
    assert loaded.facts["network"] is None
    assert loaded.answer("count", 1.0)["macs"] > 0
    assert session("fbank", "training").facts == {"skipped": True}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="cuda"):
        session(device="cuda")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_peak_memory_is_that_of_the_run_alone():
    torch.ones(60_000_000).sum()  # 240 MB, before
    memory = _Memory(torch.device("cpu"))
    assert memory.source == "resident set"
    memory.start()
    assert 98e6 <= memory.peak_of(lambda: torch.ones(25_000_000).sum()) < 115e6
    assert memory.peak_of(lambda: None) < 15e6


def row(model="tiny", mode="inference", seconds=2.0, **changes):
    network = NAMED[model]
    parts = part_costs(network, round(16000 * seconds)) if mode == "inference" else ()
    values = {
        "model": model,
        "mode": mode,
        "seconds": seconds,
        "sample_rate": 16000,
        "parameters": parameter_count(network),
        "macs": total(parts) or 123_000_000,
        "mac_source": "configuration",
        "latency": 0.2,
        "latency_range": (0.1, 0.3),
        "cpu_seconds": 0.15,
        "peak_bytes": 30_000_000,
        "memory_source": "resident set",
        "device": "cpu",
        "threads": 1,
        "repeats": 3,
        "parts": parts,
    }
    return CostRow(**(values | changes))


ROWS = [
    row(model, mode, seconds, cpu_seconds=0.1 * index)
    for index, model in enumerate(("tiny", "tiny-3res", "tiny-hubert"), 1)
    for mode in ("inference", "training")
    for seconds in (1.0, 5.0)
]


@pytest.mark.parametrize("name", NAMED)
def test_the_shares_of_the_resolutions_add_up(name):
    measured = row(name)
    parts = shares(measured)
    assert sum(share.macs_per_second for share in parts) == pytest.approx(measured.macs_per_second)
    assert sum(share.parameters for share in parts) == measured.parameters
    strides = {part.stride for part in measured.parts if isinstance(part.stride, Fraction)}
    assert len(parts) == 1 + len(strides) + bool(NAMED[name].ratios)


def test_tables_compare_with_the_first_model(capsys):
    console = Console(width=140, file=sys.stdout)
    print_cost(ROWS, console)
    printed = capsys.readouterr().out
    for text in ("80 ms", "encoder0", "up1", "inference on cpu, 1 thread", "training on cpu", "0.300 ×3.00"):
        assert text in printed
    ratio = row("tiny-hubert", seconds=5.0).macs / row("tiny", seconds=5.0).macs
    assert f"×{ratio:.2f}" in printed


def test_files_hold_every_number(tmp_path):
    write_cost(ROWS, tmp_path)
    with (tmp_path / "cost.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [(record["model"], record["mode"], float(record["seconds"])) for record in records] == [
        (measured.model, measured.mode, measured.seconds) for measured in ROWS
    ]
    assert [int(record["macs"]) for record in records] == [measured.macs for measured in ROWS]
    with (tmp_path / "parts.csv").open() as file:
        parts = list(csv.DictReader(file))
    assert sum(int(part["macs"]) for part in parts) == sum(total(measured.parts) for measured in ROWS)
    assert {part["resolution_ms"] for part in parts} == {"", "20.0", "40.0", "80.0"}
    kept = json.loads((tmp_path / "cost.json").read_text())
    assert len(kept["rows"]) == len(ROWS)
    assert kept["machine"]["torch"] == torch.__version__
    assert (tmp_path / "cost.pdf").stat().st_size > 0
    assert (tmp_path / "cost.png").stat().st_size > 0


def test_the_figure_shows_every_model_and_what_was_measured():
    figure = cost_figure(ROWS)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert len(titles) == 6
    lines = figure.axes[2].get_lines()
    assert [line.get_label() for line in lines] == ["tiny", "tiny-3res", "tiny-hubert"]
    assert list(lines[2].get_ydata()) == pytest.approx([0.3, 0.06])  # CPU seconds per second of audio
    assert len(cost_figure([measured for measured in ROWS if measured.mode == "inference"]).axes) == 4


def test_nonsense_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(cost, "CostProcess", lambda *_: pytest.fail("a process was started"))
    for models, changes, message in [
        ([], {}, "no model"),
        (["tiny"], {"seconds": (0.0,)}, "0 seconds"),
        (["tiny"], {"seconds": ()}, "no length"),
        (["tiny"], {"threads": 0}, "threads"),
        (["tiny"], {"repeats": 0}, "repeats"),
        (["tiny"], {"training": True, "training_seconds": (1e6,)}, "1e\\+06 seconds"),
    ]:
        with pytest.raises(InputError, match=message):
            measure_cost(models, **changes)


class Scripted:
    """Stands for a measuring process; each of its runs takes longer than the one before."""

    asked: ClassVar[list[tuple[str, str, float]]] = []

    def __init__(self, model, mode, device, threads):
        self.model, self.mode = model, mode
        network = NAMED["tiny"].to_dict() if model == "tiny" else None
        self.facts = {"sample_rate": 16000, "parameters": 5, "network": network}
        if network is None and mode == "training":
            self.facts = {"skipped": True}
        self.runs = 0

    def ask(self, what, seconds):
        self.asked.append((self.model, what, seconds))
        if self.model == "dies" and seconds > 1:
            raise EncoderError("it died")
        self.runs += what == "time"
        answers = {
            "peak": {"peak_bytes": 10, "memory_source": "resident set"},
            "time": {"wall": 2.0 * self.runs, "cpu": 1.0 * self.runs},
            "count": {"macs": 77},
        }
        return answers[what]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(cost, "CostProcess", Scripted)
    monkeypatch.setattr(Scripted, "asked", [])
    return Scripted


def test_models_take_turns_and_rows_hold_median_and_least(scripted, capsys):
    rows = measure_cost(["tiny", "other"], seconds=(1.0,), training=True, training_seconds=(2.0,), repeats=3)
    timed = [model for model, what, seconds in scripted.asked if what == "time" and seconds == 1.0]
    assert timed == ["tiny", "other"] * 3
    assert [(measured.model, measured.mode) for measured in rows] == [
        ("tiny", "inference"),
        ("other", "inference"),
        ("tiny", "training"),
    ]
    tiny, other, training = rows
    assert (tiny.latency, tiny.latency_range, tiny.cpu_seconds) == (4.0, (2.0, 6.0), 1.0)
    assert (tiny.macs, tiny.mac_source) == (total(part_costs(NAMED["tiny"], 16000)), "configuration")
    assert (other.macs, other.mac_source, other.parts) == (77, "counted", ())
    assert training.mac_source == "counted"
    assert "other: no training step" in capsys.readouterr().err


def test_a_model_that_dies_loses_none_of_the_shorter_lengths(scripted, tmp_path):
    with pytest.raises(EncoderError, match="it died"):
        measure_cost(["tiny", "dies"], seconds=(2.0, 1.0), output=tmp_path)
    with (tmp_path / "cost.csv").open() as file:
        records = [(record["model"], float(record["seconds"])) for record in csv.DictReader(file)]
    assert records == [("tiny", 1.0), ("dies", 1.0)]


def test_a_process_that_dies_is_reported_with_its_last_words(monkeypatch, tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho the roof fell in >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(EncoderError, match=r"tiny.*code 3.*the roof fell in"):
        measure_cost(["tiny"], seconds=(1.0,))


@pytest.mark.slow
def test_real_processes_measure_and_say_what_they_cannot_load(tmp_path):
    rows = measure_cost(["tiny", "fbank"], seconds=(0.5, 4.0), training=True, training_seconds=(4.0,), repeats=1)
    assert [(measured.model, measured.mode, measured.seconds) for measured in rows] == [
        ("tiny", "inference", 0.5),
        ("fbank", "inference", 0.5),
        ("tiny", "inference", 4.0),
        ("fbank", "inference", 4.0),
        ("tiny", "training", 4.0),
    ]
    assert all(measured.latency > 0 and measured.macs > 0 for measured in rows)
    _, _, inference, _, training = rows
    gradients = 4 * training.parameters
    assert training.peak_bytes > gradients + inference.peak_bytes
    with pytest.raises(EncoderError, match=r"missing\.pt"):
        measure_cost([str(tmp_path / "missing.pt")], seconds=(0.5,))
