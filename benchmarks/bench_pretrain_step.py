"""One training step: ours, the published way, and the floor that matrix products set; and the pace of ``tiny``.

    python benchmarks/bench_pretrain_step.py              # appendix C's size: 4 x 10 s, 504 classes; minutes
    python benchmarks/bench_pretrain_step.py --model tiny # a log-mel model, 40 s of audio a step
    python benchmarks/bench_pretrain_step.py --profile    # where the time of our step goes

The published way is written out here from its description, on our model's own weights: channel-first convolutions,
attention as softmax of a matrix, and class logits by cosine similarity with every class expanded over every frame, for
masked and for unmasked frames. Both give the same loss and gradient, which is checked. The floor is the time of
as many multiplications in plain matrix products, at the rate that this machine has just shown.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from speechstrata.mrhubert.config import NetworkConfig, frontend_length
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.config import MaskingConfig
from speechstrata.pretraining.masking import batch_masks
from speechstrata.pretraining.module import build_model

RATE = 16_000
SCALE = 0.4**0.5


# The published way


def published_loss(model: MRHubertForPreTraining, waves: Tensor, mask: Tensor, units: Tensor, expand: bool) -> Tensor:
    """Summed loss of a batch of equal lengths, (batch, samples); ``expand`` False: logits by a matrix product."""
    config, core = model.network, model.model
    x = waves[:, None]
    for index, (convolution, norm) in enumerate(zip(core.front_end.convolutions, core.front_end.norms, strict=True)):
        x = F.conv1d(x, convolution.weight.permute(0, 2, 1), stride=convolution.stride)
        if index == 0:  # the "default" extractor
            x = F.group_norm(x, x.shape[1], norm.weight, norm.bias)
        x = F.gelu(x)
    penalty = x.float().square().mean()
    x = core.projection(core.feature_norm(x.transpose(1, 2)))
    x = F.dropout(x, config.input_dropout, model.training)
    x = torch.where(mask[..., None], core.mask_embedding, x)
    outputs: dict[str, Tensor] = {}
    for spec, block in zip(core.plan, core.blocks, strict=True):
        if spec.sampling is not None:
            x = resample(core.samplings[spec.sampling.name], x)
        source = x
        x = transformer_block(block, x)
        if spec.role == "middle":
            x = source + x
        elif spec.role == "decoder":
            x = x[:, : outputs[spec.skip].shape[1]] + outputs[spec.skip][:, : x.shape[1]]
        outputs[spec.name] = x
    loss = config.feature_penalty * penalty * mask.sum()
    for spec in core.plan:
        if spec.head is None:
            continue
        every = 2**spec.head
        at, labels = mask[:, ::every], units[:, ::every] + config.label_offset
        head = model.heads[spec.head]
        frames = outputs[spec.name]
        for chosen, weight in ((at, 1.0), (~at, 0.0)):
            projected = head.projection(frames[chosen])
            logits, target = class_logits(projected, head.classes, labels[chosen], head.temperature, expand)
            entropy = F.cross_entropy(logits, target, reduction="sum")
            if weight:  # that of unmasked frames is only logged
                loss = loss + entropy
    return loss


def class_logits(
    frames: Tensor, classes: Tensor, labels: Tensor, temperature: float, expand: bool
) -> tuple[Tensor, Tensor]:
    """Cosine similarities of the right class and all others: logits and the place of the right class."""
    if not expand:
        return F.normalize(frames.float(), dim=-1) @ F.normalize(classes.float(), dim=-1).t() / temperature, labels
    right = classes[labels]
    others = classes[:, None].expand(-1, len(frames), -1)
    same = (right == others).all(-1)
    candidates = torch.cat([right[None], others], dim=0)
    logits = F.cosine_similarity(frames.float(), candidates.float(), dim=-1).type_as(frames) / temperature
    if same.any():
        logits[1:][same] = float("-inf")
    return logits.t(), torch.zeros_like(labels)


def transformer_block(block: Any, x: Tensor) -> Tensor:
    """Post-LN layers with attention written out."""
    if block.positional is not None:
        conv = block.positional
        weight = conv.direction * (conv.gain / torch.linalg.vector_norm(conv.direction, dim=(0, 1)))
        embedded = F.conv1d(x.transpose(1, 2), weight, conv.bias, padding=weight.shape[-1] // 2, groups=conv.groups)
        x = x + F.gelu(embedded[..., : x.shape[1]]).transpose(1, 2)
    x = F.dropout(block.norm(x), block.dropout, block.training)
    for layer in block.layers:
        batch, frames, dim = x.shape
        query, key, value = layer.qkv(x).view(batch, frames, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = F.dropout(
            torch.softmax(scores.float(), dim=-1).type_as(scores), layer.attention_dropout, layer.training
        )
        attended = (weights @ value).transpose(1, 2).reshape(batch, frames, dim)
        x = layer.attention_norm(x + F.dropout(layer.out(attended), layer.dropout, layer.training))
        hidden = F.dropout(F.gelu(layer.ffn_in(x)), layer.activation_dropout, layer.training)
        x = layer.ffn_norm(x + F.dropout(layer.ffn_out(hidden), layer.dropout, layer.training))
    return x


def resample(module: Any, source: Tensor) -> Tensor:
    """A sampling module with kernel 1, channel-first: (batch, frames, dim) -> (batch, other frames, dim)."""
    first = source.transpose(1, 2)
    repeated = first.repeat_interleave(module.up, dim=2)
    x = F.conv_transpose1d(
        first, module.up_conv.weight.permute(2, 1, 0), stride=module.up, output_padding=module.up - 1
    )
    x = F.gelu(F.group_norm(x, 1, module.up_norm.weight, module.up_norm.bias))
    x = (x + repeated) * SCALE
    skip = x[:, :, :: module.down]
    x = F.conv1d(x, module.down_conv.weight.permute(0, 2, 1), stride=module.down)
    x = F.gelu(F.group_norm(x, 1, module.down_norm.weight, module.down_norm.bias))
    x = (x + skip) * SCALE
    return ((x + repeated[:, :, :: module.down]) * SCALE).transpose(1, 2)


# Measuring


def gemm_rate() -> float:
    """Floating-point operations per second of the best of a few matrix products, float32."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (8000, 512, 1024), (2000, 192, 768)):
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        for _ in range(8):
            began = time.perf_counter()
            a @ b
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - began))
    return best


