"""Places of an image that look alike: what recurs was measured more than once."""

import numpy as np
from jaxtyping import Float, Int

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError

BAND_BYTES = 1 << 27  # of the distances that are in memory at a time


def similar_places(
    image: Float[np.ndarray, "h w c"], count: int, patch: int = 7, reach: int = 10
) -> Float[np.ndarray, "n k 2"]:
    """The positions of each pixel and of the `count` near it that look most like it.

    Pixels are as far apart as the squares (patch, patch) around them, by the mean
    squared difference of colours (Buades et al. 2005); beyond its edge the image is
    mirrored. Where fewer than `count` others are in reach, a pixel is among its own.

    Args:
        patch: an odd number of pixels.
        reach: pixels along each axis to the farthest that is looked at.

    Returns:
        (n, 1 + count, 2), of the pixels in reading order; a row is an item of
        `NonlocalVariation`.

    Raises:
        ConfigError: a number is less than 1, or the patch even.
    """
    if min(count, patch, reach) < 1 or not patch % 2:
        raise ConfigError(
            f"similar places: count is {count}, patch {patch}, reach {reach}; all must "
            "be 1 at least, and the patch odd"
        )
    height, width, _ = image.shape
    steps = np.arange(-reach, reach + 1)
    shifts = np.array([(i, j) for i in steps for j in steps if i or j])
    image = np.asarray(image, np.float32)
    band = max(BAND_BYTES // (4 * width * len(shifts)), 1)
    bands = [
        _nearest(image, range(top, min(top + band, height)), shifts, count, patch)
        for top in range(0, height, band)
    ]
    return pixel_grid(height, width).reshape(-1, 2)[np.concatenate(bands)]


def _nearest(
    image: np.ndarray,
    rows: range,
    shifts: Int[np.ndarray, "s 2"],
    count: int,
    patch: int,
) -> Int[np.ndarray, "n k"]:
    """The numbers of the pixels of some rows, and of those that look like them."""
    width = image.shape[1]
    here = np.asarray(rows)[:, None] * width + np.arange(width)
    distances = _distances(image, rows, shifts, patch)
    most = min(count, len(shifts))
    found = np.argpartition(distances, most - 1, axis=0)[:most]
    is_inside = np.isfinite(np.take_along_axis(distances, found, axis=0))
    offsets = (shifts @ [width, 1])[found]
    itself = np.zeros((1 + count - most, *here.shape), int)
    numbers = here + np.concatenate([itself, np.where(is_inside, offsets, 0)])
    return numbers.reshape(1 + count, -1).T


def _distances(
    image: np.ndarray, rows: range, shifts: Int[np.ndarray, "s 2"], patch: int
) -> Float[np.ndarray, "s r w"]:
    """From the patches of some rows to those shifted; infinite beyond the image."""
    # Imported late: scipy takes time.
    from scipy.ndimage import uniform_filter

    height, width, _ = image.shape
    half, reach = patch // 2, int(np.abs(shifts).max())
    edge = reach + half
    padded = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), "symmetric")

    def part(down: int, across: int) -> np.ndarray:
        top, left = rows.start + reach + down, reach + across
        bottom, right = top + len(rows) + 2 * half, left + width + 2 * half
        return padded[top:bottom, left:right]

    distances = np.full((len(shifts), len(rows), width), np.inf, np.float32)
    for distance, (down, across) in zip(distances, shifts.tolist(), strict=True):
        squares = ((part(down, across) - part(0, 0)) ** 2).mean(axis=-1)
        means = uniform_filter(squares, patch)
        inside = (
            slice(max(-down - rows.start, 0), max(height - down - rows.start, 0)),
            slice(max(-across, 0), max(width - across, 0)),
        )
        distance[inside] = means[half : half + len(rows), half : half + width][inside]
    return distances
