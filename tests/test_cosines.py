"""Local cosines: orthonormal, so that the largest coefficients are the best choice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn

from jax_inr.cosines import COLOURS, FIXED, cosines, of_image
from jax_inr.errors import ConfigError
from jax_inr.fitting import fit


def drawn(encoding, height, width):
    """The encoding's colours at every pixel."""
    rows, columns = np.mgrid[:height, :width]
    coords = jnp.stack([rows / height, columns / width], -1).astype(jnp.float32)
    variables = encoding.init(jax.random.key(0))
    apply = jax.jit(jax.vmap(jax.vmap(lambda x: encoding.apply(variables, x))))
    return np.asarray(apply(coords))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_coefficients_give_the_image_back(channels):
    """Sides that the blocks do not divide, too."""
    image = np.random.default_rng(0).random((13, 18, channels), np.float32)
    encoding = of_image(image, 10**6)
    assert encoding.shape == (2, 3, channels, 8, 8)
    np.testing.assert_allclose(drawn(encoding, 13, 18), image, atol=2e-6)


def test_the_error_is_that_of_what_is_left_out():
    image = np.random.default_rng(1).random((16, 24, 3), np.float32)
    encoding = of_image(image, 200 + FIXED)
    assert len(encoding.values) == 200
    # By scipy, in the axes that the encoding found.
    turned = (image - encoding.mean) @ encoding.axes.T
    blocks = turned.reshape(2, 8, 3, 8, 3)
    levels = np.asarray(dctn(blocks, axes=(1, 3), norm="ortho"))
    found = np.sort(levels.ravel() ** 2)
    error = ((drawn(encoding, 16, 24) - image) ** 2).sum()
    np.testing.assert_allclose(error, found[:-200].sum(), rtol=1e-4)


def test_the_cosines_are_orthonormal_on_pixels():
    table = cosines(jnp.arange(8.0), 8)
    np.testing.assert_allclose(table.T @ table, np.eye(8), atol=1e-6)


def test_beyond_the_image_its_blocks_at_the_edge_go_on_as_mirrors():
    image = np.random.default_rng(2).random((16, 24, 3), np.float32)
    encoding = of_image(image, 10**6)
    variables = encoding.init(jax.random.key(0))
    apply = jax.jit(jax.vmap(lambda x: encoding.apply(variables, x)))
    sides = np.array([16, 24])
    away = np.array([[1.0, 2.5], [2.5, 6.0]])
    for edge in (np.array([-0.5, -0.5]), sides - 0.5):
        before, behind = (
            apply(jnp.asarray((edge + sign * away) / sides, jnp.float32))
            for sign in (-1, 1)
        )
        np.testing.assert_allclose(before, behind, atol=1e-5)


@pytest.mark.slow
def test_a_fit_of_no_steps_has_them_and_more_steps_keep_them(image):
    encoding = of_image(image, 120)
    found = fit(image, {"steps": 0}, encoding=encoding, network=COLOURS)
    assert found.summary["num_params"] == 120 - FIXED
    expected = drawn(encoding, *image.shape[:2])
    np.testing.assert_allclose(found.prediction, expected, atol=1e-6)
    # What is best of all is where the gradient is zero, but for the padded pixels.
    config = {"steps": 5, "learning_rate": 0.01, "schedule": "constant"}
    config |= {"warmup_steps": 0, "batch_size": None}
    trained = fit(image, config, encoding=encoding, network=COLOURS)
    assert trained.psnr_db >= found.psnr_db - 1e-3


@pytest.mark.parametrize(("count", "side"), [(FIXED, 8), (1000, 0)])
def test_what_leaves_nothing_is_refused(image, count, side):
    with pytest.raises(ConfigError, match=f"num_params is {count} and side {side}"):
        of_image(image, count, side)
