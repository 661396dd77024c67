"""What is estimated of measurements; the operators are held to in the tasks' tests."""

import math

import numpy as np
import pytest
from PIL import Image

from jax_inr.errors import ConfigError
from jax_inr.tasks.measure import (
    downsample,
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


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_downsampling_is_pillows_within_the_image(factor):
    """At the edge they differ: the nearest pixel goes on here, weights end there."""
    image = np.random.default_rng(0).random((48, 60, 1)).astype(np.float32)
    small = Image.fromarray(image[..., 0]).resize(
        (60 // factor, 48 // factor), Image.Resampling.BICUBIC
    )
    found = downsample(image, factor, "bicubic")[..., 0]
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(found[inside], np.asarray(small)[inside], atol=1e-5)


@pytest.mark.parametrize("factor", [0, 1.5, -2, math.nan, 5])
def test_a_factor_is_a_whole_number_that_divides_the_sides(factor):
    with pytest.raises(ConfigError, match="factor"):
        downsample(np.zeros((4, 6, 3)), factor)
    assert downsample(np.ones((4, 6, 3)), 2.0).shape == (2, 3, 3)
