"""Config to optax: how the parameters follow the gradient."""

from typing import Any

import jax
import optax
from jaxtyping import Array, Float
from optax import contrib

from jax_inr.config import Config


def make_schedule(
    config: Config, learning_rate: float | Float[Array, ""] | None = None
) -> optax.Schedule:
    """Learning rate of each step: constant or cosine to zero, after linear warm-up.

    Args:
        config: the schedule, and the peak where `learning_rate` is left out.
        learning_rate: the peak, which may be traced.
    """
    peak: Any = config.learning_rate if learning_rate is None else learning_rate
    warmup = config.warmup_steps
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


def make_optimizer(
    config: Config, learning_rate: float | Float[Array, ""] | None = None
) -> optax.GradientTransformationExtraArgs:
    """The config's optimizer with its schedule; see `make_schedule`.

    SGD's momentum is torch's recurrence, m <- g + momentum * m, p <- p - rate * m.
    Muon (arXiv 2502.16982) moves hidden matrices; all else goes by Adam, at the same
    rate. L-BFGS finds its own step lengths. The others have optax's settings.
    """
    schedule = make_schedule(config, learning_rate)
    momentum = config.momentum
    match config.optimizer:
        case "sgd":
            optimizer = optax.sgd(schedule, momentum=momentum or None)
        case "adam":
            optimizer = optax.adam(schedule, b2=config.beta2)
        case "muon":
            optimizer = contrib.muon(
                schedule,
                beta=momentum,
                adam_b2=config.beta2,
                muon_weight_dimension_numbers=_hidden_matrices,
                # Makes an update as large as Adam's, so that one rate serves both.
                consistent_rms=0.2,
            )
        case "lbfgs":
            optimizer = optax.lbfgs()
        case name:
            optimizer = getattr(optax, name)(schedule)
    return optax.with_extra_args_support(optimizer)


def _hidden_matrices(params: Any) -> Any:
    """Muon's dimensions for the kernels of all layers but the last, None elsewhere."""
    last = max((name for name in params if name.startswith("dense_")), key=_layer)

    def dimensions(path: Any, leaf: Array) -> contrib.MuonDimensionNumbers | None:
        name = path[0].key
        is_hidden = name.startswith("dense_") and name != last and leaf.ndim == 2
        return contrib.MuonDimensionNumbers() if is_hidden else None

    return jax.tree_util.tree_map_with_path(dimensions, params)


def _layer(name: str) -> int:
    return int(name.removeprefix("dense_"))
