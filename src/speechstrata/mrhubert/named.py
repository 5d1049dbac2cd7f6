"""Every model of the paper, and the small ones that train on a laptop, by name.

Shapes: Table 1 of the paper, the ablations of the MR-HuBERT paper that were released, and the paper's
appendix C. ``b2-a`` and its kind mean what was released and analysed: layers are listed in order of
execution (see :class:`~speechstrata.mrhubert.config.NetworkConfig`).
"""

from dataclasses import replace

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig, Ratio

_HALF: Ratio = (1, 2)
_SAME: Ratio = (1, 1)

_BASE = NetworkConfig()
_LARGE = NetworkConfig(
    layers=(8, 8, 8),
    dim=1024,
    ffn_dim=4096,
    heads=16,
    layer_norm_first=True,
    extractor="layer_norm",
    normalize=True,
    final_dim=768,
    dropout=0.0,
    attention_dropout=0.0,
    input_dropout=0.0,
    layerdrop=0.0,
    feature_grad_mult=1.0,
)
#: Appendix C: 2 layers per encoder, 192 dimensions, feed-forward 768; 64 dimensions a head as in the base.
_SMALL = replace(_BASE, layers=(2, 2, 2), dim=192, ffn_dim=768, heads=3)
#: Six layers of 192 on a log-mel front-end: learns something on two CPU cores. No dictionary symbols.
_TINY = replace(
    _SMALL,
    extractor="log_mel",
    normalize=True,
    classes=(100,),
    label_offset=0,
    layerdrop=0.0,
    feature_penalty=0.0,
    feature_grad_mult=1.0,
)
_TINY_LARGE = replace(_TINY, layer_norm_first=True)

NAMED: dict[str, NetworkConfig] = {
    # Table 1
    "hubert-base": replace(_BASE, layers=(12,), ratios=()),
    "mrhubert-base": _BASE,
    "b2-a": replace(_BASE, layers=(3, 2, 2, 3, 2), ratios=(_HALF, _HALF)),
    "b2-b": replace(_BASE, layers=(2, 2, 4, 2, 2), ratios=(_HALF, _HALF)),
    "b4-a": replace(_BASE, auxiliary_heads=False),
    "b5-a": replace(_BASE, ratios=(_SAME,)),
    # The cell that Table 1 lacks: no downsampling and no auxiliary loss (the sampling modules stay).
    "b5-a-single": replace(_BASE, ratios=(_SAME,), auxiliary_heads=False),
    # The other ablations of the MR-HuBERT paper.
    "b1-a": replace(_BASE, layers=(2, 4, 6)),
    "b1-b": replace(_BASE, layers=(5, 2, 5)),
    "b1-c": replace(_BASE, layers=(6, 4, 2)),
    "b2-c": replace(_BASE, layers=(2, 2, 2, 2, 2), ratios=(_HALF, _HALF)),
    "b3-a": replace(_BASE, sampling="plain"),
    "b4-b": replace(_BASE, sampling="plain", auxiliary_heads=False),
    "b6-a": replace(_BASE, layers=(3, 3, 3)),
    "b6-b": replace(_BASE, layers=(3, 3, 3), ratios=(_SAME,)),
    # Large.
    "hubert-large": replace(_LARGE, layers=(24,), ratios=()),
    "mrhubert-large": _LARGE,
    # Appendix C: where the residual is added.
    "small-post": _SMALL,
    "small-pre": replace(_SMALL, residual="pre"),
    # For a laptop: the same comparisons at six layers of 192.
    "tiny-hubert": replace(_TINY, layers=(6,), ratios=()),
    "tiny": _TINY,
    "tiny-pre": replace(_TINY, residual="pre"),
    "tiny-b4-a": replace(_TINY, auxiliary_heads=False),
    "tiny-b5-a": replace(_TINY, ratios=(_SAME,)),
    "tiny-b5-a-single": replace(_TINY, ratios=(_SAME,), auxiliary_heads=False),
    "tiny-3res": replace(_TINY, layers=(1, 1, 2, 1, 1), ratios=(_HALF, _HALF)),
    "tiny-large-hubert": replace(_TINY_LARGE, layers=(6,), ratios=()),
    "tiny-large": _TINY_LARGE,
}  # fmt: skip


def named_config(name: str) -> NetworkConfig:
    """The configuration of that name.

    Raises:
        InputError: there is none; the message lists the names.
    """
    try:
        return NAMED[name]
    except KeyError:
        raise InputError(f"there is no named model {name!r}", f"choose one of: {', '.join(NAMED)}") from None
