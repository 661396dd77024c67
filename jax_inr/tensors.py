"""Pytrees to named arrays and back: the form in which fields and states are stored."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from jax_inr.errors import CheckpointError

T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def pytree_dataclass(*numbers: str) -> Callable[[T], T]:
    """A frozen dataclass that is a pytree: the named fields are its leaves.

    The other fields are its structure. What is compiled follows from structure, so
    another number compiles nothing.
    """

    def decorate(cls: T) -> T:
        cls = dataclasses.dataclass(frozen=True)(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        rest = [name for name in names if name not in numbers]
        return jax.tree_util.register_dataclass(cls, [*numbers], rest)

    return decorate


def float32() -> Any:
    """A context in which JAX's x64 switch is off: fits and fields are float32."""
    return jax.enable_x64(False)


def structure(tree: Any) -> Any:
    """The pytree with zeros for its numbers: equal wherever the structure is."""
    return jax.tree.map(lambda leaf: 0.0, tree)


def stacked(*leaves: Any) -> Any:
    """Leaves with an axis of lanes; by numpy, for which nothing is compiled."""
    if jax.numpy.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(stacked(*map(jax.random.key_data, leaves)))
    return np.stack([np.asarray(leaf) for leaf in leaves])


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Copy the leaves of a pytree to numpy, named by path: `params/dense_0/kernel`.

    Names are plain, so a stored file does not depend on the library that made the
    tree.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): np.array(leaf) for path, leaf in leaves}


def unflatten_like(tree: Any, tensors: dict[str, np.ndarray]) -> Any:
    """A pytree of `tree`'s structure with the leaves that `flatten` named.

    Raises:
        CheckpointError: a leaf is missing, left over, or of another shape or dtype;
            the message names it.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    expected = {_name(path): leaf for path, leaf in leaves}
    for name in (*expected, *tensors):
        if name not in tensors:
            raise CheckpointError(f"tensor {name} is missing")
        if name not in expected:
            raise CheckpointError(f"tensor {name} is not part of this network")
        have, want = tensors[name], expected[name]
        if (have.shape, have.dtype) != (want.shape, want.dtype):
            raise CheckpointError(
                f"tensor {name} is {have.dtype}{list(have.shape)}, "
                f"expected {want.dtype}{list(want.shape)}"
            )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.numpy.asarray(tensors[_name(path)]), tree
    )


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
