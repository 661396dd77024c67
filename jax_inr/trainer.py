"""A fit in progress: its state on the device, and the chunk compiled for it."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Float

from jax_inr.config import Config
from jax_inr.errors import DeviceError
from jax_inr.machine import describe, select
from jax_inr.networks import Variables
from jax_inr.optimizers import make_schedule
from jax_inr.rendering import render
from jax_inr.tensors import flatten, unflatten_like
from jax_inr.training import (
    QUICK_COMPILE,
    TrainData,
    init_state,
    make_data,
    make_plan,
    train_chunk,
)

T = TypeVar("T")


def _in_background(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """What a function will give, from a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return future


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
        # XLA compiles the chunk on one core while this thread draws the weights.
        self._chunk = _in_background(self._compile_chunk, target.shape)
        draw = jax.jit(self._plan.model.init, compiler_options=QUICK_COMPILE)
        # What is put on a device stays there, and takes the computation along.
        variables = jax.device_put(draw(weights_key), self._device)
        self._constants = variables["constants"]
        self._state = jax.jit(init_state, static_argnums=0)(self._plan, variables)
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
        self.predict()
        self._chunk.result()

    def _compile_chunk(self, shape: tuple[int, ...]) -> jax.stages.Compiled:
        """The train chunk for a target of this shape, from shapes alone."""
        plan, on_device = self._plan, SingleDeviceSharding(self._device)
        variables = jax.eval_shape(plan.model.init, self._key)
        state = jax.eval_shape(functools.partial(init_state, plan), variables)
        target = jax.ShapeDtypeStruct(shape, jnp.float32)
        data = jax.eval_shape(functools.partial(make_data, plan), variables, target)
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=on_device
            ),
            state,
        )
        chunk = jax.jit(train_chunk, static_argnums=0, donate_argnums=1)
        arguments = (state, variables["constants"], data, self._key, 0)
        return chunk.lower(plan, *arguments).compile()

    def advance(self, num_steps: int) -> Float[np.ndarray, " steps"]:
        """Take steps; returns the loss before each."""
        self._state, losses = self._chunk.result()(
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
