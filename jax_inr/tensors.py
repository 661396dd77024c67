"""Pytrees to named arrays and back: the form in which fields and states are stored."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from jax_inr.errors import CheckpointError, ConfigError

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


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """A context of JAX's own settings, whatever the caller's: float32, and compiled.

    A program that is compiled ahead cannot run where jit is switched off.
    """
    with jax.enable_x64(False), jax.disable_jit(False), jax.transfer_guard("allow"):
        yield


def as_array(leaf: Any) -> jax.Array:
    """An array of JAX's; numpy's is copied to the device without compiling anything.

    `jax.numpy.asarray` compiles a program for each of its shapes.
    """
    if isinstance(leaf, np.ndarray):
        return jax.device_put(leaf)
    return jax.numpy.asarray(leaf)


def structure(tree: Any) -> Any:
    """The pytree with zeros for its numbers: equal wherever the structure is."""
    return jax.tree.map(lambda leaf: 0.0, tree)


def stacked(*leaves: Any) -> Any:
    """Leaves with an axis of lanes; by numpy, for which nothing is compiled."""
    if is_key(leaves[0]):
        plain = [np.asarray(jax.random.key_data(leaf)) for leaf in leaves]
        return keyed(np.stack(plain), leaves[0])
    return np.stack([np.asarray(leaf) for leaf in leaves])


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a random key, or many."""
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def plain(tree: Any) -> Any:
    """The pytree with the numbers of random keys in their place."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree
    )


def keyed(tree: Any, like: Any) -> Any:
    """The pytree with random keys where `like` has some; undoes `plain`."""

    def wrap(leaf: Any, like: Any) -> Any:
        if not is_key(like):
            return leaf
        # A shape has no name of its generator.
        some = like if isinstance(like, jax.Array) else jax.numpy.empty(0, like.dtype)
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(some))

    return jax.tree.map(wrap, tree, like)


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Copy the leaves of a pytree to numpy, named by path: `params/dense_0/kernel`.

    Names are plain, so a stored file does not depend on the library that made the
    tree. Raises ConfigError where two leaves have one name.
    """
    leaves = jax.tree_util.tree_leaves_with_path(plain(tree))
    named = {_name(path): np.array(leaf) for path, leaf in leaves}
    if len(named) < len(leaves):
        names = [_name(path) for path, _ in leaves]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"two tensors are called {twice}", "rename one of them")
    return named


def unflatten_like(tree: Any, tensors: dict[str, np.ndarray]) -> Any:
    """A pytree of `tree`'s structure with the leaves that `flatten` named.

    Raises:
        CheckpointError: a leaf is missing, left over, or of another shape or dtype;
            the message names it.
    """
    like = jax.eval_shape(plain, tree)
    leaves = jax.tree_util.tree_leaves_with_path(like)
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
    found = jax.tree_util.tree_map_with_path(
        lambda path, _: as_array(tensors[_name(path)]), like
    )
    return keyed(found, tree)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
