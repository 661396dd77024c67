"""Restoration: tasks whose measurements are weighted sums of an image's pixels.

Each is a function of the colours at pixel positions, so a fit may keep their features.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError
from jax_inr.tasks.checks import check_finite, checked
from jax_inr.tasks.losses import poisson
from jax_inr.tasks.measure import DownKernel, down_weights, whole_factor
from jax_inr.tasks.stencils import Stencil, as_kernel, in_tiles, tile_side
from jax_inr.tasks.task import Task, at_points, pixel_colour, pixel_points, reconstruct


def superresolve(
    low: ArrayLike, factor: int | float, kernel: DownKernel | str = "box"
) -> Task:
    """The image `factor` times larger on each side, of which `low` is the average.

    Args:
        low: (h, w, c); the image sought is (factor * h, factor * w, c).
        kernel: how `low` was made, see `measure.down_weights`.

    Raises:
        ImageError: `low` is not (height, width, channels) of finite values.
        ConfigError: the factor is no whole number of at least 1, or the kernel is
            unknown.
    """
    low = checked(low)
    check_finite("image", low)
    factor = whole_factor(factor)
    height, width, channels = low.shape
    high = factor * height, factor * width
    weights, first = down_weights(factor, kernel)
    tile = None
    if len(weights) > factor:
        # Neighbours share points: a tile of them looks at each point once.
        tile = tile_side(height), tile_side(width)
    rows, columns = tile or (1, 1)
    corners = pixel_grid(*high)[:: factor * rows, :: factor * columns]
    values = in_tiles(low, rows, columns) if tile else low.reshape(-1, channels)
    kernel_2d = as_kernel(np.outer(weights, weights))
    stencil = Stencil(kernel_2d, *high, (first, first), factor, tile)
    task = at_points(stencil, corners.reshape(-1, 2), values, (*high, channels))
    if factor == 1:
        # A pixel alone has no axis of points, which trainers know.
        return task.replace(points=pixel_points, combine=pixel_colour)
    return task


def deblur(image: ArrayLike, kernel: ArrayLike) -> Task:
    """The image that, convolved with a kernel, is the blurred one.

    A measurement is a tile of blurred pixels, whose points are shared.

    Args:
        kernel: (kh, kw) of odd sides, divided by its sum; `measure.gaussian_kernel`
            makes one.

    Raises:
        ImageError: the image is not (height, width, channels) of finite values.
        ConfigError: the kernel has an even side, a sum that is not positive, or is
            larger than the image.
    """
    image = checked(image)
    check_finite("image", image)
    height, width, _ = image.shape
    kernel = checked_kernel(kernel, height, width)
    tile = tile_side(height), tile_side(width)
    first = -(kernel.shape[0] // 2), -(kernel.shape[1] // 2)
    # A stencil correlates: the kernel is turned for a convolution.
    stencil = Stencil(as_kernel(kernel[::-1, ::-1]), height, width, first, 1, tile)
    corners = pixel_grid(height, width)[:: tile[0], :: tile[1]].reshape(-1, 2)
    return at_points(stencil, corners, in_tiles(image, *tile), image.shape)


def denoise(
    image: ArrayLike, noise: Literal["gaussian", "poisson"] | str = "gaussian"
) -> Task:
    """`reconstruct` under the likelihood of the noise.

    Args:
        noise: "gaussian": squared errors; "poisson": the image is photon counts over
            their peak, see `losses.poisson`.

    Raises:
        ImageError: the image is not (height, width, channels) of finite values.
        ConfigError: the noise is unknown, or a count negative.
    """
    task = reconstruct(image).replace(image=None)  # a noisy image is no truth
    match noise:
        case "gaussian":
            return task
        case "poisson":
            if (negative := int((task.values < 0).sum())) > 0:
                raise ConfigError(
                    f"{negative} of the {task.values.size} values are negative, which "
                    "photon counts are not",
                    "take noise gaussian",
                )
            return task.replace(loss=poisson)
    raise ConfigError(f"unknown noise {noise!r}", "noise: gaussian, poisson")


def checked_kernel(kernel: ArrayLike, height: int, width: int) -> np.ndarray:
    """A kernel (kh, kw) in float64 of sum 1; raises ConfigError."""
    kernel = np.asarray(kernel, np.float64)
    size = "x".join(map(str, kernel.shape)) or "a single number"
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise ConfigError(
            f"the kernel is {size}; its two sides must be odd", "pad it with zeros"
        )
    if kernel.shape[0] > height or kernel.shape[1] > width:
        raise ConfigError(
            f"the kernel is {size}, but the image {height}x{width}", "cut the kernel"
        )
    check_finite("kernel", kernel)
    if not kernel.sum() > 0:
        raise ConfigError(
            f"the {kernel.size} weights of the kernel sum to {kernel.sum():g}; "
            "the sum must be positive"
        )
    return kernel / kernel.sum()
