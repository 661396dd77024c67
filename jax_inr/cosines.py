"""Local cosines: a field of an image's largest block coefficients, in closed form.

An image in square blocks of pixels is a sum of cosines in each (the DCT-II), which are
orthonormal: whichever are kept, their own coefficients fit the image best, and the
largest ones fit it best of all choices. That is JPEG without its quantisation
(Ahmed, Natarajan and Rao, 1974), here as an encoding whose features are the colours:
nothing is left for a network or an optimizer to do, though either may go on from it.

    field = fit(image, {"steps": 0}, encoding=of_image(image, 300_000), network=COLOURS)

Between blocks the field jumps by about its error.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr.errors import ConfigError
from jax_inr.tensors import pytree_dataclass

Variables = dict[str, Any]
SIDE = 8  # pixels of a block
FIXED = 12  # numbers of the colours' mean and axes


@pytree_dataclass("values", "places", "mean", "axes")
class Cosines:
    """The cosines of each block: those at `places`, with `values`.

    values, places: (k,), coefficients and where they stand among all of
    (rows, columns, channels, side, side). mean, axes: (c,) and (c, c), of the colours.
    height, width: of the image, in pixels.
    """

    values: Any
    places: Any
    mean: Any
    axes: Any
    height: int
    width: int
    channels: int = 3
    side: int = SIDE
    is_trained = True
    is_smooth = False

    def __repr__(self) -> str:
        # Not its numbers, which are many.
        count = np.size(self.values)
        return f"Cosines({count} of {self.height}x{self.width}, side {self.side})"

    @property
    def num_features(self) -> int:
        """The colours."""
        return self.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all coefficients: blocks, channels and frequencies along both axes."""
        blocks = (-(-self.height // self.side), -(-self.width // self.side))
        return (*blocks, self.channels, self.side, self.side)

    def init(self, key: PRNGKeyArray) -> Variables:
        """Give the coefficients; nothing is drawn."""
        constants = {"places": self.places, "mean": self.mean, "axes": self.axes}
        return {"params": {"cosines": self.values}, "constants": constants}

    def apply(self, variables: Variables, x: Float[Array, " 2"]) -> Float[Array, " c"]:
        """Give the colours of one position."""
        constants, values = variables["constants"], variables["params"]["cosines"]
        table = jnp.zeros(np.prod(self.shape), values.dtype)
        # They ascend, and none comes twice.
        table = table.at[constants["places"]].set(
            values, unique_indices=True, indices_are_sorted=True
        )
        pixel = x * jnp.array([self.height, self.width])
        last = jnp.array(self.shape[:2]) - 1
        block = jnp.clip(jnp.floor(pixel / self.side), 0, last)
        down, across = cosines(pixel - block * self.side, self.side)
        row, column = block.astype(jnp.int32)
        of_block = table.reshape(self.shape)[row, column]
        turned = jnp.einsum("cij,i,j->c", of_block, down, across, precision="highest")
        return constants["mean"] + turned @ constants["axes"]


def cosines(u: Float[Array, "*n"], side: int) -> Float[Array, "*n k"]:
    """The orthonormal cosines of a block at positions in it, in pixels from 0."""
    k = jnp.arange(side)
    norms = jnp.where(k == 0, 1.0, 2.0**0.5) / side**0.5
    return norms * jnp.cos(jnp.pi * k * (u[..., None] + 0.5) / side)


def of_image(
    image: Float[np.ndarray, "h w c"], num_params: int, side: int = SIDE
) -> Cosines:
    """The cosines whose `num_params` numbers fit an image best.

    Where they stand is fixed and takes a bit for each of all coefficients besides.

    Raises:
        ConfigError: there is no room for a coefficient, or no block.
    """
    from scipy.fft import dctn

    height, width, channels = image.shape
    if num_params <= FIXED or side < 1:
        raise ConfigError(
            f"num_params is {num_params} and side {side}",
            f"use num_params={FIXED + 1} or more, and side=1 or more",
        )
    colours = image.reshape(-1, channels).astype(np.float64)
    mean = colours.mean(0)
    # The axes of the colours' spread: an orthonormal brightness and chroma.
    axes = np.linalg.eigh(np.cov(colours.T).reshape(channels, channels))[1].T[::-1]
    turned = ((colours - mean) @ axes.T).reshape(image.shape)
    padding = ((0, -height % side), (0, -width % side), (0, 0))
    padded = np.pad(turned, padding, mode="edge")
    rows, columns = padded.shape[0] // side, padded.shape[1] // side
    blocks = padded.reshape(rows, side, columns, side, channels).transpose(
        0, 2, 4, 1, 3
    )
    found = np.asarray(dctn(blocks, axes=(3, 4), norm="ortho"), np.float32).ravel()
    count = min(num_params - FIXED, found.size)
    places = np.sort(np.argpartition(-np.abs(found), count - 1)[:count])
    return Cosines(
        found[places],
        places.astype(np.int32),
        mean.astype(np.float32),
        axes.astype(np.float32),
        height=height,
        width=width,
        channels=channels,
        side=side,
    )


def _no_weights(key: PRNGKeyArray) -> Variables:
    return {"params": {}}


def _as_they_are(variables: Variables, features: Array) -> Array:
    return features


# A network that gives its features.
COLOURS = (_no_weights, _as_they_are)
