"""Images from their derivatives: gradients, the Laplacian, seamless cloning.

Derivatives are per pixel, so both axes count alike whatever the image's shape. They
leave a constant open (the Laplacian more): it is the field's own.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, ImageError
from jax_inr.tasks import measure
from jax_inr.tasks.checks import check_finite, checked, checked_mask
from jax_inr.tasks.penalties import gradients
from jax_inr.tasks.stencils import Stencil
from jax_inr.tasks.task import Field, Task, at_points

Method = Literal["derivative", "difference"]
FIVE_POINTS = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def from_gradients(
    rows: ArrayLike, columns: ArrayLike, method: Method | str = "derivative"
) -> Task:
    """The image whose gradient is given, up to a constant of each channel.

    Args:
        rows, columns: (h, w, c), the change of each channel per pixel down the rows
            and along the columns.
        method: "derivative": the field's exact slope, as SIREN's Poisson experiment
            (arXiv 2006.09661) has it. "difference": its forward difference from pixel
            to pixel, which is exact where `measure.gradients` made the gradient.

    Raises:
        ImageError: rows or columns are not (height, width, channels) of finite values,
            or differ in shape.
        ConfigError: the method is unknown.
    """
    rows, columns = checked(rows), checked(columns)
    if rows.shape != columns.shape:
        raise ImageError(
            f"the slopes down the rows are of shape {rows.shape}, but those along the "
            f"columns of {columns.shape}",
            "give both for every pixel",
        )
    values = np.stack([rows, columns], axis=-1)
    check_finite("gradient", values)
    return _from_derivatives(values, method, Slopes, Differences)


def from_laplacian(laplacian: ArrayLike, method: Method | str = "derivative") -> Task:
    """The image whose Laplacian is given, up to a harmonic function.

    Args:
        laplacian: (h, w, c), the second derivatives' sum, per pixel squared.
        method: "derivative" or "difference", the five-point formula; see
            `from_gradients` and `measure.laplacian`.

    Raises:
        ImageError: the Laplacian is not (height, width, channels) of finite values.
        ConfigError: the method is unknown.
    """
    laplacian = checked(laplacian)
    check_finite("laplacian", laplacian)

    def five_points(height: int, width: int) -> Stencil:
        return Stencil(FIVE_POINTS, height, width, (-1, -1))

    return _from_derivatives(laplacian, method, Curvature, five_points)


def _from_derivatives(
    values: np.ndarray, method: str, derivative: Any, difference: Any
) -> Task:
    height, width, channels = values.shape[:3]
    shape = height, width, channels
    items = pixel_grid(height, width).reshape(-1, 2)
    values = values.reshape(-1, *values.shape[2:])
    match method:
        case "derivative":
            predict = derivative(height, width)
            return Task(items=items, values=values, predict=predict, shape=shape)
        case "difference":
            return at_points(difference(height, width), items, values, shape)
    raise ConfigError(f"unknown method {method!r}", "methods: derivative, difference")


def poisson_edit(target: ArrayLike, source: ArrayLike, mask: ArrayLike) -> Task:
    """The target's colours outside the mask, the source's differences inside.

    Seamless cloning (Pérez et al. 2003): of neighbours of which at least one is in the
    mask, the difference is the source's; so the source meets the target at the mask's
    edge without a seam.

    Args:
        mask: (h, w), True where the source goes.

    Raises:
        ImageError: an image is not (height, width, channels) of finite values; the
            images differ in shape; the mask is of another shape, or covers nothing or
            everything.
    """
    target, source = checked(target), checked(source)
    height, width, channels = target.shape
    if source.shape != target.shape:
        raise ImageError(
            f"the source is of shape {source.shape}, but the target of {target.shape}",
            "crop or resize one of them",
        )
    mask = checked_mask(mask, target)
    if not mask.any() or mask.all():
        raise ImageError(
            f"the mask covers {mask.sum()} of {mask.size} pixels",
            "it is True where the source goes, and leaves some of the target",
        )
    check_finite("target", target)
    check_finite("source", source)
    wide = np.pad(mask, ((0, 1), (0, 1)))
    parts = [~mask, mask | wide[1:, :-1], mask | wide[:-1, 1:]]
    # There is no pair below the last row, nor right of the last column.
    parts[1][-1], parts[2][:, -1] = False, False
    parts = np.stack(parts, axis=-1).astype(np.float32)
    values = np.stack([target, *measure.gradients(source)], axis=2) * parts[..., None]
    items = pixel_grid(height, width).reshape(-1, 2), parts.reshape(-1, 3)
    values = values.reshape(-1, 3, channels)
    return at_points(Clone(height, width), items, values, target.shape)


@dataclasses.dataclass(frozen=True)
class Slopes:
    """The exact gradient (c, 2) of a field at a position, per pixel."""

    height: int
    width: int

    def __call__(self, field: Field, item: Float[Array, " 2"]) -> Float[Array, "c 2"]:
        return gradients(field, item, self.height, self.width)


@dataclasses.dataclass(frozen=True)
class Curvature:
    """The exact Laplacian (c,) of a field at a position, per pixel squared."""

    height: int
    width: int

    def __call__(self, field: Field, item: Float[Array, " 2"]) -> Float[Array, " c"]:
        def second(direction: Array) -> Array:
            def slope(coords: Array) -> Array:
                return jax.jvp(field, (coords,), (direction,))[1]

            return jax.jvp(slope, (item,), (direction,))[1]

        down = jnp.asarray([1 / self.height, 0], item.dtype)
        across = jnp.asarray([0, 1 / self.width], item.dtype)
        return second(down) + second(across)


@dataclasses.dataclass(frozen=True)
class Differences:
    """Forward differences (c, 2) from a pixel to the next one down and across."""

    height: int
    width: int

    def points(self, item: Float[Array, " 2"]) -> Float[Array, "3 2"]:
        """The pixel, the one below, the one to the right; inside the image."""
        size = np.array([self.height, self.width])
        steps = jnp.asarray(np.array([[0, 0], [1, 0], [0, 1]]) / size, item.dtype)
        last = jnp.asarray((size - 1) / size, item.dtype)
        return jnp.clip(item + steps, 0, last)

    def combine(self, colours: Float[Array, "3 c"], item: Any) -> Float[Array, "c 2"]:
        """The two differences; zero at the last row and column."""
        here, below, right = colours
        return jnp.stack([below - here, right - here], axis=-1)


@dataclasses.dataclass(frozen=True)
class Clone(Differences):
    """Colour and differences (3, c) of a pixel, those that its item asks for.

    The item is the position and a factor (3,), 0 or 1, for each of the three.
    """

    def points(self, item: tuple[Array, Array]) -> Float[Array, "3 2"]:
        return super().points(item[0])

    def combine(
        self, colours: Float[Array, "3 c"], item: tuple[Array, Array]
    ) -> Float[Array, "3 c"]:
        """The colour and the two differences, zero where not asked for."""
        down, across = jnp.moveaxis(super().combine(colours, item), -1, 0)
        return jnp.stack([colours[0], down, across]) * item[1][:, None]
