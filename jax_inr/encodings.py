"""Coordinates to features: pure functions and the samplers of their frequencies.

Every function here takes coordinates with any leading axes, a single pixel's too,
and keeps phases in float32 on every device.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr.config import Config


def gaussian_frequencies(
    key: PRNGKeyArray, num_frequencies: int, sigma: float | Float[Array, ""]
) -> Float[Array, "2 m"]:
    """Draw B = sigma * N(0, 1), in cycles per unit of the square, shape (2, m).

    Gaussian random Fourier features, arXiv 2006.10739, section 5.
    """
    return sigma * jax.random.normal(key, (2, num_frequencies))


def basic_frequencies() -> Float[Array, "2 2"]:
    """B of the basic encoding: one cycle per axis, the identity."""
    return jnp.eye(2)


def positional_frequencies(num_frequencies: int, octaves: float) -> Float[Array, "2 m"]:
    """B of the positional encoding: half of the frequencies along each axis.

    2**t - 1 cycles for t evenly from 0 to `octaves`, log-linear, as in the code of
    arXiv 2006.10739.
    """
    steps = jnp.linspace(0.0, octaves, num_frequencies // 2)
    return jnp.kron(jnp.eye(2), 2**steps - 1)


def periodic_frequencies(
    key: PRNGKeyArray, num_frequencies: int, sigma: float
) -> Float[Array, "2 m"]:
    """B of whole numbers, all different, none the opposite of another.

    Every feature then has period one on both axes, the unit square is a torus
    (arXiv 2107.02561, section 4). Drawn from the half lattice with the weights of a
    Gaussian of standard deviation sigma, without replacement (Gumbel top-k).
    """
    reach = max(math.ceil(4 * sigma), math.ceil(num_frequencies**0.5))
    axis = jnp.arange(-reach, reach + 1)
    rows, columns = (grid.ravel() for grid in jnp.meshgrid(axis, axis, indexing="ij"))
    half = (rows > 0) | ((rows == 0) & (columns >= 0))
    weights = -(rows**2 + columns**2) / (2 * sigma**2)
    scores = jnp.where(half, weights + jax.random.gumbel(key, rows.shape), -jnp.inf)
    chosen = jax.lax.top_k(scores, num_frequencies)[1]
    return jnp.stack([rows[chosen], columns[chosen]]).astype(jnp.float32)


def draw_frequencies(config: Config, key: PRNGKeyArray) -> Float[Array, "2 m"]:
    """The frequencies B of an encoding that draws them."""
    draw = gaussian_frequencies
    if config.encoding == "periodic":
        draw = periodic_frequencies
    return draw(key, config.num_frequencies, config.sigma)


def fourier_features(
    coords: Float[Array, "*n 2"], frequencies: Float[Array, "2 m"]
) -> Float[Array, "*n 2*m"]:
    """Encode coordinates as (sin(2 pi x B), cos(2 pi x B)), all in [-1, 1].

    Args:
        coords: positions (..., 2), unit square.
        frequencies: B, (2, m), in cycles per unit.

    Returns:
        (..., 2m): the m sines, then the m cosines. arXiv 2006.10739, equation 5,
        with all amplitudes one.
    """
    # TF32 or bfloat16 here would ruin high frequencies: a phase error is absolute.
    turns = jnp.matmul(coords, frequencies, precision=jax.lax.Precision.HIGHEST)
    phases = 2 * jnp.pi * turns
    return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1)
