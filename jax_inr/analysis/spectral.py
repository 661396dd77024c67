"""Spectra of pictures: energy by spatial frequency, and what a fit still misses of it.

Frequencies are in cycles per unit of the square; see `bands`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_inr.analysis.bands import band_index, hann_window, radii

Picture = Array | np.ndarray


def power_spectrum(image: Float[Picture, "h w c"]) -> Float[Array, "h w"]:
    """Energy of each Fourier mode, summed over channels: |F|^2 / (h w).

    Parseval: the sum over modes is the sum of the picture's squares.
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
    # A narrow picture's rings may be empty.
    return sums / np.maximum(counts, 1), counts


def band_energy(
    image: Float[Picture, "h w c"], edges: Float[np.ndarray, " b+1"]
) -> Float[Array, " b"]:
    """The energy of a picture in each band of `band_edges`."""
    height, width = image.shape[:2]
    band = band_index(height, width, edges)
    power = power_spectrum(image).ravel()
    return jax.ops.segment_sum(power, band, len(edges))[:-1]


def missing_share(
    prediction: Float[Picture, "h w c"],
    target: Float[Picture, "h w c"],
    edges: Float[np.ndarray, " b+1"],
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
    prediction: Float[Picture, "h w c"],
    target: Float[Picture, "h w c"],
    waves: Int[np.ndarray, "k 2"],
) -> Float[Array, " k"]:
    """The share of each plane wave of the target that a prediction shows, in phase.

    The projection of one Fourier coefficient on the other: 0 is nothing, 1 all of it.
    """
    found, true = (
        jnp.fft.fft2(picture, axes=(0, 1))[waves[:, 0], waves[:, 1]]
        for picture in (prediction, target)
    )
    return jnp.sum((found * true.conj()).real, -1) / jnp.sum(jnp.abs(true) ** 2, -1)
