"""Encodings: small objects that turn a position into features, and their formulas.

An encoding has `num_features`, `init(key)` and a pure `apply(variables, x)` for one
position `x` of shape `(d,)`. `from_config` is the one place that makes encodings from
names. Phases are float32 on every device.
"""

import abc
import math
from typing import Any, Protocol, assert_never, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.scope import LazyRng
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr.config import Config
from jax_inr.tensors import pytree_dataclass

# {"params": {name: …}} is trained, {"constants": {name: …}} is not.
Variables = dict[str, Any]


@runtime_checkable
class Encoding(Protocol):
    """The protocol of encodings, a caller's own included.

    `is_trained` tells whether features change with the parameters; left out, it is
    whether `init` draws any.
    """

    @property
    def num_features(self) -> int:
        """Features of one position."""
        ...

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the encoding's `params` and `constants`; either may be left out."""
        ...

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " f"]:
        """Give the features of one position."""
        ...


# The formulas


def gaussian_frequencies(
    key: PRNGKeyArray, num_frequencies: int, sigma: Any, num_axes: int = 2
) -> Float[Array, "d m"]:
    """Draw B = sigma * N(0, 1), in cycles per unit of the square, shape (d, m).

    Gaussian random Fourier features, arXiv 2006.10739, section 5.
    """
    return sigma * jax.random.normal(key, (num_axes, num_frequencies), jnp.float32)


def basic_frequencies(num_axes: int = 2) -> Float[Array, "d d"]:
    """B of the basic encoding: one cycle per axis, the identity."""
    return jnp.eye(num_axes, dtype=jnp.float32)


def positional_frequencies(
    num_frequencies: int, octaves: float, num_axes: int = 2
) -> Float[Array, "d m"]:
    """B of the positional encoding: an equal share of the frequencies along each axis.

    2**t - 1 cycles for t evenly from 0 to `octaves`, log-linear, as in the code of
    arXiv 2006.10739.
    """
    count = num_frequencies // num_axes
    steps = jnp.linspace(0.0, octaves, count, dtype=jnp.float32)
    return jnp.kron(jnp.eye(num_axes, dtype=jnp.float32), 2**steps - 1)


def periodic_frequencies(
    key: PRNGKeyArray, num_frequencies: int, sigma: float
) -> Float[Array, "2 m"]:
    """B of whole numbers, all different, none the opposite of another.

    Every feature then has period one on both axes, the unit square is a torus: the
    integer lattice of arXiv 2109.00249. Drawn from the half plane of whole numbers with
    the weights of a Gaussian of standard deviation sigma, without replacement (Gumbel
    top-k).
    """
    reach = max(math.ceil(4 * sigma), math.ceil(num_frequencies**0.5))
    axis = jnp.arange(-reach, reach + 1)
    rows, columns = (grid.ravel() for grid in jnp.meshgrid(axis, axis, indexing="ij"))
    half = (rows > 0) | ((rows == 0) & (columns >= 0))
    weights = -(rows**2 + columns**2).astype(jnp.float32) / (2 * sigma**2)
    scores = jnp.where(half, weights + jax.random.gumbel(key, rows.shape), -jnp.inf)
    chosen = jax.lax.top_k(scores, num_frequencies)[1]
    return jnp.stack([rows[chosen], columns[chosen]]).astype(jnp.float32)


def fourier_features(
    coords: Float[Array, "*n d"], frequencies: Float[Array, "d m"]
) -> Float[Array, "*n f"]:
    """Encode coordinates as (sin(2 pi x B), cos(2 pi x B)), all in [-1, 1].

    Args:
        coords: positions (..., d), in the unit square.
        frequencies: B, (d, m), in cycles per unit.

    Returns:
        (..., 2m): the m sines, then the m cosines. arXiv 2006.10739, equation 5,
        with all amplitudes one.
    """
    # TF32 or bfloat16 here would ruin high frequencies: a phase error is absolute.
    turns = jnp.matmul(coords, frequencies, precision=jax.lax.Precision.HIGHEST)
    phases = 2 * jnp.pi * turns
    return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1)


# The objects


