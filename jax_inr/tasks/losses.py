"""The loss of one entry of a measurement: `loss(prediction, value)`, elementwise.

The fit minimises its mean. Losses with a parameter are objects that compare by value,
so that two of one parameter share a program.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
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
