"""A caller's own objects as encodings and networks: Flax, Equinox, pure functions.

Each adapter is a pytree dataclass that is all structure, so that what is compiled for
an object serves every fit with that object. Foreign tensors stand under one name,
"network" or "encoding", which no tensor of ours has.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jax_inr.encodings import Encoding
from jax_inr.errors import ConfigError
from jax_inr.fingerprint import Held, fingerprint
from jax_inr.networks import FlaxNetwork, Network
from jax_inr.tensors import pytree_dataclass

Variables = dict[str, Any]
KINDS = ("params", "constants")
MAX_DESCRIPTION = 200  # characters
OURS = ("jax_inr.encodings", "jax_inr.grids", "jax_inr.cosines")  # have encodings


def describe(thing: Any, most: int = MAX_DESCRIPTION) -> str:
    """The name of an object in messages and files: one line, alike in each process.

    most: of its characters.
    """
    thing = _own(thing)
    if isinstance(thing, tuple) and len(thing) == 2 and all(map(callable, thing)):
        return f"({describe(thing[0], most)}, {describe(thing[1], most)})"
    if inspect.isfunction(thing) or inspect.isbuiltin(thing) or inspect.isclass(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    text = " ".join(repr(thing).replace("# attributes", "").split())  # Flax's words
    # The address of an object differs in every process.
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return text if len(text) <= most else text[: most - 1] + "…"


def identify(thing: Any, *, with_code: bool = True) -> str:
    """An object's description and fingerprint; see `fingerprint`."""
    thing = _own(thing)
    if isinstance(thing, _Name):
        return f"{thing.text} [{thing.structure}]"
    return f"{describe(thing)} [{fingerprint(thing, with_code=with_code)}]"


def _own(thing: Any) -> Any:
    """The caller's object of an adapter."""
    if isinstance(thing, Foreign):
        thing = thing.thing
    return thing.thing if isinstance(thing, Held) else thing


class Foreign:
    """The base of all adapters; `thing` is the caller's object."""

    thing: Any
    part: str = "network"

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train."""
        drawn = jax.eval_shape(self.init, jax.random.key(0))  # pyright: ignore
        return bool(jax.tree.leaves(drawn.get("params", {})))

    def _wrap(self, drawn: Any) -> Variables:
        """The variables of `init` under the part's name; without kinds, all trained."""
        has_kinds = isinstance(drawn, Mapping) and not {*drawn} - {*KINDS}
        drawn = drawn if has_kinds else {"params": drawn}
        there = [kind for kind in KINDS if jax.tree.leaves(drawn.get(kind))]
        return {kind: {self.part: drawn[kind]} for kind in there}

    def _unwrap(self, variables: Variables) -> Variables:
        return {kind: variables.get(kind, {}).get(self.part, {}) for kind in KINDS}


@pytree_dataclass()
class ForeignFlax(Foreign):
    """A Linen module; collections other than `params` are kept as constants."""

    thing: Any  # a Linen module
    num_inputs: int
    part: str = "network"

    def init(self, key: PRNGKeyArray) -> Variables:
        drawn = dict(self.thing.init(key, jnp.zeros(self.num_inputs)))
        return self._wrap({"params": drawn.pop("params", {}), "constants": drawn})

    def apply(self, variables: Variables, x: Array) -> Any:
        own = self._unwrap(variables)
        return self.thing.apply({"params": own["params"], **own["constants"]}, x)

    @property
    def num_features(self) -> int:
        return self.thing.num_features  # pyright: ignore


@pytree_dataclass()
class ForeignPair(Foreign):
    """Functions `init(key)` and `apply(variables, features)`."""

    thing: tuple[Callable[..., Any], Callable[..., Any]]

    def init(self, key: PRNGKeyArray) -> Variables:
        return self._wrap(self.thing[0](key))

    def apply(self, variables: Variables, features: Array) -> Any:
        own = self._unwrap(variables)
        drawn = jax.eval_shape(self.thing[0], jax.random.key(0))
        has_kinds = isinstance(drawn, Mapping) and not {*drawn} - {*KINDS}
        return self.thing[1](own if has_kinds else own["params"], features)


@pytree_dataclass()
class ForeignProtocol(Foreign):
    """An object with `init` and `apply`; for encodings with `num_features` too."""

    thing: Any
    part: str = "network"

    @property
    def num_features(self) -> int:
        return self.thing.num_features

    def init(self, key: PRNGKeyArray) -> Variables:
        return self._wrap(self.thing.init(key))

    def apply(self, variables: Variables, x: Array) -> Any:
        return self.thing.apply(self._unwrap(variables), x)

    def __getattr__(self, name: str) -> Any:
        # per_pixel, is_smooth, is_bounded, feature_names: where the object has them.
        if name in ("per_pixel", "is_smooth", "is_bounded", "feature_names"):
            return getattr(self.thing, name)
        raise AttributeError(name)


