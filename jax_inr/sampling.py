"""Sampling: which measurements a step sees."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jax_inr.plan import TrainData, TrainPlan


def draw_batch(plan: TrainPlan, data: TrainData, key: PRNGKeyArray) -> TrainData:
    """The measurements of a mini-batch.

    Single measurements are drawn uniformly, with replacement. Row-column sampling
    (config: "lattice") takes the grid points of rows and columns, a row from each of
    as many equal strips and columns alike: every pixel is as likely as any other, and
    a step sees each once, or twice where two strips share its row or column.
    """
    if plan.sampling == "pixels":
        size, count = plan.batch_size or 0, len(data.values)
        return _take(data, jax.random.randint(key, (size,), 0, count))
    rows_key, columns_key = jax.random.split(key)
    rows = _draw_from_strips(rows_key, plan.grid_shape[0], plan.height)
    columns = _draw_from_strips(columns_key, plan.grid_shape[1], plan.width)
    chosen = (rows[:, None] * plan.width + columns).ravel()
    if plan.keep_features:
        return _take(data, chosen)
    axes = rows / plan.height, columns / plan.width
    return _take(data._replace(inputs=None), chosen)._replace(inputs=axes)


def _take(data: TrainData, chosen: Int[Array, " b"]) -> TrainData:
    taken = jax.tree.map(lambda leaf: leaf[chosen], data._replace(numbers=None))
    return taken._replace(numbers=data.numbers)


def _draw_from_strips(key: PRNGKeyArray, count: int, end: int) -> Int[Array, " count"]:
    strips = jnp.arange(count)
    if count == end:
        return strips
    within = (strips + jax.random.uniform(key, (count,))) * (end / count)
    # A float32 just below the end may be rounded up to it.
    return jnp.minimum(within.astype(jnp.int32), end - 1)
