"""The loss of one entry of a measurement: `loss(prediction, value)`, elementwise.

The fit minimises its mean. Losses with a parameter are objects that compare by value,
so that two of one parameter share a program.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Below this brightness the logarithm of the Poisson likelihood is continued by its
# parabola: its slope must stay finite where a field has yet to find the image.
DARK = 1 / 255


def squared(
    prediction: Float[Array, "*n"], value: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """(p - v)**2: its mean is the mean squared error, without a half."""
    return (prediction - value) ** 2


def absolute(
    prediction: Float[Array, "*n"], value: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """abs(p - v): outliers count by their size, not by its square."""
    return jnp.abs(prediction - value)


@dataclasses.dataclass(frozen=True)
class Huber:
    """Squared up to `delta`, linear beyond, smooth between (Huber 1964).

    r**2 where abs(r) <= delta, else delta * (2 abs(r) - delta): near zero it is
    `squared`, which has no half either.
    """

    delta: float = 0.1

    def __call__(self, prediction: Any, value: Any) -> Any:
        size = jnp.abs(prediction - value)
        near = jnp.minimum(size, self.delta)
        return near * (2 * size - near)


@dataclasses.dataclass(frozen=True)
class Charbonnier:
    """sqrt(r**2 + epsilon**2) - epsilon: `absolute` with a smooth bottom."""

    epsilon: float = 1e-3

    def __call__(self, prediction: Any, value: Any) -> Any:
        return jnp.sqrt((prediction - value) ** 2 + self.epsilon**2) - self.epsilon


def poisson(
    prediction: Float[Array, "*n"], value: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Negative log-likelihood of photon counts, less its least value.

    p - v log(p) + v log(v) - v for a brightness p that should be v: zero where they
    are equal. Brightness is counts over the peak, which scales the likelihood and
    moves no minimum. Below DARK the logarithm is continued by its parabola, and p by
    its size, so that a field without a sigmoid may stray below zero and return.
    """
    inside = jnp.maximum(prediction, DARK)
    short = (inside - prediction) / DARK
    log = jnp.log(inside) - short - short**2 / 2
    least = value - jax.scipy.special.xlogy(value, value)
    return jnp.abs(prediction) - value * log - least


@dataclasses.dataclass(frozen=True)
class Sharpened:
    """The squared error of a tile of blurred pixels, as if they were not blurred.

    (D (p - v))**2 / (abs(K)**2 + balance), with D the orthonormal cosine transform of
    the tile and K the blur's transfer at each of its frequencies. A blur leaves a
    thousandth of fine detail, and plain squares take thousands of steps to see it;
    here all frequencies come as fast. `balance` bounds what noise is multiplied by, as
    Wiener's filter has it.

    kernel: (kh, kw) as nested tuples, of sum 1.
    """

    kernel: tuple[tuple[float, ...], ...]
    balance: float = 3e-3

    def __call__(
        self, prediction: Float[Array, "r k c"], value: Float[Array, "r k c"]
    ) -> Float[Array, "r k c"]:
        rows, columns = prediction.shape[:2]
        down, across = (jnp.asarray(cosines(side)) for side in (rows, columns))
        waves = jnp.einsum(
            "ar,bk,rkc->abc",
            down,
            across,
            prediction - value,
            precision=jax.lax.Precision.HIGHEST,
        )
        power = transfer(self.kernel, rows, columns) ** 2 + self.balance
        return waves**2 / jnp.asarray(power, waves.dtype)[..., None]


@functools.lru_cache(maxsize=64)
def cosines(side: int) -> Float[np.ndarray, "f side"]:
    """The orthonormal type-2 cosine transform as a matrix, float32."""
    frequencies, places = np.arange(side)[:, None], np.arange(side) + 0.5
    waves = np.cos(np.pi * frequencies * places / side) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


@functools.lru_cache(maxsize=64)
def transfer(
    kernel: tuple[tuple[float, ...], ...], rows: int, columns: int
) -> Float[np.ndarray, "r k"]:
    """What a kernel leaves of the waves of a tile's cosine transform, in size."""
    weights = np.asarray(kernel)
    down, across = (
        np.exp(-1j * np.pi * np.outer(np.arange(side) / side, np.arange(length)))
        for side, length in zip((rows, columns), weights.shape, strict=True)
    )
    return np.abs(down @ weights @ across.T)
