"""Training as pure functions of (state, data, key): one step, and two loops of steps.

`train_step` is the step a reader looks for. `train_chunk` runs any number of steps in
one compiled program; `train_scan` a fixed number, and can be differentiated through.
All compose with `vmap` over seeds, images or rates.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jax_inr.coordinates import pixel_grid
from jax_inr.model import Model, Variables
from jax_inr.optimizers import ForeignOptimizer, Optimizer, Rates
from jax_inr.tasks import Field, Task, pixel_colour
from jax_inr.tensors import structure

MAX_CHUNK_STEPS = 4096  # losses of one compiled chunk
# The most that features of all points may take before they are computed anew.
MAX_FEATURE_BYTES = 1 << 30
# Points whose activations are in memory at a time, by platform.
TILE_POINTS = {"cpu": 1 << 10}
DEFAULT_TILE_POINTS = 1 << 18
# For a program that runs once: half the time to compile, and as exact.
QUICK_COMPILE: Any = {"xla_backend_optimization_level": 0}

Sampling = Literal["pixels", "lattice"]


class TrainState(NamedTuple):
    """What a step changes: trained parameters, optimizer state, steps done."""

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]


class TrainData(NamedTuple):
    """What a step reads; the leading axis of all but the last is the measurements."""

    inputs: Any  # features of each measurement's points, or their positions; or None
    items: Any  # of the task
    values: Any  # of the task
    weights: Any  # of the task, or None
    numbers: "Numbers"


class Numbers(NamedTuple):
    """Numbers of a fit that compile nothing when they change."""

    rates: Rates
    penalties: tuple[Any, ...]  # the weight of each


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """What stays fixed over a fit, and so is compiled in; hashable.

    Two fits of equal plans and equal shapes share their programs.
    """

    model: Model  # with zeros for its numbers, which the variables hold
    optimizer: Optimizer | ForeignOptimizer
    predict: Callable[[Field, Any], Any] | None
    points: Callable[[Any], Any] | None
    combine: Callable[[Any, Any], Any] | None
    loss: Callable[[Any, Any], Any]
    penalties: tuple[tuple[Callable[[Field, Any], Any], int], ...]
    height: int
    width: int
    batch_size: int | None  # None: every measurement at every step
    sampling: Sampling
    keep_features: bool  # inputs are features computed once, not positions
    tile: int  # measurements whose activations are in memory at a time

    @property
    def is_sampled(self) -> bool:
        """Whether a step takes some of the measurements rather than all."""
        return self.batch_size is not None or self.sampling == "lattice"

    @property
    def lattice(self) -> tuple[int, int]:
        """Rows and columns whose Cartesian product has about `batch_size` pixels."""
        if self.batch_size is None:
            return self.height, self.width
        share = (self.batch_size / (self.height * self.width)) ** 0.5
        return max(round(self.height * share), 1), max(round(self.width * share), 1)


def make_plan(
    task: Task,
    model: Model,
    optimizer: Optimizer | ForeignOptimizer,
    *,
    batch_size: int | None = None,
    sampling: Sampling = "pixels",
    platform: str = "cpu",
) -> TrainPlan:
    """The plan of a fit; a batch of as many measurements as there are means all."""
    count = len(task.values)
    if batch_size is not None and batch_size >= count:
        batch_size = None
    height, width, _ = task.shape
    points, features = 1, 0
    if task.points is not None:
        item = jax.tree.map(lambda leaf: leaf[0], task.items)
        points = jax.eval_shape(task.points, item).shape[0]
        features = 4 * count * points * model.encoding.num_features
    return TrainPlan(
        model=structure(model),
        optimizer=optimizer,
        predict=task.predict,
        points=task.points,
        combine=task.combine,
        loss=task.loss,
        penalties=tuple((p.function, p.points) for p in task.penalties),
        height=height,
        width=width,
        batch_size=batch_size,
        sampling=sampling,
        keep_features=not model.trains_encoding
        and task.points is not None
        and features <= MAX_FEATURE_BYTES,
        tile=max(TILE_POINTS.get(platform, DEFAULT_TILE_POINTS) // points, 1),
    )


def init_state(plan: TrainPlan, variables: Variables) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    opt_state = plan.optimizer.make(Rates(0.0)).init(params)
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32))


def make_data(
    plan: TrainPlan, task: Task, variables: Variables, rates: Rates
) -> TrainData:
    """Put the measurements on the device, once, with their points or features."""
    return TrainData(
        make_inputs(plan, task, variables), *measurements(plan, task, rates)
    )


def measurements(plan: TrainPlan, task: Task, rates: Rates) -> tuple[Any, ...]:
    """The items, values, weights and numbers of `TrainData`."""
    as_arrays = jnp.asarray if plan.model.per_pixel else _on_grid(plan)
    values = as_arrays(np.asarray(task.values))
    items = jax.tree.map(as_arrays, task.items)
    weights = None if task.weights is None else as_arrays(task.weights)
    floats = Rates(*(jnp.asarray(x, jnp.float32) for x in rates))
    penalties = tuple(jnp.float32(penalty.weight) for penalty in task.penalties)
    return items, values, weights, Numbers(floats, penalties)


def make_inputs(plan: TrainPlan, task: Task, variables: Variables) -> Any:
    """What the network is given of the measurements' points, or None."""
    if not plan.model.per_pixel:
        coords = jnp.asarray(pixel_grid(plan.height, plan.width))
    elif plan.points is None:
        return None
    elif plan.combine is pixel_colour:
        coords = jnp.asarray(task.items)
    else:
        coords = jax.jit(jax.vmap(plan.points))(jax.tree.map(jnp.asarray, task.items))
    if plan.keep_features:
        return _encode(plan.model, variables, coords)
    return coords


