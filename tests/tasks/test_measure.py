"""What is estimated of measurements; the operators are held to in the tasks' tests."""

import numpy as np
import pytest

from jax_inr.tasks.measure import (
    estimated_sigma,
    with_gaussian_noise,
    with_poisson_noise,
)


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_the_noise_of_a_smooth_image_with_an_edge_is_found(sigma):
    rows, columns = np.mgrid[:129, :201] / 200
    image = np.where(rows + columns > 0.7, 0.8, 0.5 + 0.3 * np.sin(4 * rows))
    image = np.stack([image, 0.5 * image, image**2], axis=-1)
    noisy = with_gaussian_noise(image, sigma, np.random.default_rng(0))
    np.testing.assert_allclose(estimated_sigma(noisy), sigma, rtol=0.02)


def test_a_ramp_has_no_noise():
    rows, columns = np.mgrid[:16, :16] / 16
    assert estimated_sigma((2 * rows + columns)[..., None]) < 1e-12


def test_noise_is_about_what_was_measured():
    values = np.linspace(0.2, 1, 40_000).reshape(200, 200, 1)
    for noisy, deviation in (
        (with_gaussian_noise(values, 0.1, np.random.default_rng(0)), 0.1),
        # Of n photons the deviation is the root of n.
        (
            with_poisson_noise(values, 50, np.random.default_rng(0)),
            np.sqrt(values / 50),
        ),
    ):
        normal = (noisy - values) / deviation
        assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    photons = 50 * with_poisson_noise(values, 50, np.random.default_rng(1))
    np.testing.assert_allclose(photons, np.round(photons), atol=1e-9)
    assert with_poisson_noise(-values, 50, np.random.default_rng(0)).max() == 0
