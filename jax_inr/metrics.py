"""How close two images are: PSNR, 8-bit PSNR, SSIM; bits per pixel.

Images are (h, w, c) in [0, 1], numpy or JAX; JAX arrays give traceable results.
PSNR has peak 1 and is taken of predictions clipped to [0, 1]; it comes from the mean
squared error without a half. NaN anywhere in a prediction makes its metrics NaN.
"""

from typing import Any

import numpy as np

from jax_inr.errors import ConfigError

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5  # Wang's 11x11 window

# The caller's numpy may raise for an underflow, which changes no metric.
_QUIET = np.errstate(all="ignore")


def psnr_from_mse(mse: Any) -> Any:
    """-10 log10(mse): decibels against peak 1; inf of zero, NaN of NaN."""
    xp = mse.__array_namespace__() if hasattr(mse, "__array_namespace__") else np
    # Not `mse > 0`, which NaN fails too: a diverged fit would have a perfect PSNR.
    is_zero = mse == 0
    # The inner `where` keeps log10(0), and its gradient, out of both branches.
    return xp.where(is_zero, xp.inf, -10 * xp.log10(xp.where(is_zero, 1.0, mse)))


@_QUIET
def psnr(prediction: Any, target: Any) -> Any:
    """Peak signal-to-noise ratio in dB, prediction clipped to [0, 1], peak 1.

    Args:
        prediction: (h, w, c) or any shape.
        target: the same shape, in [0, 1].

    Raises:
        ConfigError: the shapes differ, as they do for every metric of two images.
    """
    _check_shapes(prediction, target)
    xp = prediction.__array_namespace__()
    return psnr_from_mse(xp.mean((xp.clip(prediction, 0, 1) - target) ** 2))


@_QUIET
def psnr_8bit(prediction: Any, target: Any) -> Any:
    """PSNR in dB of the image as it is saved: clipped, then rounded to 8 bits."""
    xp = prediction.__array_namespace__()
    return psnr(xp.floor(xp.clip(prediction, 0, 1) * 255 + 0.5) / 255, target)


@_QUIET
def ssim(prediction: Any, target: Any) -> Any:
    """Structural similarity, mean over pixels and channels, data range 1.

    Wang's convention (2004): Gaussian window 11x11 of standard deviation 1.5,
    population covariance, K1 = 0.01, K2 = 0.03, only full windows count. NaN for
    images of fewer than 11 pixels on a side, which hold no full window.
    """
    _check_shapes(prediction, target)
    xp = prediction.__array_namespace__()
    if min(prediction.shape[:2]) < 2 * SSIM_RADIUS + 1:
        return xp.asarray(xp.nan)
    x, y = xp.clip(prediction, 0, 1), target
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x = _smooth(x * x) - mean_x**2
    var_y = _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return xp.mean(
        (2 * mean_x * mean_y + c1)
        * (2 * covariance + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )


def _check_shapes(prediction: Any, target: Any) -> None:
    if prediction.shape != target.shape:
        raise ConfigError(
            f"the prediction has shape {prediction.shape}, and the target "
            f"{target.shape}: a metric compares equal shapes",
            "reshape or crop one of them",
        )


def _smooth(image: Any) -> Any:
    """Gaussian window means (h - 10, w - 10, c) of (h, w, c)."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).tolist()
    height, width = image.shape[0] - 2 * SSIM_RADIUS, image.shape[1] - 2 * SSIM_RADIUS
    image = sum(w * image[i : i + height] for i, w in enumerate(weights))
    return sum(w * image[:, i : i + width] for i, w in enumerate(weights))


def bits_per_pixel(
    num_params: int, height: int, width: int, bits_per_param: int = 32
) -> float:
    """Size of the parameters against the image's pixels, in bits per pixel."""
    return num_params * bits_per_param / (height * width)


def clipped_mse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of a prediction clipped to [0, 1], summed in float64."""
    error = np.clip(prediction, 0, 1).astype(np.float64) - target
    return float(np.mean(error**2))
