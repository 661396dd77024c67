"""Tomography: an image from its sums along rays at several angles."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jax_inr.errors import ConfigError, ImageError
from jax_inr.tasks.checks import check_finite
from jax_inr.tasks.task import Task, at_points


def tomography(sinogram: ArrayLike, angles: ArrayLike) -> Task:
    """The square image whose projections are given, inside its circle.

    The geometry is that of `skimage.transform.radon` with `circle=True`: detector s of
    a view at angle a (degrees) sums the colours one pixel apart along a line, and what
    lies outside the inscribed circle is zero. Divided by the side, a measurement is of
    the size of a colour.

    Args:
        sinogram: (s, v) or (s, v, c), detectors by views; the image sought is
            (s, s, c).
        angles: (v,), in degrees.

    Raises:
        ImageError: the sinogram is not (detectors, views) or (detectors, views,
            channels) of finite values.
        ConfigError: the angles are not as many as the views.
    """
    sinogram = np.asarray(sinogram, np.float64)
    if sinogram.ndim not in (2, 3) or not sinogram.size:
        raise ImageError(
            f"a sinogram of shape {sinogram.shape} is not (detectors, views) or "
            "(detectors, views, channels)"
        )
    sinogram = sinogram.reshape(*sinogram.shape[:2], -1)
    side, views, channels = sinogram.shape
    angles = np.asarray(angles, np.float64)
    if angles.shape != (views,):
        raise ConfigError(
            f"{angles.size} angles for a sinogram of {views} views",
            "give one angle for each column",
        )
    check_finite("sinogram", sinogram)
    check_finite("angles", angles)
    values = sinogram.reshape(-1, channels) / side
    items = rays(side, angles)
    shape = side, side, channels
    return at_points(Ray(side), items, values.astype(np.float32), shape)


def rays(side: int, angles: Float[np.ndarray, " v"]) -> Float[np.ndarray, "n 2 2"]:
    """Start and step (2, 2) of every ray, detectors by views, in unit coordinates.

    The ray of detector s and angle a passes through the pixels (row, column) = centre +
    (s - centre) (-sin a, cos a) + (t - centre) (cos a, sin a), t = 0 … side - 1.
    """
    a = np.deg2rad(angles)
    along = np.stack([np.cos(a), np.sin(a)], axis=-1)  # (v, 2)
    across = np.stack([-np.sin(a), np.cos(a)], axis=-1)
    centre = side // 2
    offsets = np.arange(side)[:, None, None] - centre
    start = centre + offsets * across - centre * along  # (s, v, 2)
    step = np.broadcast_to(along, start.shape)
    both = np.stack([start, step], axis=2) / side
    return both.reshape(-1, 2, 2).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Ray:
    """The sum of the colours at `side` points of a line, over the side."""

    side: int

    def points(self, item: Float[Array, "2 2"]) -> Float[Array, "p 2"]:
        """The positions along the ray, one pixel apart."""
        start, step = item
        return start + jnp.arange(self.side, dtype=item.dtype)[:, None] * step

    def combine(
        self, colours: Float[Array, "p c"], item: Float[Array, "2 2"]
    ) -> Float[Array, " c"]:
        """The sum (c,) over the points inside the circle."""
        radius = (self.side // 2) / self.side
        away = jnp.sum((self.points(item) - radius) ** 2, axis=-1)
        # A pixel of the circle's edge belongs to it, rounded or not.
        inside = away <= radius**2 * (1 + 1e-5)
        return jnp.sum(jnp.where(inside[:, None], colours, 0), axis=0) / self.side
