"""Penalties of a field: functions of one position, averaged over random points.

They know no grid, so they hold the field between the measurements too. The nonlocal
variation is one of places, of which `Penalty.items` says what they are like. Weight
decay is a function of the parameters, and takes no points:
`Penalty(weight_decay, 1e-6, None)`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_inr.tasks.task import Field


@dataclasses.dataclass(frozen=True)
class TotalVariation:
    """The length of each channel's gradient, summed over channels (Rudin et al. 1992).

    sum_c sqrt(|grad f_c|**2 + epsilon**2) - epsilon; a side of the image has the
    length `height` or `width`: with an image's own sides the gradient is one per
    pixel, and both axes count alike. `epsilon`, in the same unit, keeps the slope
    finite where the field is flat. is_joint: the length of all channels' gradients
    together, sqrt(sum_c |grad f_c|**2 + epsilon**2) - epsilon (Bresson and Chan 2008):
    colours then have their edges at the same places.
    """

    height: int | float = 1.0
    width: int | float = 1.0
    epsilon: float = 1e-3
    is_joint: bool = False

    def __call__(self, field: Field, x: Float[Array, " 2"]) -> Float[Array, ""]:
        squares = gradients(field, x, self.height, self.width) ** 2
        axes = None if self.is_joint else -1
        lengths = jnp.sqrt(jnp.sum(squares, axis=axes) + self.epsilon**2)
        return jnp.sum(lengths - self.epsilon)


@dataclasses.dataclass(frozen=True)
class SquaredGradient:
    """sum_c |grad f_c|**2, which Tikhonov's smoothing adds; units as TotalVariation."""

    height: int | float = 1.0
    width: int | float = 1.0

    def __call__(self, field: Field, x: Float[Array, " 2"]) -> Float[Array, ""]:
        return jnp.sum(gradients(field, x, self.height, self.width) ** 2)


@dataclasses.dataclass(frozen=True)
class NonlocalVariation:
    """The mean length of a colour's differences to those of similar places.

    mean_k sqrt(|f(x) - f(y_k)|**2 + epsilon**2) - epsilon, the nonlocal total variation
    (Gilboa and Osher 2008, 10.1137/070698592) with equal weights: what recurs in an
    image is the same wherever it does, edges and texture too, which total variation
    would flatten. The item of a place is (1 + k, 2), its position and those of the
    places alike; `similar_places` finds them.
    """

    epsilon: float = 1e-2

    def __call__(self, field: Field, places: Float[Array, "p 2"]) -> Float[Array, ""]:
        here, *_ = colours = jax.vmap(field)(places)
        squares = jnp.sum((colours[1:] - here) ** 2, axis=-1)
        return jnp.mean(jnp.sqrt(squares + self.epsilon**2) - self.epsilon)


def weight_decay(params: Any) -> Float[Array, ""]:
    """The sum of the squares of all parameters."""
    return sum(
        (jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), start=jnp.zeros(())
    )


def gradients(field: Field, x: Any, height: Any, width: Any) -> Float[Array, "c 2"]:
    """The slope of each channel (c, 2), per unit of length down and across."""
    return jax.jacfwd(field)(x) / jnp.asarray([height, width], x.dtype)
