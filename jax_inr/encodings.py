"""Coordinates to features: pure functions and the samplers of their frequencies.

Every function here takes coordinates with any leading axes, a single pixel's too,
and keeps phases in float32 on every device.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


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
