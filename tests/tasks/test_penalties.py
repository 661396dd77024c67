"""Penalties: integrals over the unit square that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.coordinates import pixel_grid
from jax_inr.tasks import SquaredGradient, TotalVariation


def mean_over_square(penalty, field, side=200):
    points = jnp.asarray(pixel_grid(side, side).reshape(-1, 2))
    return jnp.mean(jax.vmap(lambda x: penalty(field, x))(points))


def test_the_total_variation_of_a_ramp_is_its_slope_times_channels():
    def ramp(x):
        return jnp.stack([3 * x[0] + 4 * x[1], -6 * x[0] - 8 * x[1]])

    penalty = TotalVariation(epsilon=1e-6)
    np.testing.assert_allclose(penalty(ramp, jnp.array([0.3, 0.8])), 15, rtol=1e-5)
    square = SquaredGradient()
    np.testing.assert_allclose(square(ramp, jnp.array([0.3, 0.8])), 125, rtol=1e-5)


def test_the_total_variation_of_a_disk_is_its_circumference():
    """The co-area formula: the variation of a step is its height times its length."""
    radius, width = 0.3, 0.02

    def disk(x):
        away = jnp.sqrt(jnp.sum((x - 0.5) ** 2) + 1e-12)
        return jax.nn.sigmoid((radius - away) / width)[None]

    found = mean_over_square(TotalVariation(epsilon=1e-4), disk)
    np.testing.assert_allclose(found, 2 * np.pi * radius, rtol=0.01)


def test_the_squared_gradient_of_a_wave_has_its_mean():
    def wave(x):
        return jnp.sin(2 * jnp.pi * (2 * x[0] + 3 * x[1]))[None]

    expected = (2 * np.pi) ** 2 * (4 + 9) / 2
    found = mean_over_square(SquaredGradient(), wave)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_unit_of_length_is_a_pixel_where_sides_are_given():
    def ramp(x):
        return (10 * x[0] + 20 * x[1])[None]

    found = SquaredGradient(10, 20)(ramp, jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(found, 1 + 1, rtol=1e-6)


@pytest.mark.parametrize("penalty", [TotalVariation(), SquaredGradient()])
def test_a_flat_field_costs_nothing_and_has_a_finite_slope(penalty):
    def cost(colour):
        return penalty(lambda x: colour * jnp.ones(3) + 0 * x[0], jnp.zeros(2))

    value, slope = jax.value_and_grad(cost)(0.5)
    np.testing.assert_allclose(value, 0, atol=1e-9)
    assert jnp.isfinite(slope)

    def tilt(size):
        return penalty(lambda x: size * x[:1], jnp.zeros(2))

    assert jnp.isfinite(jax.grad(tilt)(0.0))
