"""Layers and initial weights: what the networks are built of, in Flax (Linen)."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr.convolution import conv3x3

# JAX's own default on recent GPUs is TF32, without a word; here it is asked for.
PRECISIONS = {
    "float32": jax.lax.Precision.HIGHEST,
    "tf32": jax.lax.Precision.DEFAULT,
    "bfloat16": jax.lax.Precision.DEFAULT,
}


def rounded_dot_general(a: Array, b: Array, dimension_numbers, **_) -> Array:
    """A product of operands rounded to bfloat16, summed in float32.

    Rounded by hand, because the CPU ignores a precision of bfloat16.
    """
    return jax.lax.dot_general(
        a.astype(jnp.bfloat16),
        b.astype(jnp.bfloat16),
        dimension_numbers,
        preferred_element_type=jnp.float32,
    )


def dot_general(precision: str) -> Callable[..., Array]:
    """`lax.dot_general` at one of PRECISIONS."""
    if precision == "bfloat16":
        return rounded_dot_general
    return functools.partial(jax.lax.dot_general, precision=PRECISIONS[precision])


def uniform(bound: Any) -> Callable[..., Array]:
    """Initialiser: uniform in +-bound."""

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def torch_bound(fan_in: int) -> float:
    """1/sqrt(fan_in), as torch draws the weights and biases of Linear and Conv2d."""
    return fan_in**-0.5


def siren_bound(layer: int, fan_in: int, omega_0: float) -> float:
    """1/fan_in in the first layer, sqrt(6/fan_in)/omega_0 in the others.

    SIREN, arXiv 2006.09661, section 3.2.
    """
    return 1 / fan_in if layer == 0 else math.sqrt(6 / fan_in) / omega_0


class ComplexDense(nn.Module):
    """A dense layer of complex numbers, each kept as two real ones.

    bound: initial weights and biases are uniform in +-bound.
    """

    features: int
    bound: Any
    dot_general: Any

    @nn.compact
    def __call__(
        self, real: Float[Array, " i"], imag: Float[Array, " i"]
    ) -> tuple[Float[Array, " o"], Float[Array, " o"]]:
        shape, init = (real.shape[-1], self.features), uniform(self.bound)
        kernel = self.param("kernel", init, shape)
        kernel_imag = self.param("kernel_imag", init, shape)
        bias = self.param("bias", init, shape[1:])
        bias_imag = self.param("bias_imag", init, shape[1:])

        def dot(a: Array, b: Array) -> Array:
            return self.dot_general(a, b, (((a.ndim - 1,), (0,)), ((), ())))

        return (
            dot(real, kernel) - dot(imag, kernel_imag) + bias,
            dot(real, kernel_imag) + dot(imag, kernel) + bias_imag,
        )


class Conv3x3(nn.Module):
    """A 3x3 convolution, zero padding, torch's initial distribution."""

    features: int
    precision: str

    @nn.compact
    def __call__(self, image: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        init = uniform(torch_bound(9 * image.shape[-1]))
        kernel = self.param("kernel", init, (3, 3, image.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return conv3x3(image, kernel, bias, precision=PRECISIONS[self.precision])