_encode = jax.jit(Model.encode, static_argnums=0)


def _on_grid(plan: TrainPlan) -> Callable[[Any], Array]:
    return lambda leaf: jnp.asarray(leaf).reshape(plan.height, plan.width, -1)


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
    """The weighed means of the penalties at random points of the unit square."""
    variables = {"params": params, "constants": constants}

    def field(x: Array) -> Array:
        return plan.model.predict(variables, x)

    total = jnp.zeros(())
    keys = jax.random.split(key, len(plan.penalties))
    for (function, points), weight, one in zip(
        plan.penalties, numbers.penalties, keys, strict=True
    ):
        coords = jax.random.uniform(one, (points, 2))
        terms = jax.vmap(lambda x, function=function: function(field, x))(coords)
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
    # Only a line search looks at what comes after the parameters.
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


def draw_batch(plan: TrainPlan, data: TrainData, key: PRNGKeyArray) -> TrainData:
    """The measurements of a mini-batch.

    Single ones are drawn uniformly, with replacement. A lattice has one row of each of
    as many equal strips, and columns alike: every pixel is as likely as any other, and
    a step sees each once, or twice where two strips share its row or column.
    """
    if plan.sampling == "pixels":
        size, count = plan.batch_size or 0, len(data.values)
        return _take(data, jax.random.randint(key, (size,), 0, count))
    rows_key, columns_key = jax.random.split(key)
    rows = _one_of_each_strip(rows_key, plan.lattice[0], plan.height)
    columns = _one_of_each_strip(columns_key, plan.lattice[1], plan.width)
    chosen = (rows[:, None] * plan.width + columns).ravel()
    if plan.keep_features:
        return _take(data, chosen)
    axes = rows / plan.height, columns / plan.width
    return _take(data._replace(inputs=None), chosen)._replace(inputs=axes)


def _take(data: TrainData, chosen: Int[Array, " b"]) -> TrainData:
    taken = jax.tree.map(lambda leaf: leaf[chosen], data[:-1])
    return TrainData(*taken, data.numbers)


def _one_of_each_strip(key: PRNGKeyArray, count: int, end: int) -> Int[Array, " count"]:
    strips = jnp.arange(count)
    if count == end:
        return strips
    within = (strips + jax.random.uniform(key, (count,))) * (end / count)
    # A float32 just below the end may be rounded up to it.
    return jnp.minimum(within.astype(jnp.int32), end - 1)


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
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), data[:-1]
        )
        parts = jax.value_and_grad(batch_loss, argnums=1)(
            plan, params, constants, TrainData(*part, data.numbers)
        )
        return jax.tree.map(lambda leaf: leaf * (size / count), parts)

    def add_tile(i: Any, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, share(i * tile, tile))

    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
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
