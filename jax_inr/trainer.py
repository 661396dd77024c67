"""A fit in progress: its state on the devices, and the chunk compiled for it."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from jax_inr.config import Config
from jax_inr.devices import Device, describe, select
from jax_inr.errors import DeviceError
from jax_inr.networks import Variables
from jax_inr.optimizers import make_schedule
from jax_inr.rendering import render
from jax_inr.splits import num_trained
from jax_inr.tensors import flatten, unflatten_like
from jax_inr.training import (
    QUICK_COMPILE,
    TrainData,
    TrainPlan,
    init_state,
    make_data,
    make_plan,
    train_chunk,
)

T = TypeVar("T")

# A processor's cores share the pixels of a full-batch step as devices of their own,
# where the host has several: each works through its tiles alone, and they meet once a
# step rather than at every product.
SHARED_TILE_PIXELS = 512
MAX_SHARED_BYTES = 1 << 22  # of the parameters, which every device has
AXIS = "pixels"


def _in_background(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """What a function will give, from a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return future


def sharing_devices(plan: TrainPlan, first: Device) -> list[Device]:
    """The devices whose pixels together are those of a step; `first` alone on GPUs."""
    devices = jax.devices(first.platform)
    config = plan.config
    widths = (config.num_features, *config.hidden_features)
    pixels = num_trained(config, plan.height, plan.width)
    shares = (
        first.platform == "cpu"
        and plan.model.per_pixel
        and not plan.is_sampled
        and pixels % len(devices) == 0
        and pixels // len(devices) >= SHARED_TILE_PIXELS
        and 4 * sum(a * b for a, b in itertools.pairwise(widths)) <= MAX_SHARED_BYTES
    )
    return devices if shares else [first]


class JaxTrainer:
    """A fit in progress, driven by `loop.run`: state, data and compiled chunk."""

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
        weights_key, key = jax.random.split(jax.random.key(config.seed))
        plan = make_plan(config, *target.shape, platform=platform)
        devices = sharing_devices(plan, self._device)
        if len(devices) > 1:
            plan = dataclasses.replace(
                plan, pixel_axis=AXIS, tile_pixels=SHARED_TILE_PIXELS
            )
        self._plan = plan
        mesh = Mesh(np.array(devices), (AXIS,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._by_pixels = NamedSharding(mesh, PartitionSpec(AXIS))
        # XLA compiles the chunk on one core while this thread draws the weights.
        self._chunk = _in_background(self._compile_chunk, target.shape, key)
        draw = jax.jit(plan.model.init, compiler_options=QUICK_COMPILE)
        # What is put on a device stays there, and takes the computation along.
        variables = jax.device_put(draw(weights_key), self._device)
        self._target = target
        self._data: TrainData | None = None
        self._schedule = make_schedule(config)
        state = jax.jit(init_state, static_argnums=0)(plan, variables)
        self._take_up(state, variables["constants"], key)

    def _take_up(self, *leaves: Any) -> None:
        """State, constants and key, put on every device."""
        put = jax.device_put(leaves, self._everywhere)
        self._state, self._constants, self._key = put

    @property
    def device(self) -> str:
        return describe(self._device)

    @property
    def step(self) -> int:
        return int(self._state.step)

    def compile(self) -> None:
        """Compile the train chunk and the render chunk; put the data on the device."""
        self._data = self._make_data()
        self.predict()
        self._chunk.result()

    def _make_data(self) -> TrainData:
        data = make_data(self._plan, self._variables, self._target)
        return jax.device_put(data, self._shardings)

    @property
    def _shardings(self) -> Any:
        """Of the data: pixels are shared; the CNN's grid stays whole."""
        shared = self._by_pixels if self._plan.pixel_axis else self._everywhere
        return TrainData(shared, shared, self._everywhere)  # pyright: ignore

    def _compile_chunk(self, shape: tuple[int, ...], key: Any) -> jax.stages.Compiled:
        """The train chunk for a target of this shape, from shapes alone."""
        plan = self._plan
        variables = jax.eval_shape(plan.model.init, key)
        state = jax.eval_shape(functools.partial(init_state, plan), variables)
        target = jax.ShapeDtypeStruct(shape, jnp.float32)
        data = jax.eval_shape(functools.partial(make_data, plan), variables, target)
        chunk = functools.partial(train_chunk, plan)
        if plan.pixel_axis:
            pixels = PartitionSpec(AXIS)
            parts: Any = TrainData(pixels, pixels, PartitionSpec())  # pyright: ignore
            whole = PartitionSpec()
            chunk = jax.shard_map(
                chunk,
                mesh=self._everywhere.mesh,
                in_specs=(whole, whole, parts, whole, whole),
                out_specs=whole,
                check_vma=False,
            )
        everywhere = self._everywhere
        jitted = jax.jit(
            chunk,
            donate_argnums=0,
            in_shardings=(everywhere, everywhere, self._shardings, everywhere, None),
            out_shardings=everywhere,
        )
        arguments = (state, variables["constants"], data, key, jnp.int32(0))
        return jitted.lower(*arguments).compile()

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
        key = jax.random.wrap_key_data(checkpoint["key"])
        self._take_up(checkpoint["state"], checkpoint["constants"], key)
        if self._data is not None:
            # Its features are those of the frequencies before.
            self._data = self._make_data()

    @property
    def _checkpoint(self) -> dict[str, Any]:
        key = jax.random.key_data(self._key)
        return {"constants": self._constants, "state": self._state, "key": key}

    @property
    def _variables(self) -> Variables:
        """What the first device has of parameters and constants, which is all."""
        variables = {"params": self._state.params, "constants": self._constants}
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), variables)
