"""Losses: their closed forms, where they meet, and slopes that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats

from jax_inr.tasks.losses import (
    DARK,
    Charbonnier,
    Huber,
    Sharpened,
    absolute,
    poisson,
    squared,
)
from jax_inr.tasks.measure import gaussian_kernel
from jax_inr.tasks.stencils import as_kernel

LOSSES = (squared, absolute, Huber(0.2), Charbonnier(0.01), poisson)


def grid():
    """Predictions that stray beyond [0, 1], against values in it."""
    p, v = np.meshgrid(np.linspace(-0.3, 1.3, 33), np.linspace(0, 1, 21))
    return jnp.asarray(p, jnp.float32), jnp.asarray(v, jnp.float32)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_zero_at_the_value_and_no_less_elsewhere(loss):
    p, v = grid()
    # Of a dark value the Poisson loss is least where its logarithm is continued.
    bright = jnp.maximum(v, DARK) if loss is poisson else v
    np.testing.assert_allclose(loss(bright, bright), 0, atol=1e-6)
    assert (loss(p, bright) >= -1e-6).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_finite_and_point_to_the_value(loss):
    p, v = grid()
    slopes = jax.grad(lambda p: jnp.sum(loss(p, v)))(p)
    assert jnp.isfinite(slopes).all()
    apart = jnp.abs(p - v) > 2 * DARK
    assert (jnp.sign(slopes) == jnp.sign(p - v))[apart].all()


def test_huber_and_charbonnier_are_squared_near_zero_and_absolute_far_away():
    error = np.linspace(-1, 1, 41, dtype=np.float32)
    found = Huber(0.2)(jnp.asarray(error), jnp.zeros(41))
    # SciPy's has a half, as Huber himself.
    np.testing.assert_allclose(found, 2 * scipy.special.huber(0.2, error), atol=1e-6)
    far = Charbonnier(1e-3)(jnp.asarray(error), jnp.zeros(41))
    np.testing.assert_allclose(far, np.abs(error), atol=1.01e-3)
    near = Charbonnier(1.0)(jnp.float32(0.01), jnp.float32(0))
    np.testing.assert_allclose(near, 0.01**2 / 2, rtol=1e-2)


def test_the_poisson_loss_is_the_likelihood_of_the_counts():
    """Up to the peak, and to what the counts alone decide."""
    peak, counts = 30, np.arange(1, 31)
    rates, counts = np.meshgrid([0.1, 0.4, 0.9], counts)
    log_likelihood = scipy.stats.poisson.logpmf(counts, peak * rates)
    best = scipy.stats.poisson.logpmf(counts, counts)
    found = poisson(
        jnp.asarray(rates, jnp.float32), jnp.asarray(counts / peak, jnp.float32)
    )
    np.testing.assert_allclose(
        peak * found, best - log_likelihood, rtol=1e-4, atol=1e-5
    )


def test_the_poisson_loss_is_smooth_where_it_is_continued():
    v = jnp.float32(0.5)
    slope = jax.grad(poisson)
    below, above = jnp.float32(DARK * 0.999), jnp.float32(DARK * 1.001)
    np.testing.assert_allclose(poisson(below, v), poisson(above, v), rtol=1e-3)
    np.testing.assert_allclose(slope(below, v), slope(above, v), rtol=5e-3)
    # A black value under a field that has strayed below zero calls it back.
    assert slope(jnp.float32(-0.1), jnp.float32(0)) < 0


def test_losses_of_one_parameter_are_one_loss():
    assert Huber(0.2) == Huber(0.2) != Huber(0.3)
    assert hash(Charbonnier(0.1)) == hash(Charbonnier(0.1))


def test_the_sharpened_loss_of_blurred_tiles_is_the_squared_one_of_sharp_tiles():
    """Where a tile is mirrored at its edge, cosines are the blur's eigenvectors."""
    random = np.random.default_rng(0)
    kernel = gaussian_kernel(0.6)
    sharp, other = random.random((2, 8, 12, 3))
    blurred, value = (
        scipy.ndimage.convolve(image, kernel[..., None], mode="reflect")
        for image in (sharp, other)
    )
    arrays = jnp.asarray(blurred, jnp.float32), jnp.asarray(value, jnp.float32)
    found = Sharpened(as_kernel(kernel), 0.0)(*arrays)
    np.testing.assert_allclose(found.sum(), np.sum((sharp - other) ** 2), rtol=1e-3)


def test_without_a_blur_the_sharpened_loss_is_squares_over_one_and_the_balance():
    random = np.random.default_rng(1)
    p, v = jnp.asarray(random.random((2, 5, 4, 2)), jnp.float32)
    found = Sharpened(((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)), 0.25)(p, v)
    np.testing.assert_allclose(found.sum(), squared(p, v).sum() / 1.25, rtol=1e-5)
    assert (found >= 0).all()
