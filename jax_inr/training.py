"""The train chunk: a pure function of (state, data, key), jitted with donated state.

`train_step` is the step a reader looks for; `train_chunk` runs any number of them in
one compiled program. Both compose with `vmap` over seeds, pictures or rates.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.cost import CPU_TILE_PIXELS, MAX_FEATURE_BYTES
from jax_inr.loop import MAX_CHUNK_STEPS
from jax_inr.networks import Model, Variables, make_model
from jax_inr.optimizers import make_optimizer
from jax_inr.splits import num_trained, train_mask

# Pixels whose activations are in memory at a time, by platform.
TILE_PIXELS = {"cpu": CPU_TILE_PIXELS}
DEFAULT_TILE_PIXELS = 1 << 18
# For a program that runs once: half the time to compile, and as exact.
QUICK_COMPILE: Any = {"xla_backend_optimization_level": 0}


class TrainState(NamedTuple):
    """What a step changes: trained parameters, optimizer state, steps done."""

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]


class TrainData(NamedTuple):
    """What a step reads: pixels (n, ...), or the grid (h, w, ...) for the CNN."""

    inputs: Float[Array, "*n f"]  # features, or coordinates where those are not kept
    targets: Float[Array, "*n c"]
    learning_rate: Float[Array, ""]  # the peak of the schedule


def mse(
    prediction: Float[Array, "*n c"], target: Float[Array, "*n c"]
) -> Float[Array, ""]:
    """Mean squared error over pixels and channels; no half."""
    return jnp.mean((prediction - target) ** 2)


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """What stays fixed over a fit, and so is compiled in; hashable."""

    config: Config
    model: Model
    height: int
    width: int
    batch_size: int | None  # None: every trained pixel at every step
    keep_features: bool  # inputs are features computed once, not coordinates
    tile_pixels: int

    def loss(
        self, params: Any, constants: Any, inputs: Any, targets: Array
    ) -> Float[Array, ""]:
        """The mean squared error of the network on some pixels, or on the grid.

        `inputs` are features where the plan keeps them, else coordinates, or a pair
        of rows and columns whose crossings are meant.
        """
        variables = {"params": params, "constants": constants}
        if isinstance(inputs, tuple):
            inputs = self.model.encode_lattice(variables, *inputs)
            inputs = inputs.reshape(-1, inputs.shape[-1])
        elif not self.keep_features:
            inputs = self.model.encode(variables, inputs)
        return mse(self.model.colours(variables, inputs), targets)

    @property
    def is_sampled(self) -> bool:
        """Whether a step takes some of the pixels rather than all."""
        return self.batch_size is not None or self.config.sampling == "lattice"

    @property
    def lattice(self) -> tuple[int, int]:
        """Rows and columns of a lattice of about `batch_size` crossings."""
        if self.batch_size is None:
            return self.height, self.width
        share = (self.batch_size / (self.height * self.width)) ** 0.5
        return max(round(self.height * share), 1), max(round(self.width * share), 1)


def make_plan(
    config: Config, height: int, width: int, channels: int, platform: str = "cpu"
) -> TrainPlan:
    """The plan of a fit; a batch of as many pixels as are trained on means all."""
    pixels = num_trained(config, height, width)
    batch_size = config.batch_size
    if batch_size is not None and batch_size >= pixels:
        batch_size = None
    few = 4 * pixels * config.num_features <= MAX_FEATURE_BYTES
    return TrainPlan(
        config=config,
        model=make_model(config, height, width, channels),
        height=height,
        width=width,
        batch_size=batch_size,
        keep_features=few and not config.trains_encoding,
        tile_pixels=TILE_PIXELS.get(platform, DEFAULT_TILE_PIXELS),
    )


def init_state(plan: TrainPlan, variables: Variables) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    opt_state = make_optimizer(plan.config).init(params)
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32))


def make_data(
    plan: TrainPlan, variables: Variables, target: Float[Array | np.ndarray, "h w c"]
) -> TrainData:
    """Put coordinates (or their features) and colours on the device, once.

    Of the pixels that are trained on: held-out ones are not among them.
    """
    height, width, _ = target.shape
    inputs = trained_pixels(plan, jnp.asarray(pixel_grid(height, width)))
    targets = trained_pixels(plan, jnp.asarray(target))
    if plan.keep_features:
        inputs = jax.jit(plan.model.encode)(variables, inputs)
    return TrainData(inputs, targets, jnp.float32(plan.config.learning_rate))


def trained_pixels(
    plan: TrainPlan, grid: Float[Array, "h w k"]
) -> Float[Array, "*n k"]:
    """What a network is trained on of a grid: its pixels in a row; for the CNN, it."""
    if not plan.model.per_pixel:
        return grid
    pixels = grid.reshape(-1, grid.shape[-1])
    if plan.config.train_pixels == "all":
        return pixels
    mask = train_mask(plan.config, plan.height, plan.width)
    return pixels[np.flatnonzero(mask)]


def train_step(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, ""]]:
    """One optimizer step; returns the new state and the loss before it.

    The pixels of a mini-batch follow `fold_in(key, step)`: a resumed run draws what
    an uninterrupted one would have.
    """
    if plan.model.per_pixel and not plan.is_sampled:

        def value_and_grad(params: Any) -> tuple[Float[Array, ""], Any]:
            return _over_tiles(plan, params, constants, data)
    else:
        batch = data.inputs, data.targets
        if plan.model.per_pixel:
            batch = draw_batch(plan, data, jax.random.fold_in(key, state.step))

        def value_and_grad(params: Any) -> tuple[Float[Array, ""], Any]:
            return jax.value_and_grad(plan.loss)(params, constants, *batch)

    loss, grads = value_and_grad(state.params)
    optimizer = make_optimizer(plan.config, data.learning_rate)
    # Only a line search looks at what comes after the parameters.
    updates, opt_state = optimizer.update(
        grads,
        state.opt_state,
        state.params,
        value=loss,
        grad=grads,
        value_fn=lambda params: value_and_grad(params)[0],
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), loss


def draw_batch(
    plan: TrainPlan, data: TrainData, key: PRNGKeyArray
) -> tuple[Any, Float[Array, "b c"]]:
    """Inputs and colours of a mini-batch.

    Single pixels are drawn uniformly, with replacement. A lattice has one row of each
    of as many equal strips, and columns alike: every pixel is as likely as any other,
    and a step sees each once, or twice where two strips share its row or column.
    """
    if plan.config.sampling == "pixels":
        size, pixels = plan.batch_size or 0, len(data.targets)
        chosen = jax.random.randint(key, (size,), 0, pixels)
        return data.inputs[chosen], data.targets[chosen]
    rows_key, columns_key = jax.random.split(key)
    rows = _one_of_each_strip(rows_key, plan.lattice[0], plan.height)
    columns = _one_of_each_strip(columns_key, plan.lattice[1], plan.width)
    chosen = (rows[:, None] * plan.width + columns).ravel()
    if plan.keep_features:
        return data.inputs[chosen], data.targets[chosen]
    return (rows / plan.height, columns / plan.width), data.targets[chosen]


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
    """Loss and gradient over all pixels, summed tile by tile.

    The activations of a tile stay in the processor's cache, which makes a step
    faster, and memory for them stops growing with the picture.
    """
    pixels = len(data.targets)
    tile = min(plan.tile_pixels, pixels)

    def share(start: Any, size: int) -> Any:
        part = (
            jax.lax.dynamic_slice_in_dim(leaf, start, size)
            for leaf in (data.inputs, data.targets)
        )
        parts = jax.value_and_grad(plan.loss)(params, constants, *part)
        return jax.tree.map(lambda leaf: leaf * (size / pixels), parts)

    def add_tile(i: Any, total: Any) -> Any:
        return jax.tree.map(jnp.add, total, share(i * tile, tile))

    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    total = jax.lax.fori_loop(0, pixels // tile, add_tile, zero)
    if rest := pixels % tile:
        total = jax.tree.map(jnp.add, total, share(pixels - rest, rest))
    return total


def train_chunk(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
    num_steps: Int[Array, ""],
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
