"""Ridge regression on fixed Fourier features: the best linear map, in closed form.

Framework-free and in float64. What a network with the same features has to beat.
"""

import numpy as np
from jaxtyping import Float

from jax_inr.coordinates import pixel_grid

# Penalties tried, as multiples of the features' mean square summed over pixels.
PENALTIES = np.logspace(-10, 2, 49)
CHUNK_PIXELS = 1 << 14


def ridge_pictures(
    frequencies: Float[np.ndarray, "2 m"],
    mask: np.ndarray,
    pictures: Float[np.ndarray, "k h w c"],
) -> tuple[Float[np.ndarray, "k h w c"], Float[np.ndarray, " k"]]:
    """Fit each picture at the mask's pixels; its prediction everywhere.

    The penalty of a picture has the smallest error of generalised cross-validation
    (Golub, Heath and Wahba, 1979), which sees trained pixels alone.

    Args:
        frequencies: B, in cycles per unit of the square.
        mask: (h, w) booleans, the trained pixels.
        pictures: colours, any scale.

    Returns:
        The predictions, and each picture's penalty as a multiple, see PENALTIES.
    """
    count, height, width, channels = pictures.shape
    coords = pixel_grid(height, width).astype(np.float64)
    targets = np.concatenate([picture[mask] for picture in pictures], axis=-1)
    gram, moments = 0.0, 0.0
    for part in _chunks(mask.sum()):
        features = _features(coords[mask][part], frequencies)
        gram = gram + features.T @ features
        moments = moments + features.T @ targets[part].astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    # Rounding may leave the smallest a little below zero.
    values = np.maximum(values, 0)
    moments = (vectors.T @ moments).reshape(-1, count, channels)
    energy = (targets.astype(np.float64) ** 2).sum(axis=0).reshape(count, channels)
    scale = values.mean()
    errors = [
        _validated(values, moments, energy.sum(axis=-1), multiple * scale, mask.sum())
        for multiple in PENALTIES
    ]
    chosen = PENALTIES[np.argmin(errors, axis=0)]
    shrunk = moments / (values[:, None] + chosen * scale)[..., None]
    weights = vectors @ shrunk.reshape(len(values), -1)
    flat = coords.reshape(-1, 2)
    parts = [_features(flat[p], frequencies) @ weights for p in _chunks(len(flat))]
    predictions = np.concatenate(parts).reshape(height, width, count, channels)
    return np.moveaxis(predictions, 2, 0), chosen


def _validated(
    values: Float[np.ndarray, " f"],
    moments: Float[np.ndarray, "f k c"],
    energy: Float[np.ndarray, " k"],
    penalty: float,
    pixels: int,
) -> Float[np.ndarray, " k"]:
    """Generalised cross-validation's error of each picture under a penalty."""
    damped = values + penalty
    fitted = (values + 2 * penalty) / damped**2
    residual = energy - np.einsum("f,fkc->k", fitted, moments**2)
    freedom = 1 - np.sum(values / damped) / pixels
    # Rounding may leave an exact fit a little below zero.
    return np.maximum(residual, 0) / freedom**2


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
