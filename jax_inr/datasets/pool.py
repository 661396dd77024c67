"""A pool of lanes for images of one shape: the compiled chunk, and who is in it."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jax_inr import machine, tasks
from jax_inr.config import Config
from jax_inr.datasets.lanes import (
    FREE,
    RUNNING,
    Lane,
    LanePlan,
    New,
    Shared,
    advance,
    advance_together,
    begin,
)
from jax_inr.errors import ConfigError
from jax_inr.job import make_job
from jax_inr.lanes import TARGET_EVALUATIONS
from jax_inr.plan import make_inputs, measurements
from jax_inr.program import COPIED, LANES, sharding_of
from jax_inr.tensors import float32
from jax_inr.trainer import draw_variables

CHUNKS_A_FIT = 20  # a lane that ends is free again after about this share of a fit


@functools.lru_cache(maxsize=16)
def _compile(
    plan: LanePlan,
    devices: tuple[Any, ...],
    in_turn: bool,
    num_steps: int,
    tree: Any,
    leaves: tuple[Any, ...],
) -> Any:
    """The chunk of a pool, compiled once a process for each plan and shapes."""

    def chunk(lanes: Lane, new: New, shared: Shared) -> Lane:
        if not in_turn:
            return advance_together(plan, lanes, new, shared, num_steps)
        # A CPU's caches hold one fit: its lanes take turns.
        return jax.lax.map(
            lambda lane: advance(plan, lane[0], lane[1], shared, num_steps),
            (lanes, new),
        )

    if len(devices) > 1:
        chunk = jax.shard_map(
            chunk,
            mesh=Mesh(np.array(devices), ("lanes",)),
            in_specs=(LANES, LANES, COPIED),
            out_specs=LANES,
            check_vma=False,
        )

    def shaped(tree: Any, spec: PartitionSpec) -> Any:
        sharding = sharding_of(devices, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            tree,
        )

    lanes, new, shared = jax.tree.unflatten(tree, leaves)
    arguments = shaped(lanes, LANES), shaped(new, LANES), shaped(shared, COPIED)
    with float32():
        return jax.jit(chunk, donate_argnums=0).lower(*arguments).compile()


class Pool:
    """Lanes for images of one shape and config, on all devices of a kind.

    Args:
        shape: of the images, (h, w, c).
        count: of the lanes, rounded up to a multiple of the devices.
        start: the parameters that every fit begins with; None: each draws its own.
        together: whether lanes step together, as on a GPU, or in turn.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        config: Config,
        count: int,
        start: Any = None,
        device: str = "auto",
        together: bool | None = None,
        **parts: Any,
    ) -> None:
        devices = pool_devices(device)
        self._devices = devices[: max(count, 1)]
        self.count = -(-count // len(self._devices)) * len(self._devices)
        self.config, self.shape = config, shape
        with float32():
            self._prepare(start, together, parts)
        self.images: list[Any] = [None] * self.count  # in each lane
        self.seconds = 0.0  # of computing

    def _prepare(self, start: Any, together: bool | None, parts: Any) -> None:
        config, count = self.config, self.count
        blank = np.zeros(self.shape, np.float32)
        self._task = task = tasks.from_config(config, blank)
        job = make_job(task, config, **parts)
        self.model = job.model
        platform = self._devices[0].platform
        self.in_turn = platform == "cpu" if together is None else not together
        train = job.plan(platform)
        self._plan = plan = LanePlan.of(train, job.model)
        variables, _ = draw_variables(job.model, np.uint32(config.seed))
        self.constants = jax.tree.map(np.asarray, variables["constants"])
        self._start = start
        if start is not None:
            check_start(start, variables["params"])
        inputs = make_inputs(train, task, variables)
        items, values, _, numbers = measurements(train, task, job.rates)
        if plan.takes_columns:
            inputs, items, values = inputs.T, None, values.T
        every = max(min(config.eval_every, config.steps // TARGET_EVALUATIONS), 1)
        target = config.target_psnr
        shared = Shared(
            variables["constants"],
            inputs,
            items,
            numbers,
            jnp.int32(config.steps),
            jnp.int32(every),
            jnp.int32(config.eval_every),
            jnp.float32(-1 if target is None else 10 ** (-target / 10)),
        )
        shared = jax.tree.map(jnp.asarray, shared)
        self._shared = jax.device_put(shared, sharding_of(self._devices, COPIED))
        self._new = New(
            np.zeros(count, bool),
            jax.tree.map(
                lambda leaf: np.zeros((count, *leaf.shape), leaf.dtype),
                variables["params"],
            ),
            np.zeros((count, 2), np.uint32),
            np.zeros((count, *values.shape), np.float32),
        )
        first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), self._new)
        drawn = jax.eval_shape(functools.partial(begin, plan), first, shared)
        blank_lanes = jax.tree.map(
            lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype),
            drawn._replace(key=None),
        )
        keys = jax.vmap(jax.random.key)(np.zeros(count, np.uint32))
        self._lanes = self._put(blank_lanes._replace(key=keys))
        self._given = self._put(self._new)
        self._status = np.full(count, FREE)
        self.chunk_steps = max(-(-config.steps // CHUNKS_A_FIT), every)
        arguments = self._lanes, self._new, self._shared
        leaves, tree = jax.tree.flatten(
            jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
        )
        self._chunk = _compile(
            plan, self._devices, self.in_turn, self.chunk_steps, tree, tuple(leaves)
        )

    @property
    def free(self) -> list[int]:
        """The lanes without an image."""
        return [i for i, image in enumerate(self.images) if image is None]

    def give(self, lane: int, image: Any, seed: int, pixels: np.ndarray) -> None:
        """Hand a lane an image, (h, w, c) of the pool's shape, to begin with."""
        task = self._task
        values = pixels * np.float32(255 / self.config.rgb_max)
        if self.model.per_pixel:
            values = values.reshape(-1, self.shape[2])
            if not task.is_whole_image:
                values = values[np.flatnonzero(task.pixels)]
        if self._plan.takes_columns:
            values = values.T
        params = self._start
        with float32():
            if params is None:
                variables, key = draw_variables(self.model, np.uint32(seed))
                params = variables["params"]
            else:
                key = _batch_key(np.uint32(seed))

        def put(there: np.ndarray, leaf: Any) -> None:
            there[lane] = np.asarray(leaf)

        new = self._new
        jax.tree.map(put, new.params, params)
        new.key[lane] = np.asarray(jax.random.key_data(key))
        new.values[lane] = values
        new.is_fresh[lane] = True
        self.images[lane] = image

    def advance(self) -> None:
        """Take a chunk of steps of all lanes that have an image."""
        start = time.perf_counter()
        with float32():
            if self._new.is_fresh.any():
                self._given = self._put(self._new)
            self._lanes = self._chunk(self._lanes, self._given, self._shared)
            self._status = np.array(self._lanes.status)
            if self._new.is_fresh.any():
                # Images stay on the device until a lane is given another.
                self._new.is_fresh[:] = False
                stale = self._put(np.zeros_like(self._new.is_fresh))
                self._given = self._given._replace(is_fresh=stale)
        self.seconds += time.perf_counter() - start

    def collect(self) -> list[tuple[Any, int, int, float, Any]]:
        """Take out what has ended: image, status, steps, squared error, parameters."""
        ended = [
            lane
            for lane, image in enumerate(self.images)
            if image is not None and self._status[lane] not in (FREE, RUNNING)
        ]
        if not ended:
            return []
        params = jax.tree.map(np.asarray, self._lanes.state.params)
        steps, mse = np.asarray(self._lanes.state.step), np.asarray(self._lanes.mse)
        taken = []
        for lane in ended:
            own = jax.tree.map(lambda leaf, lane=lane: np.array(leaf[lane]), params)
            status = int(self._status[lane])
            taken.append(
                (self.images[lane], status, int(steps[lane]), float(mse[lane]), own)
            )
            self.images[lane] = None
        return taken

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, sharding_of(self._devices, LANES))


@jax.jit
def _batch_key(seed: Any) -> Any:
    """The key of the batches, as `draw_variables` gives it."""
    return jax.random.split(jax.random.key(seed))[1]


def pool_devices(device: str = "auto", **_: Any) -> tuple[Any, ...]:
    """All devices of this process of the kind asked for."""
    return tuple(jax.local_devices(backend=machine.select(device).platform))


def check_start(start: Any, params: Any) -> None:
    """Refuse a start of other parameters than the config's network.

    Raises:
        ConfigError: names the first that differs, and both shapes.
    """

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
            for path, leaf in leaves
        }

    found, wanted = shapes(start), shapes(params)
    for name in (*wanted, *found):
        if found.get(name) != wanted.get(name):
            raise ConfigError(
                f"the start's {name} has shape {found.get(name, 'none')}, and the "
                f"config's network {wanted.get(name, 'none')}",
                "use the config that the start was learned with",
            )
