"""Lanes of a stream as pure functions: a lane's steps, its evaluations, its end.

A lane stops by itself, on the device, where its field reaches the target or its steps,
and takes the next image when the host hands one over.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jax_inr.datasets import columns
from jax_inr.model import Model, Variables
from jax_inr.plan import TrainData, TrainPlan
from jax_inr.tasks import squared
from jax_inr.training import (
    TrainState,
    init_state,
    predict_batch,
    sum_over_tiles,
    train_step,
)

# What a lane is about; the last two end it, and so does running out of steps.
FREE, RUNNING, DONE_STEPS, DONE_TARGET, DIVERGED = range(5)
STOPPED = {DONE_STEPS: "steps", DONE_TARGET: "target_psnr", DIVERGED: "diverged"}


class Lane(NamedTuple):
    """A fit in progress on the device."""

    state: TrainState
    key: Any  # of its batches
    mse: Float[Array, ""]  # of the newest evaluation, colours clipped
    status: Int[Array, ""]


class New(NamedTuple):
    """What the host hands a lane."""

    is_fresh: Any  # whether the lane begins with the image
    params: Any  # to begin with
    key: Any  # of its batches, as numbers
    values: Any  # (n, c): the image; (c, n) where the plan takes columns


class Shared(NamedTuple):
    """What all lanes share; no number of it is compiled in."""

    constants: Any
    inputs: Any
    items: Any
    numbers: Any
    steps: Int[Array, ""]
    every: Int[Array, ""]  # steps between looks at the target
    eval_every: Int[Array, ""]
    target_mse: Float[Array, ""]  # negative: no target


@dataclasses.dataclass(frozen=True)
class LanePlan:
    """What is compiled in for a lane; hashable."""

    train: TrainPlan
    takes_columns: bool

    @classmethod
    def of(cls, train: TrainPlan, model: Model) -> "LanePlan":
        """The plan of lanes that train by `train`; the fast form where there is one."""
        plain = train.loss is squared and not train.penalties and not train.is_sampled
        fits = plain and train.keep_features and columns.takes_columns(model)
        return cls(train, fits)


def begin(plan: LanePlan, new: New, shared: Shared) -> Lane:
    """A lane that begins with an image."""
    variables = {"params": new.params, "constants": shared.constants}
    state = init_state(plan.train, variables)
    key = jax.random.wrap_key_data(new.key)
    return Lane(state, key, jnp.float32(jnp.inf), jnp.int32(RUNNING))


def advance(
    plan: LanePlan, lane: Lane, new: New, shared: Shared, num_steps: int
) -> Lane:
    """Up to `num_steps` steps of a lane; fewer where it ends.

    A lane whose loss is not finite goes back to before these steps.
    """
    lane = jax.lax.cond(new.is_fresh, lambda: begin(plan, new, shared), lambda: lane)

    def goes_on(carry: tuple[Any, Lane]) -> Array:
        i, lane = carry
        return (i < num_steps) & (lane.status == RUNNING)

    def body(carry: tuple[Any, Lane]) -> tuple[Any, Lane]:
        i, lane = carry
        return i + 1, _step(plan, lane, new, shared, None)

    after = jax.lax.while_loop(goes_on, body, (0, lane))[1]
    return _unless_diverged(after, lane)


def advance_together(
    plan: LanePlan, lanes: Lane, new: New, shared: Shared, num_steps: int
) -> Lane:
    """`advance` of all lanes at once, leading axis lanes: the form for a GPU."""
    fresh = jax.vmap(lambda new: begin(plan, new, shared))(new)
    lanes = _where(new.is_fresh, fresh, lanes)

    def body(_: Any, lanes: Lane) -> Lane:
        # Evaluations are costly, and a condition of each lane's own would save none.
        looks = jax.vmap(lambda step: _is_look(shared, step))(lanes.state.step + 1)
        any_looks = (looks & (lanes.status == RUNNING)).any()
        after = jax.vmap(lambda lane, new: _step(plan, lane, new, shared, any_looks))(
            lanes, new
        )
        return _where(lanes.status == RUNNING, after, lanes)

    after = jax.lax.fori_loop(0, num_steps, body, lanes)
    return jax.vmap(_unless_diverged)(after, lanes)


def _step(plan: LanePlan, lane: Lane, new: New, shared: Shared, looks: Any) -> Lane:
    state, loss = _train(plan, lane, new, shared)
    is_look = _is_look(shared, state.step)
    mse = jax.lax.cond(
        is_look if looks is None else looks,
        lambda: evaluate(plan, state.params, new, shared),
        lambda: lane.mse,
    )
    mse = jnp.where(is_look, mse, lane.mse)
    status = jnp.where(state.step >= shared.steps, DONE_STEPS, RUNNING)
    status = jnp.where(is_look & (mse <= shared.target_mse), DONE_TARGET, status)
    is_bad = ~jnp.isfinite(loss) | (is_look & ~jnp.isfinite(mse))
    status = jnp.where(is_bad, DIVERGED, status).astype(jnp.int32)
    return Lane(state, lane.key, mse, status)


def _is_look(shared: Shared, step: Any) -> Array:
    """Whether a field is evaluated after a step: where `fit` looks at its target."""
    has_target = shared.target_mse >= 0
    is_due = (step % shared.every == 0) | ((step - 1) % shared.eval_every == 0)
    return (has_target & is_due) | (step >= shared.steps)


def _unless_diverged(after: Lane, before: Lane) -> Lane:
    back = before._replace(mse=jnp.float32(jnp.nan), status=jnp.int32(DIVERGED))
    return _where(after.status == DIVERGED, back, after)


def _where(condition: Any, first: Any, second: Any) -> Any:
    """`jnp.where` over a pytree; the condition has the leading axes."""

    def choose(a: Any, b: Any) -> Any:
        trailing = (1,) * (a.ndim - condition.ndim)
        return jnp.where(condition.reshape(condition.shape + trailing), a, b)

    return jax.tree.map(choose, first, second)


def _train(
    plan: LanePlan, lane: Lane, new: New, shared: Shared
) -> tuple[TrainState, Float[Array, ""]]:
    train, state = plan.train, lane.state
    if not plan.takes_columns:
        data = TrainData(shared.inputs, shared.items, new.values, None, shared.numbers)
        return train_step(train, state, shared.constants, data, lane.key)

    def tile_loss(params: Any, features: Any, values: Any) -> Array:
        variables = {"params": params, "constants": shared.constants}
        error = columns.colours(train.model, variables, features) - values
        return jnp.sum(error**2) / new.values.size

    grad = jax.value_and_grad(tile_loss)
    loss, grads = _over_tiles(
        train.tile,
        lambda *tile: grad(state.params, *tile),
        shared.inputs,
        new.values,
    )
    optimizer = train.optimizer.make(shared.numbers.rates)
    updates, opt_state = optimizer.update(
        grads,
        state.opt_state,
        state.params,
        value=loss,
        grad=grads,
        value_fn=lambda params: _over_tiles(
            train.tile,
            lambda *tile: tile_loss(params, *tile),
            shared.inputs,
            new.values,
        ),
    )
    params: Any = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), loss


def _over_tiles(size: int, function: Any, features: Any, values: Any) -> Any:
    """The sum of a function over tiles of columns, each small enough for a cache."""
    count = values.shape[-1]
    if count <= size:
        return function(features, values)

    def share(start: Any, size: int) -> Any:
        tile = (
            jax.lax.dynamic_slice_in_dim(array, start, size, axis=-1)
            for array in (features, values)
        )
        return function(*tile)

    zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: share(0, size)))
    return sum_over_tiles(share, count, size, zero)


def evaluate(plan: LanePlan, params: Any, new: New, shared: Shared) -> Float[Array, ""]:
    """The mean squared error of a lane's image, colours clipped to [0, 1]."""
    variables: Variables = {"params": params, "constants": shared.constants}
    train = plan.train
    if plan.takes_columns:

        def squares(features: Any, values: Any) -> Array:
            predicted = columns.colours(train.model, variables, features)
            return jnp.sum((jnp.clip(predicted, 0, 1) - values) ** 2)

        total = _over_tiles(train.tile, squares, shared.inputs, new.values)
        return total / new.values.size
    predicted = predict_batch(train, variables, shared.inputs, shared.items)
    return jnp.mean((jnp.clip(predicted, 0, 1) - new.values) ** 2)
