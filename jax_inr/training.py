"""Training as pure functions of (state, data, key): one step, and two loops of steps.

`train_step` is the step a reader looks for. `train_chunk` runs any number of steps in
one compiled program; `train_scan` a fixed number, and can be differentiated through.
All compose with `vmap` over seeds, images or rates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jax_inr.model import Variables
from jax_inr.optimizers import Rates
from jax_inr.plan import Numbers, TrainData, TrainPlan
from jax_inr.sampling import draw_batch
from jax_inr.tasks import pixel_colour

MAX_CHUNK_STEPS = 4096  # losses of one compiled chunk


class TrainState(NamedTuple):
    """The state that a step changes: parameters, optimizer state, steps done."""

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]


def init_state(plan: TrainPlan, variables: Variables) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    opt_state = plan.optimizer.make(Rates(0.0)).init(params)
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32))


def predict_batch(
    plan: TrainPlan, variables: Variables, inputs: Any, items: Any
) -> Array:
    """The predicted values of some measurements, or of the grid for the CNN."""
    model = plan.model
    if plan.points is None:

        def field(x: Array) -> Array:
            return model.predict(variables, x)

        assert plan.predict is not None
        predict = plan.predict
        return jax.vmap(lambda item: predict(field, item))(items)
    features = inputs if plan.keep_features else model.encode(variables, inputs)
    colours = model.colours(variables, features)
    # A pixel has one point, and no axis of points.
    if plan.combine is pixel_colour:
        return colours
    return jax.vmap(plan.combine)(colours, items)  # pyright: ignore


def batch_loss(
    plan: TrainPlan, params: Any, constants: Any, batch: TrainData
) -> Float[Array, ""]:
    """The mean of the task's loss over some measurements."""
    variables = {"params": params, "constants": constants}
    if isinstance(batch.inputs, tuple):  # rows and columns of a Cartesian product
        features = plan.model.encode_axes(variables, *batch.inputs)
        features = features.reshape(-1, features.shape[-1])
        predictions = plan.model.colours(variables, features)
    else:
        predictions = predict_batch(plan, variables, batch.inputs, batch.items)
    loss = plan.loss if not plan.model.per_pixel else jax.vmap(plan.loss)
    losses = loss(predictions, batch.values)
    if batch.weights is not None:
        trailing = (1,) * (losses.ndim - batch.weights.ndim)
        losses = losses * batch.weights.reshape(batch.weights.shape + trailing)
    return jnp.mean(losses)


def penalty_loss(
    plan: TrainPlan, params: Any, constants: Any, numbers: Numbers, key: PRNGKeyArray
) -> Float[Array, ""]:
    """The weighted means of the penalties at random points of the unit square.

    Those with items are at random rows of them; those without points are functions of
    the parameters.
    """
    variables = {"params": params, "constants": constants}

    def field(x: Array) -> Array:
        return plan.model.predict(variables, x)

    total = jnp.zeros(())
    keys = jax.random.split(key, len(plan.penalties))
    for (function, points), (weight, items), points_key in zip(
        plan.penalties, numbers.penalties, keys, strict=True
    ):
        if points is None:
            total += weight * function(params)
            continue
        if items is None:
            drawn = jax.random.uniform(points_key, (points, 2))
        else:
            count = len(jax.tree.leaves(items)[0])
            chosen = jax.random.randint(points_key, (points,), 0, count)
            drawn = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], items)
        terms = jax.vmap(lambda x, function=function: function(field, x))(drawn)
        total += weight * jnp.mean(terms)
    return total


def train_step(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, ""]]:
    """One optimizer step; returns the new state and the loss before it.

    The measurements of a mini-batch follow `fold_in(key, step)`: a resumed run draws
    what an uninterrupted one would have.
    """
    step_key = jax.random.fold_in(key, state.step)
    if plan.model.per_pixel and not plan.is_sampled:

        def data_term(params: Any) -> tuple[Float[Array, ""], Any]:
            return _over_tiles(plan, params, constants, data)
    else:
        batch = draw_batch(plan, data, step_key) if plan.model.per_pixel else data

        def data_term(params: Any) -> tuple[Float[Array, ""], Any]:
            return jax.value_and_grad(batch_loss, argnums=1)(
                plan, params, constants, batch
            )

    def value_and_grad(params: Any) -> tuple[Float[Array, ""], Any]:
        total = data_term(params)
        if not plan.penalties:
            return total
        term = jax.value_and_grad(penalty_loss, argnums=1)(
            plan, params, constants, data.numbers, jax.random.fold_in(step_key, 1)
        )
        return jax.tree.map(jnp.add, total, term)

    loss, grads = value_and_grad(state.params)
    optimizer = plan.optimizer.make(data.numbers.rates)
    # Only a line search uses the keyword arguments.
    updates, opt_state = optimizer.update(
        grads,
        state.opt_state,
        state.params,
        value=loss,
        grad=grads,
        value_fn=lambda params: value_and_grad(params)[0],
    )
    params: Any = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), loss


def _over_tiles(
    plan: TrainPlan, params: Any, constants: Any, data: TrainData
) -> tuple[Float[Array, ""], Any]:
    """Loss and gradient over all measurements, summed tile by tile.

    The activations of a tile stay in the processor's cache, which makes a step
    faster, and memory for them stops growing with the image.
    """
    count = len(data.values)
    tile = min(plan.tile, count)

    def share(start: Any, size: int) -> Any:
        part = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size),
            data._replace(numbers=None),
        )
        parts = jax.value_and_grad(batch_loss, argnums=1)(
            plan, params, constants, part._replace(numbers=data.numbers)
        )
        return jax.tree.map(lambda leaf: leaf * (size / count), parts)

    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    return sum_over_tiles(share, count, tile, zero)


def sum_over_tiles(
    share: Callable[[Any, int], Any], count: int, tile: int, zero: Any
) -> Any:
    """The sum of `share(start, size)`, a pytree, over tiles of `count` things."""

    def add_tile(i: Any, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, share(i * tile, tile))

    total = jax.lax.fori_loop(0, count // tile, add_tile, zero)
    if rest := count % tile:
        total = jax.tree.map(jnp.add, total, share(count - rest, rest))
    return total


def train_chunk(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
    num_steps: Int[Array, ""] | int,
) -> tuple[TrainState, Float[Array, " losses"]]:
    """Run `num_steps` (at most MAX_CHUNK_STEPS) steps in one program.

    The number of steps is an argument rather than a shape, so that chunks of any
    length share one compilation.

    Returns:
        The state after the steps, and the loss before each; entries of the
        (MAX_CHUNK_STEPS,) losses beyond `num_steps` are zero.
    """

    def body(i: Any, carry: Any) -> Any:
        state, losses = carry
        state, loss = train_step(plan, state, constants, data, key)
        return state, losses.at[i].set(loss)

    losses = jnp.zeros(MAX_CHUNK_STEPS)
    return jax.lax.fori_loop(0, num_steps, body, (state, losses))


def train_scan(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
    num_steps: int,
) -> tuple[TrainState, Float[Array, " steps"]]:
    """Run a fixed number of steps that can be differentiated through.

    The same steps as `train_chunk`'s: a loss of the parameters after them has a
    gradient by those before, as learned initialisations need (arXiv 1703.03400).
    """

    def body(state: TrainState, _: None) -> tuple[TrainState, Float[Array, ""]]:
        return train_step(plan, state, constants, data, key)

    return jax.lax.scan(body, state, length=num_steps)
