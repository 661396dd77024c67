"""What a fit costs in numbers, arithmetic and bytes: counted once, from shapes.

Parameters are the leaves of `eval_shape`, so grids, hash tables and networks of one's
own count alike; activations are the intermediate arrays of the traced network. Before
a program is compiled the count is a floor; afterwards XLA says what it needs.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from jax_inr.errors import DeviceError
from jax_inr.machine import available_bytes

# Copies of the parameters and the optimizer's state: before and after a chunk, the
# gradient, the update and the host's.
STATE_COPIES = 3
# Of each array that XLA does not fuse away: its value and its gradient, and half a copy
# for what is alive between the two.
ACTIVATION_COPIES = 2.5
# The same of a function of the whole grid, whose transforms XLA keeps as well: as
# measured against its own count.
GRID_COPIES = 4.5
# The results that XLA keeps; whatever works element by element becomes part of these.
_KEPT = ("dot_general", "conv_general_dilated", "gather")


def count_params(model: Any) -> int:
    """Trained numbers of a model."""
    import jax

    # optax.tree.size takes arrays alone, no shapes.
    return sum(leaf.size for leaf in jax.tree.leaves(model.shapes()["params"]))


def position_cost(model: Any) -> tuple[int, int]:
    """Floats of the arrays kept between operations, and multiplications, a position."""
    if model.per_pixel:
        return _traced(model, (2,))
    height, width = 64, 64  # whose edges do not count
    floats, products = _traced(model, (height, width, 2))
    return -(-floats // (height * width)), products // (height * width)


def _traced(model: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    import jax
    import jax.numpy as jnp

    coords = jax.ShapeDtypeStruct(shape, jnp.float32)
    return _count(jax.make_jaxpr(model.predict)(model.shapes(), coords).jaxpr)


def _count(jaxpr: Any) -> tuple[int, int]:
    floats, products = 0, 0
    for equation in jaxpr.eqns:
        inner = [_inner(value) for value in equation.params.values()]
        inner = [found for found in inner if found is not None]
        # Of branches, as for platforms, the one that takes most.
        branches = [
            _count(found.jaxpr) for found in equation.params.get("branches", ())
        ]
        for more in [*map(_count, inner), *([max(branches)] if branches else [])]:
            floats, products = floats + more[0], products + more[1]
        if inner or branches:
            continue
        if equation.primitive.name in _KEPT:
            floats += sum(_size(out.aval.shape) for out in equation.outvars)
        if equation.primitive.name == "dot_general":
            (contracting, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = _size(tuple(shape[axis] for axis in contracting))
            products += depth * _size(equation.outvars[0].aval.shape)
    return floats, products


def _inner(value: Any) -> Any:
    value = getattr(value, "jaxpr", value)
    return value if hasattr(value, "eqns") else None


def _size(shape: tuple[int, ...]) -> int:
    return functools.reduce(lambda a, b: a * b, shape, 1)


def job_bytes(job: Any) -> int:
    """Bytes that the arrays of one job's fit take, about.

    States, data with features where they are kept, the image, and the activations that
    are in memory at a time.
    """
    import jax

    from jax_inr.plan import make_inputs
    from jax_inr.training import init_state

    plan, task = job.plan(), job.task
    variables = job.model.shapes()
    state = jax.eval_shape(functools.partial(init_state, plan), variables)
    inputs = jax.eval_shape(lambda v: make_inputs(plan, task, v), variables)
    states = sum(leaf.size for leaf in jax.tree.leaves(state))
    params = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    kept = sum(leaf.size for leaf in jax.tree.leaves(inputs))
    measured = sum(
        _size(leaf.shape) for leaf in jax.tree.leaves((task.items, task.values))
    )
    floats, _ = position_cost(job.model)
    count = len(task.values)
    points = max(_size(inputs.shape[:-1]) // count, 1) if inputs is not None else 1
    at_once = count
    if not job.model.per_pixel:
        points = 1
    elif plan.batch_size is not None:
        at_once = plan.batch_size
    elif not plan.is_sampled:
        at_once = min(plan.tile, count)
    copies = ACTIVATION_COPIES if job.model.per_pixel else GRID_COPIES
    active = int(copies * at_once * points * floats)
    height, width, channels = task.shape
    image = height * width * (channels + 2)
    return 4 * (STATE_COPIES * states + 2 * params + kept + measured + active + image)


def grid_bytes(model: Any, height: int, width: int) -> int:
    """Bytes that a function of a whole grid takes to draw one, about."""
    floats, _ = position_cost(model)
    return 4 * height * width * floats


def memory_left(limit_bytes: int | None) -> int:
    """Bytes that a fit may take: the limit, or what the machine has left."""
    return available_bytes() if limit_bytes is None else limit_bytes


def check(needed_bytes: int, limit_bytes: int | None) -> None:
    """Refuse a fit that needs more memory than there is.

    Raises:
        DeviceError: `needed_bytes` are more than the limit, or than the machine has
            left where there is no limit.
    """
    left = memory_left(limit_bytes)
    if needed_bytes > left:
        whose = "the machine has left" if limit_bytes is None else "the limit allows"
        raise DeviceError(
            f"this fit needs about {needed_bytes / 2**30:.2f} GiB of memory, more than "
            f"the {left / 2**30:.2f} GiB that {whose}",
            "take a smaller image, batch_size or grid, or fewer hidden_features",
        )


def check_compiled(trainer: Any, limit_bytes: int | None) -> None:
    """Refuse a compiled fit whose program needs more memory than there is."""
    needed = getattr(trainer, "program_bytes", 0)
    check(needed, limit_bytes)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a framework's out-of-memory error, inside the block, into a DeviceError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        signs = ("resource_exhausted", "out of memory", "can't allocate memory")
        text = " ".join(str(error).split())
        lower = text.lower()
        if not isinstance(error, MemoryError) and not any(s in lower for s in signs):
            raise
        raise DeviceError(
            f"out of memory ({text[:200] or 'no details'})",
            "take a smaller image or batch_size; another process may hold memory: "
            "one of JAX preallocates most of a GPU's, unless "
            "XLA_PYTHON_CLIENT_PREALLOCATE=false is set for it",
        ) from error
