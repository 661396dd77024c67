"""Ridge regression on fixed Fourier features: the best linear map, in closed form.

Framework-free and in float64. What a network with the same features has to beat.
"""

import numpy as np
from jaxtyping import Float

from jax_inr.coordinates import pixel_grid

# Penalties tried, as multiples of the mean square of the features' singular values,
# four to a decade: from one that no singular value above rounding feels to one that
# leaves next to nothing, so that the smallest error lies between.
PENALTIES = np.logspace(-30, 2, 129)
CHUNK_PIXELS = 1 << 14


def ridge_images(
    frequencies: Float[np.ndarray, "2 m"],
    mask: np.ndarray,
    images: Float[np.ndarray, "k h w c"],
) -> tuple[Float[np.ndarray, "k h w c"], Float[np.ndarray, " k"]]:
    """Fit each image at the mask's pixels; its prediction everywhere.

    The penalty of an image has the smallest error of generalised cross-validation
    (Golub, Heath and Wahba, 1979), which sees trained pixels alone. The features are
    never squared: the singular values of smooth ones span many decades, and those
    below 1e-8 of the largest would be rounding in a Gram matrix. Those that are
    rounding here too count as zero.

    Args:
        frequencies: B, in cycles per unit of the square.
        mask: (h, w) booleans, the trained pixels.
        images: colours, any scale.

    Returns:
        The predictions, and each image's penalty as a multiple, see PENALTIES.
    """
    count, height, width, channels = images.shape
    coords = pixel_grid(height, width).astype(np.float64)
    targets = np.concatenate([image[mask] for image in images], axis=-1)
    features, moments, outside = _triangular(coords[mask], frequencies, targets)
    left, values, right = np.linalg.svd(features)
    pixels = int(mask.sum())
    rounding = np.finfo(np.float64).eps * max(pixels, len(values)) * values[0]
    values = np.where(values > rounding, values, 0)
    moments = (left.T @ moments).reshape(-1, count, channels)
    scale = np.mean(values**2)
    errors = [
        _validated(
            values,
            moments,
            outside.reshape(count, channels).sum(axis=-1),
            multiple * scale,
            pixels,
        )
        for multiple in PENALTIES
    ]
    chosen = PENALTIES[np.argmin(errors, axis=0)]
    shrunk = values[:, None] / (values[:, None] ** 2 + chosen * scale)
    weights = right.T @ (shrunk[..., None] * moments).reshape(len(values), -1)
    flat = coords.reshape(-1, 2)
    parts = [_features(flat[p], frequencies) @ weights for p in _chunks(len(flat))]
    predictions = np.concatenate(parts).reshape(height, width, count, channels)
    return np.moveaxis(predictions, 2, 0), chosen


def _triangular(
    coords: Float[np.ndarray, "n 2"],
    frequencies: Float[np.ndarray, "2 m"],
    targets: Float[np.ndarray, "n t"],
) -> tuple[Float[np.ndarray, "f f"], Float[np.ndarray, "f t"], Float[np.ndarray, " t"]]:
    """R and Q^T y of the features' QR decomposition, and what of y^2 is outside Q.

    Of features and targets side by side, chunk by chunk, so that features of all
    pixels never lie in memory together.
    """
    columns = 2 * frequencies.shape[1] + 1
    triangle = np.zeros((columns + targets.shape[1],) * 2)
    for part in _chunks(len(coords)):
        rows = _features(coords[part], frequencies), targets[part]
        stacked = np.concatenate([triangle, np.concatenate(rows, axis=-1)])
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
    inside, outside = triangle[:columns, columns:], triangle[columns:, columns:]
    return triangle[:columns, :columns], inside, (outside**2).sum(axis=0)


def _validated(
    values: Float[np.ndarray, " f"],
    moments: Float[np.ndarray, "f k c"],
    outside: Float[np.ndarray, " k"],
    penalty: float,
    pixels: int,
) -> Float[np.ndarray, " k"]:
    """Generalised cross-validation's error of each image under a penalty.

    Sums of what is positive, so that no rounding decides where the fit is exact.
    """
    kept = penalty / (values**2 + penalty)
    residual = outside + np.einsum("f,fkc->k", kept**2, moments**2)
    rank = np.count_nonzero(values)
    freedom = (pixels - rank + kept[values > 0].sum()) / pixels
    return residual / freedom**2


def _features(
    coords: Float[np.ndarray, "n 2"], frequencies: Float[np.ndarray, "2 m"]
) -> Float[np.ndarray, "n f"]:
    """Sines, cosines and a constant."""
    phases = 2 * np.pi * (coords @ frequencies.astype(np.float64))
    constant = np.ones((len(coords), 1))
    return np.concatenate([np.sin(phases), np.cos(phases), constant], axis=-1)


def _chunks(count: int) -> list[slice]:
    starts = range(0, int(count), CHUNK_PIXELS)
    return [slice(start, start + CHUNK_PIXELS) for start in starts]
