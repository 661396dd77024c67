"""Optimizers: how the parameters follow the gradient, in optax.

An `Optimizer` is the structure; its `Rates` are numbers and leaves of a pytree, so that
another learning rate, warm-up or number of steps compiles nothing. optax's schedules
take Python numbers alone, so the two formulas stand here; a test holds them to optax's.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax import contrib

from jax_inr.adapters import describe
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.fingerprint import Held

Schedule = Literal["constant", "cosine"]


class Rates(NamedTuple):
    """The numbers of a schedule.

    learning_rate: the peak. warmup_steps: of linear warm-up from zero. decay_steps:
    after which the cosine is zero, counted from the end of the warm-up.
    """

    learning_rate: Any
    warmup_steps: Any = 0
    decay_steps: Any = 1


def learning_rate(kind: Schedule, rates: Rates, step: Any) -> Float[Array, "..."]:
    """The learning rate of a step: linear warm-up, then constant or half a cosine.

    peak * (1 + cos(pi * t)) / 2 with t from 0 to 1 (arXiv 1608.03983, without
    restarts), as optax.schedules has them.
    """
    peak, warmup, decay_steps = rates
    step = jnp.asarray(step, jnp.float32)
    after: Any = peak
    if kind == "cosine":
        angle = jnp.pi * jnp.minimum(step - warmup, decay_steps) / decay_steps
        after = peak * (0.5 * (1 + jnp.cos(angle)))
    # From the end of the ramp backwards, which is how optax rounds it.
    ramp = -peak * (1 - jnp.minimum(step, warmup) / jnp.maximum(warmup, 1)) + peak
    return jnp.where(step < warmup, ramp, after)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer by name with its structure: what a compiled step depends on."""

    name: str = "sgd"
    schedule: Schedule = "constant"
    momentum: float = 0.9
    beta2: float = 0.999

    def learning_rate(self, rates: Rates, step: Any) -> Float[Array, "..."]:
        """The learning rate of a step."""
        return learning_rate(self.schedule, rates, step)

    def make(self, rates: Rates) -> optax.GradientTransformationExtraArgs:
        """The optax transformation of these rates, which may be traced.

        SGD's momentum is torch's recurrence, m <- g + momentum * m, p <- p - rate * m.
        Muon (arXiv 2502.16982) moves hidden matrices; all else goes by Adam, at the
        same rate. L-BFGS finds its own step lengths. The others have optax's settings.
        """

        def schedule(step: Any) -> Any:
            return self.learning_rate(rates, step)

        match self.name:
            case "sgd":
                optimizer = optax.sgd(schedule, momentum=self.momentum or None)
            case "adam":
                optimizer = optax.adam(schedule, b2=self.beta2)
            case "muon":
                optimizer = contrib.muon(
                    schedule,
                    beta=self.momentum,
                    adam_b2=self.beta2,
                    muon_weight_dimension_numbers=_hidden_matrices,
                    # Makes an update as large as Adam's, so one rate serves both.
                    consistent_rms=0.2,
                )
            case "lbfgs":
                optimizer = optax.lbfgs()
            case name:
                optimizer = getattr(optax, name)(schedule)
        return optax.with_extra_args_support(optimizer)


@dataclasses.dataclass(frozen=True)
class ForeignOptimizer:
    """A caller's `optax.GradientTransformation`, used as it is."""

    transformation: Held  # an optax.GradientTransformation
    name: str = "foreign"

    def learning_rate(self, rates: Rates, step: Any) -> float:
        """Not known: the transformation holds its own."""
        return float("nan")

    def make(self, rates: Rates) -> optax.GradientTransformationExtraArgs:
        """The transformation itself."""
        return optax.with_extra_args_support(self.transformation.thing)


def from_config(config: Config) -> tuple[Optimizer, Rates]:
    """Make the optimizer that a config names, and its numbers."""
    optimizer = Optimizer(
        config.optimizer, config.schedule, config.momentum, config.beta2
    )
    decay_steps = max(config.steps - config.warmup_steps, 1)
    rates = Rates(config.learning_rate, config.warmup_steps, decay_steps)
    return optimizer, rates


def as_optimizer(thing: Any, params: Any) -> ForeignOptimizer:
    """A caller's optimizer, checked against the parameters' shapes.

    Raises:
        ConfigError: it is no `optax.GradientTransformation`, or its state is no pytree
            of arrays, or its updates have other shapes than the parameters.
    """
    if not callable(getattr(thing, "init", None)) or not callable(
        getattr(thing, "update", None)
    ):
        raise ConfigError(
            f"optimizer {describe(thing)} is no optax.GradientTransformation",
            "give one, as optax.adam(1e-3)",
        )
    transformation = optax.GradientTransformationExtraArgs(thing.init, thing.update)
    if not isinstance(thing, optax.GradientTransformationExtraArgs):
        transformation = optax.GradientTransformation(thing.init, thing.update)
    optimizer = ForeignOptimizer(Held(transformation))
    try:
        state = jax.eval_shape(thing.init, params)
    except TypeError as error:
        raise ConfigError(
            f"optimizer {describe(thing)} has a state that is no pytree of arrays: "
            f"{str(error).splitlines()[0][:200]}",
            "register its class with jax.tree_util.register_dataclass",
        ) from error
    made = optimizer.make(Rates(0.0))

    def update(params: Any, state: Any) -> Any:
        def value_fn(params: Any) -> Any:
            return optax.tree.sum(params)

        value, grad = jax.value_and_grad(value_fn)(params)
        extra = {"value": value, "grad": grad, "value_fn": value_fn}
        return made.update(params, state, params, **extra)

    updates, after = jax.eval_shape(update, params, state)
    before, after = (jax.tree.map(_kind, tree) for tree in (state, after))
    if before != after:
        raise ConfigError(
            f"optimizer {describe(thing)} has another state after a step: "
            f"{str(after)[:150]}, which was {str(before)[:150]}",
            "keep its structure, shapes and types",
        )
    found, wanted = (jax.tree.map(lambda x: x.shape, t) for t in (updates, params))
    if found != wanted:
        raise ConfigError(
            f"optimizer {describe(thing)} gives updates of shapes {found}, and the "
            f"parameters have {wanted}"
        )
    return optimizer


def _kind(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _hidden_matrices(params: Any) -> Any:
    """Muon's dimensions for the kernels of all dense layers but the last.

    A network of one's own has layers by other names: all its matrices are meant.
    """
    ours = [name for name in params if name.startswith("dense_")]
    last = max(ours, key=lambda name: int(name.removeprefix("dense_")), default=None)

    def dimensions(path: Any, leaf: Array) -> contrib.MuonDimensionNumbers | None:
        name = getattr(path[0], "key", "")
        is_hidden = name in ours and name != last if ours else name == "network"
        if is_hidden and leaf.ndim == 2:
            return contrib.MuonDimensionNumbers()
        return None

    return jax.tree_util.tree_map_with_path(dimensions, params)
