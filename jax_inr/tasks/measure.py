"""What an image's measurements are: the tasks' operators as functions of an array.

Framework-free: they make measurements for experiments, and tests hold the tasks to
them. Images are (h, w, c); beyond the edge the nearest pixel goes on.
"""

import math
import warnings
from typing import Literal

import numpy as np
from jaxtyping import Float

from jax_inr.errors import ConfigError

DownKernel = Literal["box", "gaussian", "bicubic"]
KERNELS: tuple[DownKernel, ...] = ("box", "gaussian", "bicubic")


def gaussian_kernel(sigma: float, truncate: float = 4.0) -> Float[np.ndarray, "k k"]:
    """A Gaussian blur's kernel of odd size, of sum 1; sigma in pixels.

    Sampled at pixels and cut at `truncate` deviations, as `scipy.ndimage` does.

    Raises:
        ConfigError: sigma is not a finite number of at least 0.
    """
    if not 0 <= sigma < math.inf:
        raise ConfigError(f"sigma is {sigma:g} pixels; it must be 0 at least")
    axis = _gaussian(sigma, np.arange(-int(truncate * sigma + 0.5), 0))
    return np.outer(axis, axis)


def _gaussian(sigma: float, left: np.ndarray) -> np.ndarray:
    half = np.exp(-0.5 * (left / (sigma or 1)) ** 2)
    axis = np.concatenate([half, [1.0], half[::-1]])
    return axis / axis.sum()


def down_weights(
    factor: int, kernel: DownKernel | str
) -> tuple[Float[np.ndarray, " k"], int]:
    """What a low pixel takes of the high ones along an axis, and the first of them.

    Low pixel r lies at the centre of the high pixels factor * r to factor * r +
    factor - 1. box: their mean. gaussian: of deviation (factor - 1) / 2, as
    `skimage.transform.rescale` smooths, cut at 4 deviations. bicubic: Keys' cubic
    (1981, a = -1/2) stretched by the factor, as Pillow and Matlab resize.

    Returns:
        Weights (k,) of sum 1, and the offset in pixels of the first from factor * r.
    """
    if kernel not in KERNELS:
        raise ConfigError(
            f"unknown kernel {kernel!r}", f"kernels: {', '.join(KERNELS)}"
        )
    if kernel == "box" or factor == 1:
        return np.full(factor, 1 / factor), 0
    centre = (factor - 1) / 2
    reach = 2 * factor if kernel == "bicubic" else 4 * centre
    first, last = math.ceil(centre - reach), math.floor(centre + reach)
    away = np.arange(first, last + 1) - centre
    if kernel == "gaussian":
        weights = np.exp(-0.5 * (away / centre) ** 2)
    else:
        t = np.abs(away) / factor
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights = np.where(t <= 1, near, np.where(t < 2, far, 0))
        used = np.flatnonzero(weights)
        weights = weights[used[0] : used[-1] + 1]
        first += int(used[0])
    return weights / weights.sum(), first


def whole_factor(factor: int | float) -> int:
    """A factor as the whole number of at least 1 that it must be (ConfigError)."""
    # NaN fails: comparisons with it are false.
    if not (factor >= 1 and factor == round(factor)):
        raise ConfigError(f"the factor is {factor}; it must be a whole number from 1")
    return int(factor)


def downsample(
    image: Float[np.ndarray, "h w c"],
    factor: int | float,
    kernel: DownKernel | str = "box",
) -> Float[np.ndarray, "lh lw c"]:
    """The image `factor` times smaller on each side.

    Raises:
        ConfigError: the factor does not divide the sides, or is none.
    """
    factor = whole_factor(factor)
    height, width = image.shape[:2]
    if height % factor or width % factor:
        raise ConfigError(
            f"the factor {factor} does not divide an image of {height}x{width} pixels",
            "crop the image, or take another factor",
        )
    weights, first = down_weights(factor, kernel)
    for axis in (0, 1):
        side = image.shape[axis]
        starts = np.arange(0, side, factor) + first
        index = np.clip(starts[:, None] + np.arange(len(weights)), 0, side - 1)
        taken = np.take(image, index, axis=axis)
        image = np.tensordot(taken, weights, axes=([axis + 1], [0]))
    return image


def blur(
    image: Float[np.ndarray, "h w c"], kernel: Float[np.ndarray, "kh kw"]
) -> Float[np.ndarray, "h w c"]:
    """The convolution of each channel with a kernel of odd sides."""
    from scipy.ndimage import convolve

    return convolve(image, np.asarray(kernel)[..., None], mode="nearest")


def gradients(
    image: Float[np.ndarray, "h w c"],
) -> tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "h w c"]]:
    """Forward differences down the rows and along the columns, per pixel.

    Zero at the last row and column, where there is no next one.
    """
    rows = np.diff(image, axis=0, append=image[-1:])
    columns = np.diff(image, axis=1, append=image[:, -1:])
    return rows, columns


def laplacian(image: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w c"]:
    """The five-point Laplacian of each channel, per pixel squared."""
    from scipy.ndimage import laplace

    return np.stack([laplace(i, mode="nearest") for i in np.moveaxis(image, -1, 0)], -1)


def radon(
    image: Float[np.ndarray, "h w c"], angles: Float[np.ndarray, " v"]
) -> Float[np.ndarray, "h v c"]:
    """The sinogram of a square image inside its circle, as scikit-image projects it.

    Angles in degrees. What lies outside the circle is taken as zero.

    Raises:
        ConfigError: the image is not square.
    """
    from skimage.transform import radon as project

    height, width = image.shape[:2]
    if height != width:
        raise ConfigError(
            f"the image is {height}x{width}; tomography takes square ones", "crop it"
        )
    inside = np.where(circle(height)[..., None], image, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        views = [project(i, angles, circle=True) for i in np.moveaxis(inside, -1, 0)]
    return np.stack(views, axis=-1)


def circle(side: int) -> np.ndarray:
    """True inside the circle that tomography recovers, (side, side).

    Its centre is the pixel side // 2 and its radius side // 2 pixels, as in
    `skimage.transform.radon`.
    """
    away = (np.arange(side) - side // 2) ** 2
    return away[:, None] + away <= (side // 2) ** 2


def with_gaussian_noise(
    values: np.ndarray, sigma: int | float, random: np.random.Generator
) -> np.ndarray:
    """Values plus Gaussian noise of deviation sigma, not clipped."""
    return values + sigma * random.standard_normal(values.shape)


def with_poisson_noise(
    image: np.ndarray, peak: int | float, random: np.random.Generator
) -> np.ndarray:
    """Photon counts over their peak: white is `peak` photons in the mean."""
    return random.poisson(np.maximum(image, 0) * peak) / peak


def estimated_sigma(image: Float[np.ndarray, "h w c"]) -> float:
    """The deviation of an image's Gaussian noise, from its finest diagonal details.

    The median of the size of Haar's diagonal coefficients over 0.6745, a Gaussian's
    (Donoho and Johnstone 1994); edges are few, and the median passes over them.
    """
    height, width = (side // 2 * 2 for side in image.shape[:2])
    even = np.asarray(image, np.float64)[:height, :width]
    across = even[:, ::2] - even[:, 1::2]
    diagonal = (across[::2] - across[1::2]) / 2
    return float(np.median(np.abs(diagonal)) / 0.674_489_75)
