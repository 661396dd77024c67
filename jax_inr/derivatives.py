"""A field's derivatives in space: exact, by forward mode through encoding and network.

Coordinates are those of the unit square, rows first, so a derivative is per height or
per width of the image. Everything here is a pure function; jit and vmap it.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_inr.errors import ConfigError
from jax_inr.model import Model, Variables

Derivative = Literal["none", "gradient", "laplacian"]
# Rec. 709: the brightness of a colour.
LUMA = (0.2126, 0.7152, 0.0722)


def jacobian(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n c 2"]:
    """The slope of every channel down the rows and along the columns.

    Args:
        coords: positions (..., 2) in the unit square.

    Returns:
        (..., c, 2), change of a channel per height (index 0) and per width (index 1).
    """
    slopes = [_slope(model, variables, coords, axis) for axis in (0, 1)]
    return jnp.stack(slopes, axis=-1)


def gradient(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n 2"]:
    """The gradient (..., 2) of the brightness: of Rec. 709 luma, or of the one channel.

    Units as in `jacobian`.
    """
    slopes = jacobian(model, variables, coords)
    weights = LUMA if slopes.shape[-2] == len(LUMA) else (1.0,)
    return jnp.einsum(
        "...ca,c->...a",
        slopes,
        jnp.asarray(weights, slopes.dtype),
        precision=jax.lax.Precision.HIGHEST,
    )


def curvature(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n c 2"]:
    """The second derivative (..., c, 2) of every channel along each axis.

    One forward pass through another: two numbers a pixel, where a Hessian has four.
    """

    def second(axis: int) -> Array:
        def first(coords: Array) -> Array:
            return _slope(model, variables, coords, axis)

        return jax.jvp(first, (coords,), (_direction(coords, axis),))[1]

    return jnp.stack([second(0), second(1)], axis=-1)


def laplacian(
    model: Model, variables: Variables, coords: Float[Array, "*n 2"]
) -> Float[Array, "*n c"]:
    """The Laplacian (..., c) of every channel: the sum of its second derivatives."""
    return jnp.sum(curvature(model, variables, coords), axis=-1)


def check_derivative(model: Model, kind: str) -> None:
    """Refuse a derivative that the network does not have, or not truthfully.

    Raises:
        ConfigError: any derivative of the CNN, and the Laplacian of a network whose
            curvature lies in kinks, which no derivative sees.
    """
    if not model.per_pixel:
        raise ConfigError(
            "the CNN has no derivatives in space: it is a function of a whole grid",
            "fit another network",
        )
    if kind != "laplacian":
        return
    has_kinks = not getattr(model.network, "is_smooth", True)
    if has_kinks or not getattr(model.encoding, "is_smooth", True):
        what = "of a ReLU network" if has_kinks else "of linear interpolation on a grid"
        raise ConfigError(
            f"the Laplacian {what} is zero almost everywhere but for what encoding and "
            "sigmoid add: its curvature lies in kinks, which no derivative sees",
            "fit a smooth field, as with activation=gelu or network=siren",
        )


def _slope(model: Model, variables: Variables, coords: Array, axis: int) -> Array:
    """The derivative of all channels along an axis, one forward pass."""

    def colours(coords: Array) -> Array:
        return model.predict(variables, coords)

    return jax.jvp(colours, (coords,), (_direction(coords, axis),))[1]


def _direction(coords: Array, axis: int) -> Array:
    # A pixel's colour depends on its own coordinate alone, so one tangent serves all.
    return jnp.zeros_like(coords).at[..., axis].set(1)
