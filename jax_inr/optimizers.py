"""Config to optax: how the parameters follow the gradient."""

import optax

from jax_inr.config import Config


def make_schedule(config: Config) -> optax.Schedule:
    """Learning rate of each step: constant or cosine to zero, after linear warm-up."""
    peak, warmup = config.learning_rate, config.warmup_steps
    match config.schedule:
        case "constant":
            after = optax.constant_schedule(peak)
        case "cosine":
            decay_steps = max(config.steps - warmup, 1)
            after = optax.cosine_decay_schedule(peak, decay_steps)
    if not warmup:
        return after
    ramp = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([ramp, after], [warmup])


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The config's optimizer with its schedule.

    SGD's momentum is torch's recurrence, m <- g + momentum * m, p <- p - rate * m.
    """
    return optax.sgd(make_schedule(config), momentum=config.momentum or None)
