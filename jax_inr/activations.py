"""Activations of coordinate networks: pure functions of a layer's sums `z`.

The networks' papers are named at each.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Pi in three parts; a whole number of up to 16 bits times the first is exact.
PI_PARTS = (3.140625, 9.67502593994140625e-4, 1.509957990978376432e-7)
SIN_SERIES = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(1, 6))


@jax.custom_jvp
def sin(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The sine, within 3e-7 for |x| up to 1e5, in few plain operations.

    XLA calls a library for every number on a CPU, which takes twenty times as long.
    """
    return _sin_from(x, jnp.round(x / jnp.pi))


@jax.custom_jvp
def cos(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The cosine, as `sin`."""
    return -_sin_from(x, jnp.round(x / jnp.pi + 0.5) - 0.5)


sin.defjvps(lambda dx, _, x: cos(x) * dx)
cos.defjvps(lambda dx, _, x: -sin(x) * dx)


def _sin_from(x: Float[Array, "*n"], turns: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """sin(x - pi turns), by its series, with the sign of whole half turns."""
    for part in PI_PARTS:
        x = x - turns * part
    square = x * x
    series = jnp.zeros_like(x)
    for coefficient in reversed(SIN_SERIES):
        series = (series + coefficient) * square
    is_odd = jnp.floor(turns).astype(jnp.int32) & 1
    return jnp.where(is_odd, -1, 1) * (x + x * series)


def sine(z: Float[Array, "*n"], omega_0: Float[Array, ""]) -> Float[Array, "*n"]:
    """sin(omega_0 z), SIREN: arXiv 2006.09661, section 3.2."""
    return sin(omega_0 * z)


def finer(z: Float[Array, "*n"], omega_0: Float[Array, ""]) -> Float[Array, "*n"]:
    """sin(omega_0 (|z| + 1) z), FINER: arXiv 2312.02434, equation 4.

    No gradient flows through |z| + 1, as in the authors' code.
    """
    return sin(omega_0 * jax.lax.stop_gradient(jnp.abs(z) + 1) * z)


def gauss(z: Float[Array, "*n"], scale_0: Float[Array, ""]) -> Float[Array, "*n"]:
    """exp(-(scale_0 z)^2), arXiv 2111.15135, in the scaling of WIRE's code."""
    return jnp.exp(-((scale_0 * z) ** 2))


def gabor(
    real: Float[Array, "*n"],
    imag: Float[Array, "*n"],
    omega_0: Float[Array, ""],
    scale_0: Float[Array, ""],
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """exp(i omega_0 z - |scale_0 z|^2), WIRE: arXiv 2301.05187, equation 4.

    Complex numbers go as pairs of real ones, so that every optimizer takes them.
    """
    size = jnp.exp(-omega_0 * imag - scale_0**2 * (real**2 + imag**2))
    return size * cos(omega_0 * real), size * sin(omega_0 * real)
