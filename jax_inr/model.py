"""A model: an encoding and a network, as pure functions of `variables`.

`variables` is `{"params": {name: …}, "constants": {name: …}}`: what is trained, and
fixed numbers such as frequencies and omega_0. The encoding's names and the network's
stand side by side.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr import encodings, networks
from jax_inr.adapters import as_encoding, as_network, describe, is_foreign
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.tensors import float32, pytree_dataclass

Variables = dict[str, Any]


@pytree_dataclass("encoding", "network")
class Model:
    """Compose `init`, `encode`, `colours` and `predict` with any transform."""

    encoding: Any
    network: Any

    @property
    def per_pixel(self) -> bool:
        """Whether the network is a function of one position, not of a whole grid."""
        return getattr(self.network, "per_pixel", True)

    @property
    def is_bounded(self) -> bool:
        """Whether colours lie in [0, 1] by construction."""
        return getattr(self.network, "is_bounded", False)

    @property
    def trains_encoding(self) -> bool:
        """Whether features change with the parameters, and so cannot be kept."""
        return self.encoding.is_trained

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the variables; weights and frequencies from split keys."""
        weights, frequencies = jax.random.split(key)
        # Trained features belong to the weights: their names tell their draws apart.
        encoding_key = weights if self.trains_encoding else frequencies
        parts = self.encoding.init(encoding_key), self.network.init(weights)
        return {
            kind: {**parts[0].get(kind, {}), **parts[1].get(kind, {})}
            for kind in ("constants", "params")
        }

    def shapes(self) -> Variables:
        """The shapes and types of what `init` draws; nothing is computed."""
        with float32():
            # Nothing is computed for the key either.
            return jax.eval_shape(lambda model: model.init(jax.random.key(0)), self)

    def encode(
        self, variables: Variables, coords: Float[Array, "*n d"]
    ) -> Float[Array, "*n f"]:
        """The features of positions (..., d): all that comes before the weights."""
        return _over_leading(self.encoding.apply, variables, coords)

    def encode_axes(
        self,
        variables: Variables,
        rows: Float[Array, " r"],
        columns: Float[Array, " k"],
    ) -> Float[Array, "r k f"]:
        """The features of the Cartesian product of rows and columns.

        A dense grid interpolates one axis after the other.
        """
        if hasattr(self.encoding, "apply_axes"):
            return self.encoding.apply_axes(variables, rows, columns)
        product = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1)
        return self.encode(variables, product)

    def colours(
        self, variables: Variables, features: Float[Array, "*n f"]
    ) -> Float[Array, "*n c"]:
        """The colours of features; the CNN's are (h, w, f), a whole grid."""
        if self.per_pixel:
            return _over_leading(self.network.apply, variables, features)
        if features.ndim != 3:
            raise ValueError(
                "the CNN sees a pixel's neighbours: give it a whole grid (h, w, 2), "
                f"not coordinates of shape {features.shape}"
            )
        return self.network.apply(variables, features)

    def predict(
        self, variables: Variables, coords: Float[Array, "*n d"]
    ) -> Float[Array, "*n c"]:
        """The colours at positions.

        Args:
            variables: what `init` gave, or trained from it.
            coords: (..., d) in the unit square; (h, w, 2), a whole grid, for the CNN.

        Returns:
            (..., c), where 1 stands for the task's `rgb_max`.

        Raises:
            ValueError: the CNN is asked for anything but a grid.
        """
        return self.colours(variables, self.encode(variables, coords))


def _over_leading(apply: Any, variables: Variables, inputs: Array) -> Array:
    """A function of one position, over all leading axes."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    outputs = jax.vmap(lambda x: apply(variables, x))(flat)
    return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])


def make_model(
    config: Config,
    height: int,
    width: int,
    channels: int,
    *,
    encoding: Any = None,
    network: Any = None,
) -> Model:
    """The config's model for an image of this size, or one of objects given instead.

    Args:
        encoding: an encoding; left out, the config's.
        network: a network, a Flax or Equinox module, a pair of functions `init(key)`
            and `apply(variables, features)`; left out, the config's.

    Raises:
        ConfigError: an object is none of these, or its shapes do not go together.
    """
    if encoding is None:
        encoding = encodings.from_config(config, height, width)
    else:
        encoding = as_encoding(encoding)
    is_ours = network is None and not is_foreign(encoding)
    if network is None:
        network = networks.from_config(config, encoding.num_features, channels)
    model = Model(encoding, as_network(network, encoding.num_features))
    if not is_ours:
        check_model(model, channels)
    return model


PURE = "it must be a pure function of arrays, with shapes of its own"
# What foreign modules of other trades do, by the words of Flax and Python.
HINTS = {
    "needs PRNG": "nothing is random but init: let its dropout be deterministic",
    "is immutable": "its state stays as drawn: let its BatchNorm use_running_average",
    "missing": "it is given the features alone: give its other arguments defaults",
}


def check_model(model: Model, channels: int, num_axes: int = 2) -> None:
    """Refuse a model that is no pure function of a position, or of another width.

    Raises:
        ConfigError: names the object and both shapes.
    """
    # A function of the whole grid is given a grid of one position.
    leading = () if model.per_pixel else (1, 1)
    position = jax.ShapeDtypeStruct((*leading, num_axes), jnp.float32)

    def traced(what: str, source: Any, function: Any, *arguments: Any) -> Any:
        try:
            return jax.eval_shape(function, *arguments)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            given = "a key" if function == model.init else "an input of shape "
            shape = "" if function == model.init else arguments[-1].shape
            raise ConfigError(
                f"{what} {describe(source)} cannot be traced for {given}{shape}: "
                f"{reason[:200]}",
                next((hint for words, hint in HINTS.items() if words in reason), PURE),
            ) from error

    encoding, network = model.encoding, model.network
    variables = traced("model", network, model.init, jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ConfigError(
                f"parameter {name} is {leaf.dtype}, which has no gradient",
                "make it float32, or give it as a constant: init returns "
                '{"params": …, "constants": …}',
            )
    again = traced("model", network, model.init, jax.random.key(0))
    shapes = [[_shape(x) for x in jax.tree.leaves(v)] for v in (variables, again)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"network {describe(network)} draws shapes {shapes[0]}, and when called "
            f"again {shapes[1]}",
            "init must be a pure function of the key",
        )
    encode = encoding.apply if model.per_pixel else model.encode
    features = traced("encoding", encoding, encode, variables, position)
    wanted = (*leading, encoding.num_features)
    if getattr(features, "shape", None) != wanted:
        raise ConfigError(
            f"encoding {describe(encoding)} gives features of shape "
            f"{_shape(features)}, and says num_features, shape {wanted}"
        )
    colours = traced("network", network, network.apply, variables, features)
    if getattr(colours, "shape", None) != (*leading, channels):
        raise ConfigError(
            f"network {describe(network)} gives colours of shape {_shape(colours)} for "
            f"a position, and the image has shape ({channels},)",
            f"let its last layer have {channels} outputs",
        )
    if colours.dtype != jnp.float32:
        raise ConfigError(
            f"network {describe(network)} gives {colours.dtype}, not float32",
            "let what it returns be float32: colours.astype(jnp.float32)",
        )


def _shape(value: Any) -> Any:
    return getattr(value, "shape", type(value).__name__)


def count_params(variables: Variables) -> int:
    """Trained numbers; fixed frequencies are not counted."""
    return int(optax.tree.size(variables["params"]))
