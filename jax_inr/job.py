"""A job: all that decides the numbers of a fit, but for when it stops."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jax_inr import optimizers
from jax_inr.adapters import describe
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.model import Model, make_model
from jax_inr.optimizers import ForeignOptimizer, Optimizer, Rates
from jax_inr.plan import (
    MAX_FEATURE_BYTES,
    Sampling,
    TrainPlan,
    make_inputs,
    make_plan,
)
from jax_inr.tasks import Task, predict_item, squared


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """All that decides the numbers of a fit, but for when it stops."""

    task: Task
    model: Model
    optimizer: Optimizer | ForeignOptimizer
    rates: Rates
    seed: int = 0
    batch_size: int | None = None
    sampling: Sampling = "pixels"
    precision: str = "float32"

    def plan(self, platform: str = "cpu") -> TrainPlan:
        """What is compiled for the job."""
        return make_plan(
            self.task,
            self.model,
            self.optimizer,
            batch_size=self.batch_size,
            sampling=self.sampling,
            platform=platform,
        )

    @property
    def alike(self) -> Any:
        """Jobs of equal keys can share a program."""
        drawn = [penalty.items for penalty in self.task.penalties]
        leaves, tree = jax.tree.flatten((self.task.items, self.task.weights, drawn))
        shapes = tuple(np.shape(leaf) for leaf in leaves)
        return self.plan(), tree, shapes, np.shape(self.task.values)


def make_job(
    task: Task,
    config: Config,
    *,
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
) -> Job:
    """Resolve a config and a caller's objects to what a fit computes with.

    Raises:
        ConfigError: an object does not go with the others; both shapes are named.
    """
    model = make_model(config, *task.shape, encoding=encoding, network=network)
    variables = model.shapes()
    built, rates = optimizers.from_config(config)
    if optimizer is not None:
        built: Any = optimizers.as_optimizer(optimizer, variables["params"])
    if task.pixels is None or task.loss is not squared:
        check_task(task, model, variables)
    return Job(
        task=task,
        model=model,
        optimizer=built,
        rates=rates,
        seed=config.seed,
        batch_size=config.batch_size,
        sampling=config.sampling,
        precision=config.matmul_precision,
    )


def check_task(task: Task, model: Model, variables: Any) -> None:
    """Refuse a task whose predictions have other shapes than its values.

    Raises:
        ConfigError: names the object and both shapes.
    """
    first = jax.tree.map(lambda leaf: leaf[0], task.items)
    value = np.asarray(task.values)[0]

    def predict(variables: Any, item: Any) -> Any:
        return predict_item(task, lambda x: model.predict(variables, x), item)

    def traced(what: str, function: Any, *arguments: Any) -> Any:
        try:
            return jax.eval_shape(function, *arguments)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                f"{what} cannot be traced: {reason[:200]}",
                "it must be a pure function of arrays",
            ) from error

    what = describe(task.predict or task.combine)
    prediction = traced(f"task's {what}", predict, variables, first)
    if getattr(prediction, "shape", None) != value.shape:
        raise ConfigError(
            f"task's {what} predicts a value of shape "
            f"{getattr(prediction, 'shape', type(prediction).__name__)}, and the "
            f"measured values have shape {value.shape} each"
        )
    loss = traced(f"loss {describe(task.loss)}", task.loss, prediction, value)
    leaves = jax.tree.leaves(loss)
    if len(leaves) != 1 or leaves[0] is not loss:
        raise ConfigError(
            f"loss {describe(task.loss)} gives a {type(loss).__name__}, not an array"
        )
    if not np.issubdtype(loss.dtype, np.floating):
        raise ConfigError(
            f"loss {describe(task.loss)} gives {loss.dtype}, which has no gradient",
            "let it give floats",
        )


def sharing(jobs: list[Job], platform: str) -> tuple[bool, TrainPlan]:
    """Whether all lanes have the same inputs, and the plan of all of them.

    Features of the same frequencies serve all lanes; those of many may be too many to
    keep, and are then computed anew at each step.
    """
    first, plan = jobs[0], jobs[0].plan(platform)
    share = len(jobs)
    if platform != "cpu":
        # The activations in memory at a time are those of all lanes of a device.
        plan = dataclasses.replace(plan, tile=max(plan.tile // share, 1 << 10))
    same = all(_equal(job.task.items, first.task.items) for job in jobs)
    if not plan.keep_features:
        return same, plan
    drawn = jax.eval_shape(first.model.encoding.init, jax.random.key(0))
    if jax.tree.leaves(drawn):
        start = first.seed, jax.tree.leaves(first.model.encoding)
        same = same and all(
            (job.seed, jax.tree.leaves(job.model.encoding)) == start for job in jobs
        )
    if not same:
        inputs = jax.eval_shape(
            lambda: make_inputs(plan, first.task, first.model.init(jax.random.key(0)))
        )
        if 4 * inputs.size * len(jobs) > MAX_FEATURE_BYTES:
            plan = dataclasses.replace(plan, keep_features=False)
            same = all(_equal(job.task.items, first.task.items) for job in jobs)
    return same, plan


def _equal(a: Any, b: Any) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x is y or np.array_equal(x, y) for x, y in leaves)
