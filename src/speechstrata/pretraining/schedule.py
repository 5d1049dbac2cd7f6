"""The learning rate: linear warm-up, then polynomial decay."""

from speechstrata.pretraining.config import OptimizerConfig


def learning_rate(updates: int, config: OptimizerConfig) -> float:
    """The learning rate after ``updates`` finished updates, i.e. of the next one.

    Equal to the public code's ``polynomial_decay`` schedule: during the warm-up ``peak x updates / warmup``, where the
    first update already has ``peak / warmup``; then ``end + (peak - end) x (1 - progress) ** power`` with ``progress``
    from 0 at the warm-up's end to 1 at ``config.steps``; afterwards ``end``.
    """
    warmup, total = config.warmup_steps, config.steps
    if updates <= warmup and warmup > 0:
        return config.learning_rate * max(updates, 1) / warmup
    if updates >= total:
        return config.end_learning_rate
    left = 1.0 - (updates - warmup) / (total - warmup)
    return config.end_learning_rate + (config.learning_rate - config.end_learning_rate) * float(
        left**config.decay_power
    )
