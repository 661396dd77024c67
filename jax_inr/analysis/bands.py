"""Frequencies and bands of a picture's spectrum. Needs numpy alone.

Frequencies are in cycles per unit of the square, the unit of the encodings' B: mode
(k, l) of the discrete Fourier transform turns k times over the height and l times over
the width, whatever their pixels. The radius of a mode is sqrt(k^2 + l^2).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from jax_inr.errors import ConfigError

LEARNED = 0.1  # of a band's energy may be missing where it counts as learned


def radii(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """The radius of each mode, in cycles per unit; the lowest negative one is -n/2."""
    rows, columns = (np.fft.fftfreq(n) * n for n in (height, width))
    return np.hypot(rows[:, None], columns[None, :])


def hann_window(height: int, width: int) -> Float[np.ndarray, "h w 1"]:
    """A periodic Hann window with mean square one.

    A picture is no period of anything: unwindowed, the jump between its opposite
    borders counts as energy at all frequencies.
    """
    sides = [1 - np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width)]
    window = np.outer(*sides)[..., None]
    return (window / np.sqrt(np.mean(window**2))).astype(np.float32)


def band_edges(height: int, width: int, num_bands: int) -> Float[np.ndarray, " b+1"]:
    """Edges of bands of equal ratio, from one cycle to the Nyquist frequency.

    A band holds the modes with edges[b] <= radius < edges[b + 1], the last one its
    upper edge too. Modes below one cycle (the mean) or beyond what both axes can show
    are in none.

    Raises:
        ConfigError: the picture is too small for each band to hold a mode.
    """
    nyquist = min(height, width) // 2
    most = 0
    for count in range(num_bands, 0, -1):
        edges = np.geomspace(1.0, max(nyquist, 1), count + 1)
        if nyquist > 1 and np.bincount(band_index(height, width, edges))[:-1].all():
            most = count
            break
    if most < num_bands:
        hint = (
            f"use --bands {most} or a larger --size" if most else "use a larger --size"
        )
        raise ConfigError(
            f"a picture of {height}x{width} pixels is too small for {num_bands} "
            "frequency bands",
            hint,
        )
    return edges


def band_index(
    height: int, width: int, edges: Float[np.ndarray, " b+1"]
) -> Int[np.ndarray, " hw"]:
    """The band of each mode; the number of bands for a mode that is in none."""
    radius, last = radii(height, width).ravel(), len(edges) - 1
    # Edges such as sqrt(2) are radii too, and rounding must not choose the side.
    index = np.searchsorted(edges * (1 - 1e-9), radius, side="right") - 1
    index[np.isclose(radius, edges[-1])] = last - 1
    return np.where(index < 0, last, index)


def learned_steps(
    missing: Float[np.ndarray, "s b"], steps: Sequence[int], limit: float = LEARNED
) -> list[int | None]:
    """The first of the steps at which each band misses at most `limit`, or None."""
    learned = np.asarray(missing) <= limit
    return [
        int(steps[int(column.argmax())]) if column.any() else None
        for column in learned.T
    ]


def highest_learned(
    missing: Float[np.ndarray, " b"],
    edges: Float[np.ndarray, " b+1"],
    limit: float = LEARNED,
) -> float:
    """The frequency up to which a fit has learned everything, in cycles per unit.

    Between the centres of the last band that misses at most `limit` and the first
    that misses more, by interpolation in logarithms; 0 where even the first does.
    """
    above = np.flatnonzero(~(np.asarray(missing) <= limit))
    if not len(above):
        return float(edges[-1])
    first = int(above[0])
    if first == 0:
        return 0.0
    centres = np.sqrt(edges[1:] * edges[:-1])
    pair = np.log(np.maximum(np.asarray(missing)[first - 1 : first + 1], 1e-12))
    part = (np.log(limit) - pair[0]) / (pair[1] - pair[0])
    return float(centres[first - 1] * (centres[first] / centres[first - 1]) ** part)
