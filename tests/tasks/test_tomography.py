"""Tomography: rays as scikit-image projects them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import bilinear, of_image, predictions, through_points
from skimage.transform import radon

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, ImageError
from jax_inr.tasks import measure, tomography

ANGLES = np.array([0.0, 17.0, 45.0, 90.0, 131.0, 179.0])


def blobs(x):
    """A smooth field that is nothing at its circle's edge; no symmetry hides a flip."""
    first = jnp.exp(-jnp.sum((x - jnp.array([0.35, 0.55])) ** 2) / (2 * 0.06**2))
    second = jnp.exp(-jnp.sum((x - jnp.array([0.6, 0.4])) ** 2) / (2 * 0.05**2))
    circle = jnp.sum((x - 0.5) ** 2) < 0.45**2
    return jnp.where(circle, jnp.stack([first, first - 0.5 * second]), 0)


@pytest.mark.parametrize("side", [64, 65])
def test_the_rays_of_a_smooth_image_are_scikit_images(side):
    grid = jnp.asarray(pixel_grid(side, side))
    image = np.asarray(jax.vmap(jax.vmap(blobs))(grid), np.float64)
    expected = np.stack([radon(image[..., k], ANGLES) for k in (0, 1)], axis=-1)
    task = tomography(expected, ANGLES)
    found = np.asarray(predictions(task, blobs)).reshape(side, len(ANGLES), 2)
    # What is left is the error of scikit-image's bilinear interpolation.
    np.testing.assert_allclose(found * side, expected, rtol=0, atol=0.01 * side / 5)
    np.testing.assert_allclose(
        task.values * side, expected.reshape(-1, 2), rtol=0, atol=1e-5
    )
    # At right angles nothing is interpolated.
    np.testing.assert_allclose(found[:, 0] * side, expected[:, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[:, 3] * side, expected[:, 3], rtol=0, atol=1e-4)


def test_the_adjoint_is_that_of_scikit_images_matrix():
    side = 11
    task = tomography(np.zeros((side, len(ANGLES))), ANGLES)
    centre = side // 2
    rows, columns = np.mgrid[:side, :side] - centre
    # Interpolation spreads a pixel by one: those at the edge would leave the circle.
    inside = (rows**2 + columns**2 <= (centre - 1.5) ** 2).ravel()
    units = np.eye(side**2)[inside].reshape(-1, side, side)
    matrix = np.stack([radon(unit, ANGLES).ravel() for unit in units], axis=1) / side
    random = np.random.default_rng(0)
    pixels = np.zeros(side**2)
    pixels[inside] = random.random(inside.sum())
    measure_image = of_image(task, bilinear)
    values, adjoint = jax.vjp(measure_image, jnp.asarray(pixels, jnp.float32))
    np.testing.assert_allclose(values, matrix @ pixels[inside], rtol=0, atol=2e-6)
    cotangent = random.standard_normal(values.shape)
    (found,) = adjoint(jnp.asarray(cotangent, jnp.float32))
    expected = matrix.T @ cotangent
    np.testing.assert_allclose(found[inside], expected, rtol=0, atol=5e-6)


def test_what_lies_outside_the_circle_is_not_seen():
    side = 16
    image = np.random.default_rng(0).random((side, side, 1)).astype(np.float32)
    outside = ~measure.circle(side)
    changed = image.copy()
    changed[outside] = 7
    sinogram = measure.radon(image, ANGLES)
    np.testing.assert_array_equal(measure.radon(changed, ANGLES), sinogram)
    task = tomography(sinogram, ANGLES)

    def beyond(x):
        away = jnp.sum((x - (side // 2) / side) ** 2)
        return jnp.where(away > 0.502**2, 7.0, 0.0)[None]

    np.testing.assert_array_equal(predictions(task, beyond), 0)


def test_a_disk_has_its_chords():
    side, radius = 200, 0.3
    task = tomography(np.zeros((side, 2)), np.array([30.0, 75.0]))

    def disk(x):
        away = jnp.sum((x - 0.5) ** 2)
        return jnp.where(away < radius**2, 1.0, 0.0)[None]

    found = np.asarray(predictions(task, disk)).reshape(side, 2)
    offset = np.arange(side) / side - 0.5
    chord = 2 * np.sqrt(np.maximum(radius**2 - offset**2, 0))
    for view in (0, 1):
        np.testing.assert_allclose(found[:, view], chord, rtol=0, atol=2.5 / side)


def test_predict_is_combine_after_points():
    task = tomography(np.zeros((16, len(ANGLES), 2)), ANGLES)
    found = through_points(task, blobs)
    np.testing.assert_allclose(found, predictions(task, blobs), rtol=1e-6)


def test_angles_that_do_not_match_are_refused_with_both_numbers():
    with pytest.raises(ConfigError, match="3 angles for a sinogram of 4 views"):
        tomography(np.zeros((8, 4)), np.arange(3))
    with pytest.raises(ImageError, match="1 of the 4 values of the angles"):
        tomography(np.zeros((8, 4)), np.array([0, 1, np.nan, 3]))
    with pytest.raises(ImageError, match=r"shape \(8,\) is not"):
        tomography(np.zeros(8), np.arange(8))
    with pytest.raises(ConfigError, match="image is 8x9"):
        measure.radon(np.zeros((8, 9, 1)), ANGLES)