class _Static:
    """The leaves of a callable pytree that are not trained; compared by value."""

    def __init__(self, module: Any) -> None:
        leaves, self.treedef = jax.tree.flatten(module)
        self.leaves = tuple(None if _is_trained(leaf) else leaf for leaf in leaves)
        # Arrays among them, as integer buffers, have no hash of their own.
        self.key = self.treedef, fingerprint(self.leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def join(self, arrays: list[Array]) -> Any:
        given = iter(arrays)
        leaves = [next(given) if leaf is None else leaf for leaf in self.leaves]
        return jax.tree.unflatten(self.treedef, leaves)


@pytree_dataclass("start")
class ForeignCallable(Foreign):
    """A callable pytree, as an Equinox module: its float arrays are trained.

    names, start: those arrays, the same for every seed.
    """

    thing: Any
    names: tuple[str, ...]
    start: tuple[Any, ...]  # arrays; numbers where it is a structure alone
    static: _Static

    def init(self, key: PRNGKeyArray) -> Variables:
        return self._wrap({"params": dict(zip(self.names, self.start, strict=True))})

    def apply(self, variables: Variables, features: Array) -> Any:
        params = self._unwrap(variables)["params"]
        return self.static.join([params[name] for name in self.names])(features)


def _is_trained(leaf: Any) -> bool:
    is_array = isinstance(leaf, jax.Array) or hasattr(leaf, "__array__")
    return is_array and jnp.issubdtype(leaf.dtype, jnp.floating)


def _foreign_callable(module: Any) -> ForeignCallable:
    leaves = jax.tree_util.tree_leaves_with_path(module)
    arrays = {
        jax.tree_util.keystr(path, simple=True, separator="."): jnp.asarray(leaf)
        for path, leaf in leaves
        if _is_trained(leaf)
    }
    # What is trained is in a field's file; all else is told apart.
    shapes = jax.tree.map(
        lambda leaf: (
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if _is_trained(leaf) else leaf
        ),
        module,
    )
    name = _Name(describe(module), fingerprint(shapes, with_code=False))
    return ForeignCallable(name, tuple(arrays), tuple(arrays.values()), _Static(module))


@dataclasses.dataclass(frozen=True)
class _Name:
    """Stands for an object that cannot be hashed."""

    text: str
    structure: str  # its fingerprint, but for what is trained

    def __repr__(self) -> str:
        return self.text


def as_network(thing: Any, num_features: int) -> Any:
    """An object as a network.

    Args:
        thing: a network of ours; a Linen module; an Equinox module or another callable
            pytree of float arrays; a pair of functions `init(key)` and
            `apply(variables, features)`; an object with such methods.
        num_features: of the encoding before it.

    Raises:
        ConfigError: `thing` is none of these.
    """
    if isinstance(thing, FlaxNetwork | Foreign):
        return thing
    if isinstance(thing, nn.Module):
        return ForeignFlax(Held(thing), num_features)
    if isinstance(thing, tuple) and len(thing) == 2 and all(map(callable, thing)):
        return ForeignPair((Held(thing[0]), Held(thing[1])))
    if isinstance(thing, Network) and not inspect.isclass(thing):
        return ForeignProtocol(Held(thing))
    is_tree = any(map(_is_trained, jax.tree.leaves(thing)))
    if callable(thing) and is_tree:
        return _foreign_callable(thing)
    raise ConfigError(
        f"network {describe(thing)} is no network",
        "give a Flax or Equinox module, a pair of functions init(key) and "
        "apply(variables, features), or an object with such methods",
    )


def as_encoding(thing: Any, num_axes: int = 2) -> Any:
    """An object as an encoding; ConfigError if it does not have the protocol."""
    if type(thing).__module__ in OURS:
        return thing
    if isinstance(thing, Foreign):
        return thing
    if isinstance(thing, nn.Module) and hasattr(thing, "num_features"):
        return ForeignFlax(Held(thing), num_axes, "encoding")
    if isinstance(thing, Encoding) and not inspect.isclass(thing):
        return ForeignProtocol(Held(thing), "encoding")
    raise ConfigError(
        f"encoding {describe(thing)} is no encoding",
        "give an object with num_features, init(key) and apply(variables, x)",
    )


def is_foreign(part: Any) -> bool:
    """Whether an encoding or a network is a caller's own."""
    return isinstance(part, Foreign)


def foreign_parts(**parts: Any) -> dict[str, str]:
    """The descriptions of those parts that are a caller's own."""
    own = {name: part for name, part in parts.items() if isinstance(part, Foreign)}
    return {name: identify(part, with_code=False) for name, part in own.items()}
