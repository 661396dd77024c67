"""The trainer: k >= 1 fits in progress, in one compiled program, on JAX's devices.

A fit is a lane. Lanes share a plan, and have images, seeds and numbers of their own.
Nothing is donated: the state before a chunk stays until the chunk is known to be good,
so that a lane that diverges, or an interrupt, loses no more than the chunk.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from jax_inr import machine
from jax_inr.errors import DeviceError
from jax_inr.evaluation import measured_mse
from jax_inr.job import Job, sharing
from jax_inr.kept import QUICK_COMPILE, Kept
from jax_inr.metrics import clipped_mse
from jax_inr.model import Model, Variables
from jax_inr.plan import (
    TrainData,
    make_inputs,
    measurements,
)
from jax_inr.program import COPIED, LANES, compile_chunk, sharding_of
from jax_inr.rendering import render
from jax_inr.tensors import flatten, float32, keyed, plain, stacked, unflatten_like
from jax_inr.training import MAX_CHUNK_STEPS, init_state

T = TypeVar("T")


class JaxTrainer:
    """Fits in progress, driven by `loop.run`: states, data and the compiled chunk.

    Args:
        jobs: of one plan (`Job.alike`).
        device: "auto", "cpu" or "gpu"; all devices of that kind share the lanes.

    Raises:
        DeviceError: there is no such device, or it has no such precision.
    """

    max_chunk_steps = MAX_CHUNK_STEPS

    def __init__(self, jobs: Sequence[Job], device: str = "auto") -> None:
        self._device = machine.select(device)
        platform = self._device.platform
        if jobs[0].precision == "tf32" and platform == "cpu":
            raise DeviceError(
                "matmul_precision tf32 needs a GPU, and this fit runs on the CPU",
                "use matmul_precision=float32 or matmul_precision=bfloat16",
            )
        self._devices = (self._device,)
        if len(jobs) > 1:
            self._devices = tuple(jax.devices(platform)[: len(jobs)])
        self.count = len(jobs)
        # The axis of lanes is a multiple of the devices: the first lane fills it up.
        self._jobs = [*jobs, *[jobs[0]] * (-len(jobs) % len(self._devices))]
        self._shares_inputs, self._plan = sharing(self._jobs, platform)
        in_turn = platform == "cpu"
        # XLA compiles the chunk on one core while this thread draws the weights.
        self._chunk = _in_background(
            compile_chunk, self._plan, self._devices, in_turn, *self._shapes()
        )
        drawn = [_draw(job, self._device) for job in self._jobs]
        states = [_init_state(self._plan, variables) for variables, _ in drawn]
        self._state = self._before = self._stack(states)
        self._constants = self._stack([v["constants"] for v, _ in drawn])
        self._keys = self._stack([key for _, key in drawn])
        self._data: TrainData | None = None
        self._held_out: dict[int, Any] = {}  # inputs of each lane's held-out points

    @property
    def device(self) -> str:
        """The device of the fits, for people."""
        return machine.describe(self._device)

    @property
    def steps(self) -> list[int]:
        """Optimizer steps done by each lane."""
        return np.asarray(self._state.step).tolist()[: self.count]

    @property
    def program_bytes(self) -> int:
        """Bytes of the compiled chunk: arguments, results and temporaries."""
        count = self._chunk.result().memory_analysis()
        if count is None:
            return 0
        return int(
            count.argument_size_in_bytes
            + count.output_size_in_bytes
            + count.temp_size_in_bytes
        )

    def compile(self) -> None:
        """Compile the train chunk and the render chunk; put the data on the device."""
        self._data = self._make_data()
        self.evaluate(0)
        self._chunk.result()

    def advance(
        self, num_steps: int, active: Sequence[bool]
    ) -> tuple[Float[np.ndarray, "k steps"], Bool[np.ndarray, " k"]]:
        """Take steps of the active lanes.

        Returns:
            The loss before each step, and whether a lane is good; the state of a lane
            that is not finite stays as it was before.
        """
        padding = [False] * (len(self._jobs) - self.count)
        flags = self._put(np.array([*active, *padding]))
        # Kept first: an interrupt may come at any moment from here on.
        self._before = before = self._state
        after, losses, good = self._chunk.result()(
            before, self._constants, self._data, self._keys, num_steps, flags
        )
        # Waits for the steps, and raises what went wrong in them.
        losses = np.asarray(losses)[: self.count, :num_steps]
        self._state = after
        return losses, np.asarray(good)[: self.count]

    def rollback(self, lane: int) -> None:
        """Take a lane back to before the last `advance`."""

        def back(new: Any, old: Any) -> Any:
            kept = np.array(new)
            kept[lane] = np.asarray(old)[lane]
            return kept

        kept = jax.tree.map(back, plain(self._state), plain(self._before))
        self._state = self._put(keyed(kept, self._state))

    def learning_rate(self, lane: int, step: int) -> float:
        """The learning rate of a step."""
        job = self._jobs[lane]
        return float(job.optimizer.learning_rate(job.rates, step))

    def evaluate(self, lane: int) -> float:
        """The mean squared error of a lane's measurements, colours clipped."""
        task = self._jobs[lane].task
        if task.held_out is not None:
            return self._held_out_mse(lane)
        if task.pixels is not None:
            predicted = self.predict(lane).reshape(-1, task.shape[2])
            index = ... if task.is_whole_image else np.flatnonzero(task.pixels)
            return clipped_mse(predicted[index], np.asarray(task.values))
        return self._measured_mse(lane)

    def predict(self, lane: int) -> Float[np.ndarray, "h w c"]:
        """A lane's colours over the grid of the image."""
        height, width, _ = self._jobs[lane].task.shape
        variables = jax.device_put(self.variables(lane), self._device)
        return render(self._plan.model, variables, height, width)

    def variables(self, lane: int) -> Variables:
        """A lane's parameters and constants, in the host's memory."""
        return {
            "params": _lane(self._state.params, lane),
            "constants": _lane(self._constants, lane),
        }

    def parameters(self, lane: int) -> dict[str, np.ndarray]:
        """Parameters and constants as the tensors of a field file."""
        return flatten(self.variables(lane))

    def state(self, lane: int) -> dict[str, np.ndarray]:
        """The tensors that a resumed run needs beside its job."""
        return flatten(_lane(self._checkpoint, lane))

    def load_state(self, lane: int, tensors: dict[str, np.ndarray]) -> None:
        """Load what `state` returned; CheckpointError names a leaf that differs."""
        whole = jax.tree.map(np.array, plain(self._checkpoint))
        loaded = unflatten_like(jax.tree.map(lambda leaf: leaf[lane], whole), tensors)

        def put(leaf: np.ndarray, new: Any) -> np.ndarray:
            leaf[lane] = np.asarray(new)
            return leaf

        whole = keyed(jax.tree.map(put, whole, loaded), self._checkpoint)
        self._constants, self._state, self._keys = (
            self._put(whole[name]) for name in ("constants", "state", "key")
        )
        self._before = self._state
        self._held_out.clear()
        if self._data is not None:
            # The features on the device are those of the frequencies before.
            self._data = self._make_data()

    @property
    def _checkpoint(self) -> dict[str, Any]:
        return {"constants": self._constants, "state": self._state, "key": self._keys}

    def _held_out_mse(self, lane: int) -> float:
        job, plan = self._jobs[lane], self._plan
        assert job.task.held_out is not None
        task, variables = job.task.held_out.task, self.variables(lane)
        if lane not in self._held_out:
            # Features of fixed frequencies stay as they are over a fit.
            self._held_out[lane] = make_inputs(plan, task, variables)
        items = jax.tree.map(jnp.asarray, task.items)
        inputs, values = self._held_out[lane], np.asarray(task.values)
        return measured_mse(plan, variables, inputs, items, values)

    def _measured_mse(self, lane: int) -> float:
        assert self._data is not None
        data = self._data
        inputs = data.inputs if self._shares_inputs else _lane(data.inputs, lane)
        items, values = _lane((data.items, data.values), lane)
        variables = self.variables(lane)
        return measured_mse(self._plan, variables, inputs, items, values)

    def _make_data(self) -> TrainData:
        made = []
        for lane, job in enumerate(self._jobs):
            inputs = None
            if not lane or not self._shares_inputs:
                inputs = make_inputs(self._plan, job.task, self.variables(lane))
            rest = measurements(self._plan, job.task, job.rates)
            made.append(TrainData(inputs, *rest))
        if self._shares_inputs:
            inputs = self._put(made[0].inputs, COPIED)
            return self._stack([data._replace(inputs=None) for data in made])._replace(
                inputs=inputs
            )
        return self._stack(made)

    def _shapes(self) -> tuple[Any, ...]:
        """The shapes of the chunk's arguments, hashable: from shapes alone."""
        plan, job, count = self._plan, self._jobs[0], len(self._jobs)
        key = jax.eval_shape(lambda: jax.random.key(0))
        variables = job.model.shapes()
        state = jax.eval_shape(functools.partial(init_state, plan), variables)
        inputs = jax.eval_shape(
            lambda variables: make_inputs(plan, job.task, variables), variables
        )
        rest = jax.eval_shape(lambda: measurements(plan, job.task, job.rates))

        def lanes(tree: Any) -> Any:
            return jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype),
                tree,
            )

        inputs = inputs if self._shares_inputs else lanes(inputs)
        data = TrainData(inputs, *lanes(rest))
        shapes = lanes(state), lanes(variables["constants"]), data, lanes(key)
        leaves, tree = jax.tree.flatten(shapes)
        return self._shares_inputs, tree, tuple(leaves)

    def _stack(self, trees: list[Any]) -> Any:
        return self._put(jax.tree.map(stacked, *trees))

    def _put(self, tree: Any, spec: PartitionSpec = LANES) -> Any:
        return jax.device_put(tree, sharding_of(self._devices, spec))


def _lane(tree: Any, lane: int) -> Any:
    own = jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[lane]), plain(tree))
    return keyed(own, tree)


def _in_background(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """The result of a function that runs in a thread of its own."""

    def in_float32() -> T:
        # JAX's switches of a context are those of one thread.
        with float32():
            return function(*arguments)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(in_float32)
    pool.shutdown(wait=False)
    return future


@functools.partial(Kept, compiler_options=QUICK_COMPILE)
def draw_variables(model: Model, seed: Any) -> tuple[Variables, Array]:
    """A fit's variables before the first step, and the key of its batches."""
    weights_key, key = jax.random.split(jax.random.key(seed))
    return model.init(weights_key), key


def _draw(job: Job, device: Any) -> tuple[Variables, Array]:
    """A job's variables before the first step, and the key of its batches."""
    # What is put on a device stays there, and takes the computation along.
    return jax.device_put(draw_variables(job.model, np.uint32(job.seed)), device)


_init_state = Kept(init_state, static=(0,))
