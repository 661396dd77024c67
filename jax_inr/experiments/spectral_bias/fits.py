"""Networks of one shape, trained side by side along a leading axis, and watched."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_inr import tasks
from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.errors import DivergedError
from jax_inr.job import make_job
from jax_inr.kept import QUICK_COMPILE
from jax_inr.model import Model, Variables
from jax_inr.optimizers import Rates
from jax_inr.plan import Numbers, TrainData, TrainPlan
from jax_inr.training import init_state, train_chunk

Tell = Callable[[int, int], None]  # steps done, of how many

CHUNK_STEPS = 8  # between two looks at the loss, and at the keyboard
# One optimizer for all, at one rate: networks differ, not how they are trained.
ADAM = Config(optimizer="adam", learning_rate=1e-3)
PLAIN = ADAM.replace(encoding="none")


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How networks of one shape learn: their model, and what is compiled of it."""

    model: Model
    train: TrainPlan
    rates: Rates


def plan_of(config: Config, shape: Sequence[int]) -> Plan:
    """How networks of a config learn images (h, w, c)."""
    job = make_job(tasks.from_config(config, np.zeros(shape, np.float32)), config)
    return Plan(job.model, job.plan(), job.rates)


def doublings(last: int) -> list[int]:
    """1, 2, 4, 8, … and the last."""
    return sorted({2**k for k in range(last.bit_length())} | {last})


def draw(plan: Plan, seed: int, count: int = 1) -> Variables:
    """Networks side by side, each of its own draw."""
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(plan.model.init), compiler_options=QUICK_COMPILE)(keys)


def select(tree: Any, indices: Any) -> Any:
    """The networks at some indices of the leading axis; a single index drops it."""
    return jax.tree.map(lambda leaf: leaf[jnp.asarray(indices)], tree)


def inputs_of(plan: Plan, variables: Variables, coords: np.ndarray) -> Any:
    """What each network sees at coordinates (h, w, 2): (k, h*w, f), or the grid."""
    seen = coords.reshape(-1, 2) if plan.model.per_pixel else coords
    return jax.vmap(plan.model.encode, (0, None))(variables, jnp.asarray(seen))


def data_of(plan: Plan, variables: Variables, targets: np.ndarray) -> TrainData:
    """Inputs and targets of each network; targets (k, h, w, c), or (h, w, c) for all.

    Features are always kept: the images are small.
    """
    count = len(jax.tree.leaves(variables)[0])
    if targets.ndim == 3:
        targets = np.broadcast_to(targets, (count, *targets.shape))
    inputs = inputs_of(plan, variables, pixel_grid(*targets.shape[1:3]))
    return side_by_side(plan, inputs, targets)


def side_by_side(
    plan: Plan, inputs: Any, targets: Any, learning_rate: float | None = None
) -> TrainData:
    """Data of networks: inputs (k, …, f), as many targets, one rate for all.

    `learning_rate` left out is the plan's.
    """
    targets = jnp.asarray(targets).reshape(*inputs.shape[:-1], -1)
    rates = plan.rates
    if learning_rate is not None:
        rates = rates._replace(learning_rate=learning_rate)
    numbers = (jnp.full(len(inputs), number, targets.dtype) for number in rates)
    return TrainData(inputs, None, targets, None, Numbers(Rates(*numbers), ()))


def each_network(plan: Plan, function: Callable) -> Callable:
    """The function over a leading axis of networks."""
    if plan.model.per_pixel:
        return jax.vmap(function)
    # The CNN loops over strips of its grid, which is faster one network at a time.
    return lambda *args: jax.lax.map(lambda network: function(*network), args)


def train(
    plan: Plan,
    variables: Variables,
    data: TrainData,
    seed: int,
    steps: Sequence[int],
    tell: Tell,
) -> Iterator[tuple[int, Variables]]:
    """Train networks side by side; yields them after each of the steps.

    Args:
        variables: what `Model.init` gives, every leaf with a leading axis.
        data: what `data_of` gives.

    Raises:
        DivergedError: a loss is not finite any more.
    """

    @jax.jit
    def chunk(state: Any, constants: Any, data: TrainData, key: Any, n: Any) -> Any:
        def network(state: Any, constants: Any, data: TrainData) -> Any:
            state, losses = train_chunk(plan.train, state, constants, data, key, n)
            return state, losses[n - 1]

        return each_network(plan, network)(state, constants, data)

    constants = variables["constants"]
    state = jax.vmap(functools.partial(init_state, plan.train))(variables)
    key, done = jax.random.key(seed), 0
    for step in steps:
        while done < step:
            count = min(step - done, CHUNK_STEPS)
            state, losses = chunk(state, constants, data, key, count)
            done += count
            if not np.isfinite(losses).all():
                raise DivergedError(
                    f"the loss is not finite after {done} steps of a fit",
                    "take another image or --seed",
                )
            tell(done, steps[-1])
        yield step, {"params": state.params, "constants": constants}


def train_to(
    plan: Plan,
    variables: Variables,
    data: TrainData,
    seed: int,
    last: int,
    tell: Tell,
) -> Variables:
    """`train` to its end."""
    ((_, trained),) = train(plan, variables, data, seed, [last], tell)
    return trained


def predictor(plan: Plan, shape: tuple[int, ...]) -> Callable[..., np.ndarray]:
    """From networks and their inputs to images (k, *shape); compiled once."""

    @jax.jit
    def predict(variables: Variables, inputs: Any) -> Any:
        return each_network(plan, plan.model.colours)(variables, inputs)

    return lambda variables, inputs: np.asarray(predict(variables, inputs)).reshape(
        -1, *shape
    )
