"""Spectra of images: modes, frequency bands, and what a fit still misses of them.

Frequencies are in cycles per unit of the square, the unit of the encodings' B: mode
(k, l) of the discrete Fourier transform turns k times over the height and l times over
the width, whatever their pixels. The radius of a mode is sqrt(k^2 + l^2).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_inr.errors import ConfigError

Pixels = Array | np.ndarray
LEARNED = 0.1  # of a band's energy may be missing where it counts as learned


def radii(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """The radius of each mode, in cycles per unit; the lowest negative one is -n/2."""
    rows, columns = (np.fft.fftfreq(n) * n for n in (height, width))
    return np.hypot(rows[:, None], columns[None, :])


def hann_window(height: int, width: int) -> Float[np.ndarray, "h w 1"]:
    """A periodic Hann window with mean square one.

    An image is no period of anything: unwindowed, the jump between its opposite
    borders counts as energy at all frequencies.
    """
    # Imported late: scipy takes time.
    from scipy.signal.windows import hann

    window = np.outer(hann(height, sym=False), hann(width, sym=False))[..., None]
    return (window / np.sqrt(np.mean(window**2))).astype(np.float32)


def band_edges(height: int, width: int, num_bands: int) -> Float[np.ndarray, " edges"]:
    """Edges of bands of equal ratio, from one cycle to the Nyquist frequency.

    A band holds the modes with edges[b] <= radius < edges[b + 1], the last one its
    upper edge too. Modes below one cycle (the mean) or beyond what both axes can show
    are in none.

    Raises:
        ConfigError: the image is too small for each band to hold a mode.
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
            f"an image of {height}x{width} pixels is too small for {num_bands} "
            "frequency bands",
            hint,
        )
    return edges


def band_index(
    height: int, width: int, edges: Float[np.ndarray, " edges"]
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
    edges: Float[np.ndarray, " edges"],
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


def power_spectrum(image: Float[Pixels, "h w c"]) -> Float[Array, "h w"]:
    """Energy of each Fourier mode, summed over channels: |F|^2 / (h w).

    Parseval: the sum over modes is the sum of the image's squares.
    """
    modes = jnp.fft.fft2(image, axes=(0, 1))
    return jnp.sum(jnp.abs(modes) ** 2, -1) / (image.shape[0] * image.shape[1])


def radial_spectrum(
    power: Float[Array, "h w"],
) -> tuple[Float[Array, " r"], Int[np.ndarray, " r"]]:
    """The mean power of modes whose radius rounds to 0, 1, 2, …, and their number.

    The rings go out to the corner, so that power times number sums to all energy.
    """
    ring = np.rint(radii(*power.shape)).astype(int).ravel()
    counts = np.bincount(ring)
    sums = jax.ops.segment_sum(power.ravel(), ring, len(counts))
    # A narrow image's rings may be empty.
    return sums / np.maximum(counts, 1), counts


def band_energy(
    image: Float[Pixels, "h w c"], edges: Float[np.ndarray, " edges"]
) -> Float[Array, " b"]:
    """The energy of an image in each band of `band_edges`."""
    height, width = image.shape[:2]
    band = band_index(height, width, edges)
    power = power_spectrum(image).ravel()
    return jax.ops.segment_sum(power, band, len(edges))[:-1]


def missing_share(
    prediction: Float[Pixels, "h w c"],
    target: Float[Pixels, "h w c"],
    edges: Float[np.ndarray, " edges"],
) -> Float[Array, " b"]:
    """The residual's energy over the target's, band by band: 0 is learned, 1 is not.

    More than 1 means that the fit adds what the target does not have. Both are taken
    under a Hann window, the target without its mean.
    """
    window = hann_window(*target.shape[:2])
    centred = target - jnp.mean(target, (0, 1))
    energy = band_energy(window * centred, edges)
    residual = band_energy(window * (target - prediction), edges)
    return residual / jnp.maximum(energy, jnp.finfo(energy.dtype).tiny)


def sinusoids(
    height: int,
    width: int,
    waves: Int[np.ndarray, "k 2"],
    phases: Float[np.ndarray, " k"],
    amplitude: float,
) -> Float[np.ndarray, "h w 1"]:
    """0.5 plus a sum of plane waves of one amplitude, whole cycles on each axis."""
    rows, columns = np.arange(height) / height, np.arange(width) / width
    turns = waves[:, :1, None] * rows[:, None] + waves[:, 1:, None] * columns
    angles = 2 * np.pi * turns + phases[:, None, None]
    return (0.5 + amplitude * np.cos(angles).sum(0))[..., None].astype(np.float32)


def learned_amplitudes(
    prediction: Float[Pixels, "h w c"],
    target: Float[Pixels, "h w c"],
    waves: Int[np.ndarray, "k 2"],
) -> Float[Array, " k"]:
    """The share of each plane wave of the target that a prediction shows, in phase.

    The projection of one Fourier coefficient on the other: 0 is nothing, 1 all of it.
    """
    found, true = (
        jnp.fft.fft2(pixels, axes=(0, 1))[waves[:, 0], waves[:, 1]]
        for pixels in (prediction, target)
    )
    return jnp.sum((found * true.conj()).real, -1) / jnp.sum(jnp.abs(true) ** 2, -1)
