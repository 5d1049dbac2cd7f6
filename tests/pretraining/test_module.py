"""The training step: the published updates, and a division that does not care how a step is shared out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader

from speechstrata.errors import InputError
from speechstrata.mrhubert.checkpoints import open_model
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.config import PretrainConfig
from speechstrata.pretraining.curves import CurveLogger, read_curve
from speechstrata.pretraining.dataset import Batch
from speechstrata.pretraining.module import (
    PretrainingModule,
    build_model,
    head_weights,
    output_sums,
    weighted_loss,
)
from speechstrata.pretraining.recipes import config_from
from speechstrata.pretraining.strategies import accelerator, choose_strategy

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "pretraining/published.json").read_text())["adam"]
NO_NOISE = {"dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0, "layerdrop": 0.0}


def published_batch(name: str) -> Batch:
    """Two utterances, cut to the shorter one's 15,520 samples."""
    with np.load(DATA / "mrhubert/waveforms.npz") as stored:
        waves = torch.stack([torch.from_numpy(stored[key]).flatten()[:15_520] for key in ("a", "b")])
    with np.load(DATA / "mrhubert/train.npz") as stored:
        mask = torch.from_numpy(stored[f"{name}/crop/mask_indices"])
        units = torch.from_numpy(stored[f"{name}/crop/target0"].astype(np.int64)) - 4
    return Batch(waves, (15_520, 15_520), mask, (units,), 0, ())


def trained(
    module: PretrainingModule, batches: list[Batch], folder: Path, accumulate: int = 1, plugins: Any = None
) -> list[dict[str, float]]:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=module.config.optimizer.steps,
        accumulate_grad_batches=accumulate,
        logger=[CurveLogger(folder, 0)],
        plugins=plugins,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return read_curve(folder / "train.csv")


def settings(steps: int, rate: float, **optimizer: Any) -> PretrainConfig:
    optimizer |= {"steps": steps, "warmup_steps": 0, "learning_rate": rate, "end_learning_rate": rate}
    return config_from({"model": {"name": "tiny"}, "optimizer": optimizer, "run": {"log_every": 1}}, "test")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_four_updates_follow_the_published_ones(name: str, tmp_path: Path) -> None:
    golden = PUBLISHED[name]
    original = open_model(DATA / f"mrhubert/ckpt/{name}.pt")
    network = replace(original.network, padding="reference", mask_carry="reference", **NO_NOISE)
    module = PretrainingModule(settings(4, golden["lr"]), network, tmp_path)
    module.model.load_state_dict(original.state_dict())
    rows = trained(module, [published_batch(name)] * 4, tmp_path)
    for number, (row, step) in enumerate(zip(rows, golden["steps"], strict=True)):
        # its Adam adds epsilon before the bias correction, torch's after it: equal until the first update
        tolerance = 2e-6 if number == 0 else 2e-3
        assert row["loss"] == pytest.approx(step["loss"] / step["sample_size"] / np.log(2), rel=tolerance)
        assert row["gradient_norm"] == pytest.approx(step["grad_norm"], rel=10 * tolerance)
    assert float(module.model.model.mask_embedding.norm()) == pytest.approx(golden["norms_after"]["mask_emb"], rel=1e-3)


def tiny(**changes: Any) -> NetworkConfig:
    small = {"layers": (1, 1, 1), "dim": 48, "ffn_dim": 96, "positional_groups": 4, "classes": (12,)}
    return replace(named_config("tiny"), **(small | NO_NOISE | changes))


def random_batch(network: NetworkConfig, rows: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    mels = torch.randn(rows, 120, network.mel_bins, generator=generator)
    mask = torch.rand(rows, 60, generator=generator) < 0.5
    units = torch.randint(0, 12, (rows, 60), generator=generator)
    return Batch(mels, (120,) * rows, mask, (units,), seed, ())


def test_rounds_of_accumulation_give_the_gradient_of_all_frames_at_once(tmp_path: Path) -> None:
    network = tiny(feature_penalty=10.0)
    batches = [random_batch(network, rows, seed) for rows, seed in [(1, 1), (5, 2), (2, 3)]]
    module = PretrainingModule(settings(1, 1e-12, clip_norm=0.0), network, tmp_path)
    reference = build_model(network, module.config.seed)
    outputs = [reference(b.inputs, b.lengths, b.mask, b.targets) for b in batches]
    frames = sum(int(output.sample_size) for output in outputs)
    (torch.stack([output.loss for output in outputs]).sum() / frames).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in reference.parameters() if p.grad is not None])
    row = trained(module, batches, tmp_path, accumulate=3)[0]
    assert row["gradient_norm"] == pytest.approx(float(norm), rel=1e-5)
    total = sum(float(output.loss.detach()) for output in outputs)
    assert row["loss"] == pytest.approx(total / frames / np.log(2), rel=1e-5)


