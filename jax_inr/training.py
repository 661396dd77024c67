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
from jax_inr.devices import describe, select
from jax_inr.errors import DeviceError
from jax_inr.loop import MAX_CHUNK_STEPS
from jax_inr.memory import CPU_TILE_PIXELS, MAX_FEATURE_BYTES
from jax_inr.networks import Model, Variables, make_model
from jax_inr.optimizers import make_optimizer, make_schedule
from jax_inr.rendering import render
from jax_inr.tensors import flatten, unflatten_like

# Pixels whose activations are in memory at a time, by platform.
TILE_PIXELS = {"cpu": CPU_TILE_PIXELS}
DEFAULT_TILE_PIXELS = 1 << 18


class TrainState(NamedTuple):
    """What a step changes: trained parameters, optimizer state, steps done."""

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]


class TrainData(NamedTuple):
    """What a step reads: pixels (n, ...), or the grid (h, w, ...) for the CNN."""

    inputs: Float[Array, "*n f"]  # features, or coordinates where those are too many
    targets: Float[Array, "*n c"]


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
    batch_size: int | None  # None: every pixel at every step
    keep_features: bool  # inputs are features computed once, not coordinates
    tile_pixels: int

    def loss(
        self, params: Any, constants: Any, inputs: Array, targets: Array
    ) -> Float[Array, ""]:
        """The mean squared error of the network on some pixels, or on the grid."""
        variables = {"params": params, "constants": constants}
        if not self.keep_features:
            inputs = self.model.encode(variables, inputs)
        return mse(self.model.colours(variables, inputs), targets)


def make_plan(
    config: Config, height: int, width: int, channels: int, platform: str = "cpu"
) -> TrainPlan:
    """The plan of a fit; a batch as large as the picture means all of it."""
    pixels = height * width
    batch_size = config.batch_size
    if batch_size is not None and batch_size >= pixels:
        batch_size = None
    return TrainPlan(
        config=config,
        model=make_model(config, height, width, channels),
        batch_size=batch_size,
        keep_features=4 * pixels * config.num_features <= MAX_FEATURE_BYTES,
        tile_pixels=TILE_PIXELS.get(platform, DEFAULT_TILE_PIXELS),
    )


def init_state(plan: TrainPlan, variables: Variables) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    opt_state = make_optimizer(plan.config).init(params)
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32))


def make_data(plan: TrainPlan, variables: Variables, target: np.ndarray) -> TrainData:
    """Put coordinates (or their features) and colours on the device, once."""
    height, width, channels = target.shape
    inputs = jnp.asarray(pixel_grid(height, width))
    targets = jnp.asarray(target)
    if plan.model.per_pixel:
        inputs, targets = inputs.reshape(-1, 2), targets.reshape(-1, channels)
    if plan.keep_features:
        inputs = jax.jit(plan.model.encode)(variables, inputs)
    return TrainData(inputs, targets)


def train_step(
    plan: TrainPlan,
    state: TrainState,
    constants: Any,
    data: TrainData,
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, ""]]:
    """One optimizer step; returns the new state and the loss before it.

    The pixels of a mini-batch are drawn uniformly, with replacement, by
    `fold_in(key, step)`: a resumed run draws what an uninterrupted one would have.
    """
    value_and_grad = jax.value_and_grad(plan.loss)
    if not plan.model.per_pixel:
        loss, grads = value_and_grad(state.params, constants, *data)
    elif plan.batch_size is None:
        loss, grads = _over_tiles(plan, value_and_grad, state.params, constants, data)
    else:
        step_key = jax.random.fold_in(key, state.step)
        pixels = jax.random.randint(step_key, (plan.batch_size,), 0, len(data.targets))
        batch = jax.tree.map(lambda leaf: leaf[pixels], data)
        loss, grads = value_and_grad(state.params, constants, *batch)
    optimizer = make_optimizer(plan.config)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), loss


def _over_tiles(
    plan: TrainPlan, value_and_grad: Any, params: Any, constants: Any, data: TrainData
) -> tuple[Float[Array, ""], Any]:
    """Loss and gradient over all pixels, summed tile by tile.

    The activations of a tile stay in the processor's cache, which makes a step
    faster, and memory for them stops growing with the picture.
    """
    pixels = len(data.targets)
    tile = min(plan.tile_pixels, pixels)

    def share(start: Any, size: int) -> Any:
        part = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), data
        )
        parts = value_and_grad(params, constants, *part)
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


class JaxTrainer:
    """A fit in progress, driven by `fitting.run`: state, data and compiled chunk."""

    def __init__(
        self, config: Config, target: Float[np.ndarray, "h w c"], device: str = "auto"
    ) -> None:
        self._device = select(device)
        platform = self._device.platform
        if config.matmul_precision == "tf32" and platform == "cpu":
            raise DeviceError(
                "matmul_precision tf32 needs a GPU, and this fit runs on the CPU",
                "use --matmul-precision float32 or bfloat16",
            )
        weights_key, self._key = jax.random.split(jax.random.key(config.seed))
        self._plan = make_plan(config, *target.shape, platform=platform)
        variables = jax.jit(self._plan.model.init)(weights_key)
        # What is put on a device stays there, and takes the computation along.
        variables = jax.device_put(variables, self._device)
        self._constants = variables["constants"]
        self._state = init_state(self._plan, variables)
        self._target = target
        self._data: TrainData | None = None
        self._schedule = make_schedule(config)

    @property
    def device(self) -> str:
        return describe(self._device)

    @property
    def step(self) -> int:
        return int(self._state.step)

    def compile(self) -> None:
        """Compile the train chunk and the render chunk; put the data on the device."""
        self._data = make_data(self._plan, self._variables, self._target)
        chunk = jax.jit(train_chunk, static_argnums=0, donate_argnums=1)
        arguments = (self._state, self._constants, self._data, self._key, 0)
        self._chunk = chunk.lower(self._plan, *arguments).compile()
        self.predict()

    def advance(self, num_steps: int) -> Float[np.ndarray, " steps"]:
        """Take steps; returns the loss before each."""
        self._state, losses = self._chunk(
            self._state, self._constants, self._data, self._key, num_steps
        )
        return np.asarray(losses)[:num_steps]

    def learning_rate(self, step: int) -> float:
        return float(np.asarray(self._schedule(step)))

    def predict(self) -> Float[np.ndarray, "h w c"]:
        """The network's colours over the picture's own grid."""
        height, width, _ = self._target.shape
        return render(self._plan.model, self._variables, height, width)

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters and constants as the tensors of a field file."""
        return flatten(self._variables)

    def state(self) -> dict[str, np.ndarray]:
        """All that a resumed run needs beside its config and picture."""
        return flatten(self._checkpoint)

    def load_state(self, tensors: dict[str, np.ndarray]) -> None:
        """Take up what `state` gave; CheckpointError names a leaf that differs."""
        checkpoint = unflatten_like(self._checkpoint, tensors)
        checkpoint = jax.device_put(checkpoint, self._device)
        self._constants, self._state = checkpoint["constants"], checkpoint["state"]
        self._key = jax.random.wrap_key_data(checkpoint["key"])
        if self._data is not None:
            # Its features are those of the frequencies before.
            self._data = make_data(self._plan, self._variables, self._target)

    @property
    def _checkpoint(self) -> dict[str, Any]:
        key = jax.random.key_data(self._key)
        return {"constants": self._constants, "state": self._state, "key": key}

    @property
    def _variables(self) -> Variables:
        return {"params": self._state.params, "constants": self._constants}
