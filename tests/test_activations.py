"""Activations against float64 and their papers' formulas."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jax_inr.activations import cos, finer, gabor, gauss, sin, sine

Z: Any = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, 1000), jnp.float32)


@pytest.mark.parametrize("reach", [1.0, 30.0, 1e3, 1e5])
def test_sine_and_cosine_agree_with_float64(reach):
    """Within 3e-7: five terms of the series leave 6e-8, rounding the rest."""
    x = np.random.default_rng(1).uniform(-reach, reach, 100_000).astype(np.float32)
    x = np.concatenate([x, np.array([0, reach, -reach], np.float32)])
    exact = x.astype(np.float64)
    np.testing.assert_allclose(jax.jit(sin)(x), np.sin(exact), rtol=0, atol=3e-7)
    np.testing.assert_allclose(jax.jit(cos)(x), np.cos(exact), rtol=0, atol=3e-7)


def test_derivatives_of_the_sine_are_as_exact_as_itself():
    x = jnp.asarray(Z) * 20
    exact = np.asarray(x, np.float64)
    first = jax.vmap(jax.grad(sin))
    second = jax.vmap(jax.grad(jax.grad(sin)))
    third = jax.vmap(jax.grad(jax.grad(jax.grad(cos))))
    np.testing.assert_allclose(first(x), np.cos(exact), rtol=0, atol=3e-7)
    np.testing.assert_allclose(second(x), -np.sin(exact), rtol=0, atol=3e-7)
    np.testing.assert_allclose(third(x), np.sin(exact), rtol=0, atol=3e-7)


def test_activations_are_their_papers_formulas():
    z = np.asarray(Z, np.float64)
    omega, scale = jnp.float32(7.0), jnp.float32(1.5)
    np.testing.assert_allclose(sine(Z, omega), np.sin(7 * z), atol=3e-6)
    expected = np.sin(7 * (np.abs(z) + 1) * z)
    np.testing.assert_allclose(finer(Z, omega), expected, atol=1e-5)
    np.testing.assert_allclose(gauss(Z, scale), np.exp(-((1.5 * z) ** 2)), atol=1e-6)
    imag: Any = 0.1 * Z[::-1]
    number = z + 1j * np.asarray(imag, np.float64)
    wave: Any = np.exp(1j * 7 * number - np.abs(1.5 * number) ** 2)
    real_part, imag_part = gabor(Z, imag, omega, scale)
    np.testing.assert_allclose(real_part, wave.real, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(imag_part, wave.imag, rtol=1e-4, atol=1e-5)


def test_no_gradient_flows_through_finers_factor():
    gradient = jax.grad(lambda z: finer(z, jnp.float32(3.0)))(0.4)
    np.testing.assert_allclose(gradient, np.cos(3 * 1.4 * 0.4) * 3 * 1.4, rtol=1e-5)


def test_gradients_agree_with_differences():
    omega, scale = jnp.float32(2.0), jnp.float32(1.2)
    z = jnp.asarray(Z[:8])
    for function in (lambda z: sine(z, omega), lambda z: gauss(z, scale)):
        # Compiled: it calls functions with numpy's arrays, too.
        check_grads(jax.jit(function), (z,), 2, rtol=5e-2, atol=5e-2)
    complex_wave = jax.jit(lambda a, b: gabor(a, b, omega, scale))
    check_grads(complex_wave, (z, z / 3), 1, rtol=5e-2)