def test_in_half_precision_the_gradient_is_clipped_at_its_own_scale(tmp_path: Path) -> None:
    """Lightning's loss scaling as on a GPU, of 65,536 at first: the norm and what is clipped are those of float32."""
    network, curves = tiny(), []
    for precision in ("fp32", "fp16"):
        config = config_from(
            {
                "model": {"name": "tiny"},
                "optimizer": {"steps": 3, "warmup_steps": 0, "learning_rate": 1e-3},
                "run": {"log_every": 1, "precision": precision},
            },
            "test",
        )
        scaler = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu")) if precision == "fp16" else None
        folder = tmp_path / precision
        folder.mkdir()
        batches = [random_batch(network, 3, seed) for seed in (1, 2, 3)]
        curves.append(trained(PretrainingModule(config, network, folder), batches, folder, plugins=scaler))
    for full, half in zip(*curves, strict=True):
        assert half["gradient_norm"] == pytest.approx(full["gradient_norm"], rel=0.05)
        assert half["loss"] == pytest.approx(full["loss"], rel=0.02)


def test_a_run_without_a_gpu_refuses_what_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**run: str) -> str:
        return accelerator(config_from({"model": {"name": "tiny"}, "run": run}, "test"))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert asked() == asked(accelerator="cpu") == "cpu"
    with pytest.raises(InputError, match="there is no GPU"):
        asked(accelerator="cuda")
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        asked(precision="fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert asked() == asked(precision="fp16") == "cuda"
    assert asked(accelerator="cpu") == "cpu"
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        asked(accelerator="cpu", precision="fp16")


def test_processes_expect_no_gradient_where_there_is_none() -> None:
    config = settings(1, 1e-3)
    waveforms = {"extractor": "default", "layerdrop": 0.0}
    for changes, missing in (
        ({}, False),
        ({"feature_grad_mult": 0.0}, True),
        ({"layerdrop": 0.1}, True),
        ({"extractor": "log_mel", "feature_grad_mult": 0.0}, False),
    ):
        strategy = choose_strategy(config, tiny(**(waveforms | changes)), world=2)
        assert strategy._ddp_kwargs["find_unused_parameters"] is missing


def test_per_resolution_averaging_gives_each_head_its_own_mean() -> None:
    network = tiny()
    config = settings(1, 1e-3, averaging="per_resolution")
    weights = head_weights(config, network)
    assert weights == (1.0, 2.0)
    assert head_weights(settings(1, 1e-3), network) is None
    batch = random_batch(network, 4, 5)
    mask = batch.mask.view(4, 30, 2)[..., :1].expand(4, 30, 2).reshape(4, 60)  # carried down without rounding
    output = build_model(network, 1)(batch.inputs, batch.lengths, mask, batch.targets)
    means: list[Tensor] = [head.cross_entropy / head.count for head in output.heads]
    loss = weighted_loss(output, weights) / output.sample_size
    torch.testing.assert_close(loss, torch.stack(means).sum())
    assert weighted_loss(output, None) is output.loss


def test_sums_keep_what_the_curves_need() -> None:
    network = tiny()
    batch = random_batch(network, 3, 7)
    model: MRHubertForPreTraining = build_model(network, 1)
    output = model(batch.inputs, batch.lengths, batch.mask, batch.targets, score_unmasked=True)
    sums = output_sums(output, output.loss)
    assert sums.dtype == torch.float64
    assert sums[1] == batch.mask.sum()
    assert sums[2 + 2] + sums[2 + 5] == 3 * 60
    assert len(sums) == 2 + 6 * 2


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_model(tiny(), 4).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, other = build_model(tiny(), 4).state_dict(), build_model(tiny(), 5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.projection.weight"], other["model.projection.weight"])
    assert isinstance(build_model(tiny(), 4).config, MRHubertConfig)