def step(
    model: MRHubertForPreTraining, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], frames: int
) -> float:
    """Forward, backward, clip and update; gives the loss per frame."""
    value = loss()
    (value / frames).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(value.detach()) / frames


def timed(run: Callable[[], float], repeats: int) -> float:
    """Median seconds of a step, after one that warms up."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def batch(config: NetworkConfig, rows: int, seconds: float) -> tuple[Tensor, list[int], Tensor, Tensor]:
    """Noise, its lengths, a mask and random units."""
    generator = torch.Generator().manual_seed(0)
    samples = int(seconds * RATE)
    frames = frontend_length(config, samples)
    waves = torch.randn(rows, samples, generator=generator)
    names = [str(row) for row in range(rows)]
    mask = torch.from_numpy(batch_masks([frames] * rows, names, seed=0, step=0, config=MaskingConfig()))
    units = torch.randint(0, config.classes[0] - config.label_offset, (rows, frames), generator=generator)
    return waves, [samples] * rows, mask, units


def quiet(config: NetworkConfig) -> NetworkConfig:
    return replace(config, dropout=0.0, attention_dropout=0.0, input_dropout=0.0, activation_dropout=0.0, layerdrop=0.0)


def check_equal(config: NetworkConfig, rows: int, seconds: float) -> None:
    """Without noise, both ways have the same loss and gradient."""
    model = build_model(quiet(config), 0).train()
    waves, lengths, mask, units = batch(config, rows, seconds)
    ours = model(waves, lengths, mask, [units]).loss
    ours.backward()
    gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    theirs = published_loss(model, waves, mask, units, expand=True)
    theirs.backward()
    apart = max(
        float((p.grad - gradient[name]).norm() / p.grad.norm().clamp(min=1e-3 * len(units)))
        for name, p in model.named_parameters()
        if p.grad is not None and "front_end" not in name
    )
    print(f"loss: ours {ours.item():.6g}, published way {theirs.item():.6g}; gradients apart by at most {apart:.1e}")
    assert abs(ours.item() / theirs.item() - 1) < 1e-5
    assert apart < 1e-3


def appendix_c(config: NetworkConfig, rows: int, seconds: float, repeats: int) -> None:
    check_equal(config, 2, min(seconds, 3.0))
    config = replace(config, layerdrop=0.0)
    waves, lengths, mask, units = batch(config, rows, seconds)
    frames = int(mask.sum())
    model = build_model(config, 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, fused=True)

    def ours(precision: torch.dtype | None = None) -> float:
        context = torch.autocast("cpu", precision) if precision else nullcontext()
        with context:
            return step(model, optimizer, lambda: model(waves, lengths, mask, [units]).loss, frames)

    with FlopCounterMode(display=False) as counter:
        published_loss(model, waves, mask, units, expand=False).backward()
    model.zero_grad()
    flops = counter.get_total_flops()
    rate = gemm_rate()
    floor = flops / rate
    first = ours()
    fp32 = timed(ours, repeats)
    peak = peak_mib()
    bf16 = timed(lambda: ours(torch.bfloat16), repeats)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = float(model.eval()(waves, lengths, mask, [units]).loss)
    with torch.no_grad():
        full = float(model(waves, lengths, mask, [units]).loss)
    model.train()
    published = timed(
        lambda: step(model, optimizer, lambda: published_loss(model, waves, mask, units, expand=True), frames),
        max(1, repeats // 2),
    )
    print(
        f"batch: {rows} x {seconds:g} s, {config.classes[0]} classes, {frames} masked frames; "
        f"first loss {first:.3f} nats a frame"
    )
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s; a step needs {flops / 1e9:.0f} GFLOP: floor {floor:.2f} s")
    print(f"ours, fp32        {fp32:7.2f} s   {fp32 / floor:.2f} x the floor")
    print(f"ours, bf16        {bf16:7.2f} s   loss {abs(half / full - 1):.2%} away from fp32's")
    print(f"published way     {published:7.2f} s")
    print(f"ratio: {published / fp32:.2f} x (fp32), {published / bf16:.2f} x (bf16)")
    print(f"peak memory: ours {peak:.0f} MiB, with the published way {peak_mib():.0f} MiB")


def tiny(config: NetworkConfig, rows: int, seconds: float, repeats: int) -> None:
    from speechstrata.mrhubert.frontend import log_mel

    waves, _, mask, units = batch(config, rows, seconds)
    mels = log_mel(waves, config.mel_bins, RATE)
    frames = int(mask.sum())
    model = build_model(config, 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6, fused=True)
    lengths = [mels.shape[1]] * rows

    def loss() -> Tensor:
        return model(mels, lengths, mask, [units]).loss

    with FlopCounterMode(display=False) as counter:
        loss().backward()
    model.zero_grad()
    flops, rate = counter.get_total_flops(), gemm_rate()
    took = timed(lambda: step(model, optimizer, loss, frames), repeats)
    print(f"{rows} x {seconds:g} s: {took:.3f} s a step, {rows * seconds / took:.0f} x real time")
    with torch.autocast("cpu", torch.bfloat16):
        half = timed(lambda: step(model, optimizer, loss, frames), repeats)
    print(f"bf16: {half:.3f} s a step, {rows * seconds / half:.0f} x real time")
    print(
        f"{flops / 1e9:.1f} GFLOP a step = {flops / took / rate:.0%} of the matrix-product peak "
        f"of {rate / 1e9:.0f} GFLOP/s"
    )


def show_profile(config: NetworkConfig, rows: int, seconds: float) -> None:
    waves, lengths, mask, units = batch(config, rows, seconds)
    if config.extractor == "log_mel":
        from speechstrata.mrhubert.frontend import log_mel

        waves = log_mel(waves, config.mel_bins, RATE)
        lengths = [waves.shape[1]] * rows
    model = build_model(config, 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def once() -> float:
        return step(model, optimizer, lambda: model(waves, lengths, mask, [units]).loss, int(mask.sum()))

    once()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        once()
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small-post")
    parser.add_argument("--rows", type=int, help="utterances in the batch")
    parser.add_argument("--seconds", type=float, help="of each")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the network")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    changes = {
        name: type(getattr(named_config(given.model), name))(value) for name, value in (s.split("=") for s in given.set)
    }
    config = replace(named_config(given.model), **changes)
    mel = config.extractor == "log_mel"
    rows, seconds = given.rows or (10 if mel else 4), given.seconds or (4.0 if mel else 10.0)
    if given.profile:
        show_profile(config, rows, seconds)
    elif mel:
        tiny(config, rows, seconds, 5 * given.repeats)
    else:
        appendix_c(config, rows, seconds, given.repeats)


if __name__ == "__main__":
    main()
