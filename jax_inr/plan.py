"""A plan: what stays fixed over a fit and is compiled in; and the data of its steps."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jax_inr.coordinates import pixel_grid
from jax_inr.fingerprint import held
from jax_inr.model import Model, Variables
from jax_inr.optimizers import ForeignOptimizer, Optimizer, Rates, as_optimizer
from jax_inr.tasks import Field, Task, pixel_colour
from jax_inr.tensors import as_array, structure

# Features of all points that take more are recomputed at each step.
MAX_FEATURE_BYTES = 1 << 30
# Points whose activations are in memory at a time, by platform.
TILE_POINTS = {"cpu": 1 << 10}
DEFAULT_TILE_POINTS = 1 << 18

Sampling = Literal["pixels", "lattice"]


class TrainData(NamedTuple):
    """The data of a step; the leading axis of all but the last is the measurements."""

    inputs: Any  # features of each measurement's points, or their positions; or None
    items: Any  # of the task
    values: Any  # of the task
    weights: Any  # of the task, or None
    numbers: "Numbers"


class Numbers(NamedTuple):
    """Numbers of a fit that compile nothing when they change."""

    rates: Rates
    penalties: tuple[Any, ...]  # the weight of each, and its items or None


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """The constants of a fit, which are compiled in; hashable.

    Two fits of equal plans and equal shapes share their programs.
    """

    model: Model  # with zeros for its numbers, which the variables hold
    optimizer: Optimizer | ForeignOptimizer
    predict: Callable[[Field, Any], Any] | None
    points: Callable[[Any], Any] | None
    combine: Callable[[Any, Any], Any] | None
    loss: Callable[[Any, Any], Any]
    penalties: tuple[tuple[Callable[..., Any], int | None], ...]
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
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns of row-column sampling: about `batch_size` grid points."""
        if self.batch_size is None:
            return self.height, self.width
        share = (self.batch_size / (self.height * self.width)) ** 0.5
        return max(round(self.height * share), 1), max(round(self.width * share), 1)


def make_plan(
    task: Task,
    model: Model,
    optimizer: Any,
    *,
    batch_size: int | None = None,
    sampling: Sampling = "pixels",
    platform: str = "cpu",
) -> TrainPlan:
    """The plan of a fit; a batch of as many measurements as there are means all.

    optimizer: one of ours, or an `optax.GradientTransformation`.
    """
    if not hasattr(optimizer, "make"):
        optimizer = as_optimizer(optimizer, model.shapes()["params"])
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
        predict=held(task.predict),
        points=held(task.points),
        combine=held(task.combine),
        loss=held(task.loss),
        penalties=tuple((held(p.function), p.points) for p in task.penalties),
        height=height,
        width=width,
        batch_size=batch_size,
        sampling=sampling,
        keep_features=not model.trains_encoding
        and task.points is not None
        and features <= MAX_FEATURE_BYTES,
        tile=max(TILE_POINTS.get(platform, DEFAULT_TILE_POINTS) // points, 1),
    )


def make_data(
    plan: TrainPlan, task: Task, variables: Variables, rates: Rates
) -> TrainData:
    """Put the measurements on the device, once, with their points or features."""
    return TrainData(
        make_inputs(plan, task, variables), *measurements(plan, task, rates)
    )


def measurements(plan: TrainPlan, task: Task, rates: Rates) -> tuple[Any, ...]:
    """The items, values, weights and numbers of `TrainData`."""
    as_arrays = as_array if plan.model.per_pixel else _on_grid(plan)
    values = as_arrays(np.asarray(task.values))
    items = jax.tree.map(as_arrays, task.items)
    weights = None if task.weights is None else as_arrays(task.weights)
    floats = Rates(*(jnp.asarray(x, jnp.float32) for x in rates))
    penalties = tuple(
        (jnp.float32(penalty.weight), jax.tree.map(jnp.asarray, penalty.items))
        for penalty in task.penalties
    )
    return items, values, weights, Numbers(floats, penalties)


def make_inputs(plan: TrainPlan, task: Task, variables: Variables) -> Any:
    """What the network is given of the measurements' points, or None."""
    if not plan.model.per_pixel:
        coords = as_array(pixel_grid(plan.height, plan.width))
    elif plan.points is None:
        return None
    elif plan.combine is pixel_colour:
        coords = as_array(task.items)
    else:
        coords = jax.jit(jax.vmap(plan.points))(jax.tree.map(jnp.asarray, task.items))
    if plan.keep_features:
        return _encode(plan.model, variables, coords)
    return coords


_encode = jax.jit(Model.encode, static_argnums=0)


def _on_grid(plan: TrainPlan) -> Callable[[Any], Array]:
    return lambda leaf: as_array(leaf).reshape(plan.height, plan.width, -1)
