"""The compiled chunk of k lanes, on one device or sharded over several."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array

from jax_inr.kept import compiled
from jax_inr.plan import TrainData, TrainPlan
from jax_inr.training import train_chunk

LANES, COPIED = PartitionSpec("lanes"), PartitionSpec()


def sharding_of(devices: tuple[Any, ...], spec: PartitionSpec) -> Any:
    """The placement of an array with the axes of `spec` on some devices."""
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    return NamedSharding(Mesh(np.array(devices), ("lanes",)), spec)


@functools.lru_cache(maxsize=64)
def compile_chunk(
    plan: TrainPlan,
    devices: tuple[Any, ...],
    in_turn: bool,
    shares_inputs: bool,
    tree: Any,
    leaves: tuple[Any, ...],
) -> jax.stages.Compiled:
    """The chunk of all lanes, compiled once a process for each plan and shapes.

    in_turn: a CPU's caches hold one fit, so lanes take turns there, and share the
    cores by being on several devices. Elsewhere all lanes step together.
    """

    def chunk(
        states: Any,
        constants: Any,
        data: TrainData,
        keys: Any,
        num_steps: Any,
        active: Any,
    ) -> Any:
        def lane_chunk(lane: Any) -> Any:
            state, constants, own, key, is_active = lane
            if shares_inputs:
                own = own._replace(inputs=data.inputs)
            steps = jnp.where(is_active, num_steps, 0) if in_turn else num_steps
            after, losses = train_chunk(plan, state, constants, own, key, steps)
            good = _stays_finite(state, after) & jnp.isfinite(losses).all()
            kept = good & is_active
            after = jax.tree.map(
                lambda new, old: jnp.where(kept, new, old), after, state
            )
            return after, losses, good | ~is_active

        own = data._replace(inputs=None) if shares_inputs else data
        lanes = states, constants, own, keys, active
        if len(active) == 1:
            single = lane_chunk(jax.tree.map(lambda leaf: leaf[0], lanes))
            return jax.tree.map(lambda leaf: leaf[None], single)
        return (
            jax.lax.map(lane_chunk, lanes) if in_turn else jax.vmap(lane_chunk)(lanes)
        )

    states, constants, data, keys = jax.tree.unflatten(tree, leaves)
    specs = TrainData(LANES, LANES, LANES, LANES, LANES)  # pyright: ignore
    if shares_inputs:
        specs = specs._replace(inputs=COPIED)
    in_specs = (LANES, LANES, specs, LANES, COPIED, LANES)
    if len(devices) > 1:
        chunk = jax.shard_map(
            chunk,
            mesh=Mesh(np.array(devices), ("lanes",)),
            in_specs=in_specs,
            out_specs=LANES,
            check_vma=False,
        )

    def shaped(leaf: Any, spec: PartitionSpec) -> Any:
        sharding = sharding_of(devices, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def all_shaped(tree: Any, spec: PartitionSpec = LANES) -> Any:
        return jax.tree.map(lambda leaf: shaped(leaf, spec), tree)

    inputs = all_shaped(data.inputs, specs.inputs)  # pyright: ignore
    data = all_shaped(data._replace(inputs=None))._replace(inputs=inputs)
    count = len(jax.tree.leaves(keys)[0])
    active = shaped(jax.ShapeDtypeStruct((count,), bool), LANES)
    arguments = all_shaped(states), all_shaped(constants), data, all_shaped(keys)
    arguments = *arguments, 0, active
    about = ["chunk", plan, in_turn, shares_inputs]
    return compiled(jax.jit(chunk), about, arguments, arguments)


def _stays_finite(before: Any, after: Any) -> Array:
    """Whether no float became infinite or NaN; some optimizers begin infinite."""
    is_good = jnp.bool_(True)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if jnp.issubdtype(new.dtype, jnp.inexact):
            is_good &= (jnp.isfinite(new) | ~jnp.isfinite(old)).all()
    return is_good