class Fourier(abc.ABC):
    """The base of Fourier encodings: features of the frequencies B, which are known."""

    num_frequencies: int
    is_trained = False
    num_axes = 2

    @property
    def num_features(self) -> int:
        """A sine and a cosine of each frequency."""
        return 2 * self.num_frequencies

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw nothing."""
        return {}

    @abc.abstractmethod
    def frequencies(self, variables: Variables) -> Float[Array | np.ndarray, "d m"]:
        """The matrix B, in cycles per unit."""

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " f"]:
        """Give the sines, then the cosines, of one position."""
        return fourier_features(x, jnp.asarray(self.frequencies(variables)))


class RandomFourier(Fourier):
    """The base of Fourier encodings whose frequencies are drawn."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray) -> Float[Array, "d m"]:
        """Draw the frequencies B."""

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the frequencies: a constant, or a parameter where they are trained."""
        # Keys are folded as a Linen module folds them, so that seeds keep their draws.
        frequencies = self.draw(LazyRng.create(key, 1).as_jax_rng())
        kind = "params" if self.is_trained else "constants"
        return {kind: {"frequencies": frequencies}}

    def frequencies(self, variables: Variables) -> Float[Array | np.ndarray, "d m"]:
        kind = "params" if self.is_trained else "constants"
        return variables[kind]["frequencies"]


@pytree_dataclass("sigma")
class Gaussian(RandomFourier):
    """Random Fourier features (arXiv 2006.10739), fixed or trained with the network.

    num_frequencies: columns of B. sigma: their standard deviation, in cycles.
    """

    num_frequencies: int = 128
    sigma: Any = 10.0
    is_trained: bool = False
    num_axes: int = 2

    def draw(self, key: PRNGKeyArray) -> Float[Array, "d m"]:
        return gaussian_frequencies(
            key, self.num_frequencies, self.sigma, self.num_axes
        )


@pytree_dataclass()
class Periodic(RandomFourier):
    """Fourier features of whole frequencies: the field has period one."""

    num_frequencies: int = 128
    sigma: float = 10.0

    def draw(self, key: PRNGKeyArray) -> Float[Array, "d m"]:
        return periodic_frequencies(key, self.num_frequencies, self.sigma)


@pytree_dataclass()
class Positional(Fourier):
    """Fourier features along the axes, 0 to 2**octaves - 1 cycles, log-linear."""

    num_frequencies: int = 128
    octaves: float = 6.0
    num_axes: int = 2

    def frequencies(self, variables: Variables) -> Float[Array, "d m"]:
        return positional_frequencies(self.num_frequencies, self.octaves, self.num_axes)


@pytree_dataclass()
class Basic(Fourier):
    """One cycle per axis."""

    num_axes: int = 2

    @property
    def num_frequencies(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.num_axes

    def frequencies(self, variables: Variables) -> Float[Array, "d m"]:
        return basic_frequencies(self.num_axes)


@pytree_dataclass()
class Identity:
    """The position itself; `centred` maps [0, 1) to [-1, 1), as SIREN's papers do."""

    centred: bool = False
    num_axes: int = 2
    is_trained = False

    @property
    def num_features(self) -> int:
        return self.num_axes

    def init(self, key: PRNGKeyArray) -> Variables:
        return {}

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return 2 * x - 1 if self.centred else x


@pytree_dataclass()
class PixelIndices:
    """Raw pixel indices 0..height-1 and 0..width-1, which the notebook's CNN takes."""

    height: int
    width: int
    is_trained = False
    num_features = 2

    def init(self, key: PRNGKeyArray) -> Variables:
        return {}

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x * jnp.array([self.height, self.width], x.dtype)


def from_config(config: Config, height: int, width: int) -> Encoding:
    """Make the encoding that a config names, for an image of this size."""
    from jax_inr.grids import (
        DenseGrid,
        HashGrid,
        Pyramid,
        level_resolutions,
        pyramid_levels,
    )

    match config.encoding:
        case "gaussian" | "trainable":
            is_trained = config.encoding == "trainable"
            sigma = config.number("sigma")
            return Gaussian(config.num_frequencies, sigma, is_trained)
        case "periodic":
            return Periodic(config.num_frequencies, config.number("sigma"))
        case "positional":
            return Positional(config.num_frequencies, config.octaves)
        case "basic":
            return Basic()
        case "none":
            if config.network == "cnn":
                return PixelIndices(height, width)
            return Identity(centred=config.network != "mlp")
        case "dense_grid" | "hash_grid":
            resolutions = level_resolutions(
                config.coarsest, config.finest, config.num_levels
            )
            if config.encoding == "dense_grid":
                return DenseGrid(resolutions, config.level_features)
            entries = 2**config.log2_table_size
            return HashGrid(resolutions, config.level_features, entries)
        case "pyramid":
            cells, features = zip(*pyramid_levels(config, height, width), strict=True)
            return Pyramid(resolutions=cells, level_features=features)
        case name:
            assert_never(name)
