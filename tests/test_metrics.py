"""Metrics against golden values, scikit-image, and themselves in JAX and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from jax_inr import metrics
from jax_inr.errors import ConfigError

RNG = np.random.default_rng(3)
METRICS = [metrics.psnr, metrics.psnr_8bit, metrics.ssim]
SLOPES = {m: jax.jit(jax.value_and_grad(m)) for m in (metrics.psnr, metrics.ssim)}


def pair(height=23, width=31, channels=3, noise=0.1):
    """A smooth picture and a noisy one, partly outside [0, 1], float64."""
    rows, columns = np.mgrid[0:height, 0:width]
    target = 0.5 + 0.5 * np.sin(rows / 4)[..., None] * np.cos(columns / 5)[..., None]
    target = np.repeat(target, channels, -1) * np.linspace(0.5, 1, channels)
    return target + noise * RNG.standard_normal(target.shape), target


# Constant errors and what -20 log10(error) makes of them.
GOLDEN = [(1.0, 0.0), (0.3, 10.4576), (0.1, 20.0), (0.01, 40.0), (0.001, 60.0)]


@pytest.mark.parametrize(("error", "decibels"), GOLDEN)
def test_psnr_of_a_constant_error(error, decibels):
    target = np.zeros((4, 5, 3))
    assert metrics.psnr(target + error, target) == pytest.approx(decibels, abs=1e-4)


@given(st.floats(1e-12, 1.0))
def test_psnr_and_mse_are_inverse(mse):
    assert 10 ** (-metrics.psnr_from_mse(mse) / 10) == pytest.approx(mse, rel=1e-12)


def test_psnr_is_of_the_mean_squared_error_without_a_half():
    prediction, target = np.zeros((1, 2, 1)), np.array([[[0.6], [0.8]]])
    # (0.36 + 0.64) / 2 = 0.5, and -10 log10(0.5) = 3.0103.
    assert metrics.psnr(prediction, target) == pytest.approx(3.0103, abs=1e-4)


def test_predictions_are_clipped():
    target = np.array([[[0.0], [1.0]]])
    assert metrics.psnr(np.array([[[-5.0], [7.0]]]), target) == np.inf
    assert metrics.psnr(np.array([[[-5.0], [0.9]]]), target) == pytest.approx(
        -10 * np.log10(0.01 / 2)
    )


def test_psnr_8bit_is_of_the_rounded_picture():
    levels = RNG.integers(0, 256, (9, 8, 3))
    target = levels / 255
    # What rounds to the target's own levels has no error at all.
    assert metrics.psnr_8bit(target + 0.49 / 255, target) == np.inf
    assert metrics.psnr_8bit(target - 0.49 / 255, target) == np.inf
    off = np.where(levels < 255, levels + 0.6, levels) / 255
    expected = -10 * np.log10(np.mean(((levels < 255) / 255) ** 2))
    assert metrics.psnr_8bit(off, target) == pytest.approx(expected)


def test_psnr_8bit_is_the_psnr_of_the_saved_picture():
    from jax_inr.io.images import to_uint8

    prediction, target = pair()
    prediction = prediction.astype(np.float32)
    saved = to_uint8(prediction).astype(np.float64) / 255
    ours = metrics.psnr_8bit(prediction, target)
    assert ours == pytest.approx(metrics.psnr(saved, target), abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("xp", [np, jnp])
def test_nan_anywhere_is_nan_and_never_a_perfect_match(metric, xp):
    prediction = pair()[0]
    prediction[5, 7, 1] = np.nan
    target = xp.asarray(pair()[1], xp.float32)
    assert np.isnan(metric(xp.asarray(prediction, xp.float32), target))


def test_psnr_of_the_largest_and_the_broken_errors():
    assert metrics.psnr_from_mse(np.inf) == -np.inf
    assert np.isnan(metrics.psnr_from_mse(np.nan))
    several = metrics.psnr_from_mse(jnp.array([np.nan, 0.0, 0.01]))
    np.testing.assert_allclose(several, [np.nan, np.inf, 20], rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(4, 4, 1), (4, 1, 3), (1, 4, 3), (4, 4), (16, 3)])
def test_shapes_that_differ_are_refused_by_name(metric, shape):
    for function in (metric, jax.jit(metric)):
        with pytest.raises(ConfigError) as caught:
            function(jnp.zeros((4, 4, 3)), jnp.zeros(shape))
        assert "(4, 4, 3)" in str(caught.value) and str(shape) in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5])
def test_ssim_is_that_of_scikit_image(channels, noise):
    prediction, target = pair(channels=channels, noise=noise)
    expected = structural_similarity(
        np.clip(prediction, 0, 1),
        target,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=2,
    )
    assert metrics.ssim(prediction, target) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_the_smallest_picture_that_has_one():
    assert np.isnan(metrics.ssim(np.zeros((10, 40, 3)), np.zeros((10, 40, 3))))
    assert np.isnan(metrics.ssim(jnp.zeros((40, 10, 3)), jnp.zeros((40, 10, 3))))
    assert metrics.ssim(np.zeros((11, 11, 1)), np.zeros((11, 11, 1))) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_numpy_jax_and_jit_agree(metric):
    prediction, target = (a.astype(np.float32) for a in pair())
    expected = metric(prediction.astype(np.float64), target.astype(np.float64))
    # Mean and logarithm of float32: 1e-6 of a PSNR near 20, some ulps of an SSIM.
    for function in (metric, jax.jit(metric)):
        jaxed = function(jnp.asarray(prediction), jnp.asarray(target))
        assert isinstance(jaxed, jax.Array) and jaxed.dtype == jnp.float32
        np.testing.assert_allclose(jaxed, expected, rtol=2e-6)
    np.testing.assert_allclose(metric(prediction, target), expected, rtol=2e-6)


@pytest.mark.parametrize("metric", SLOPES)
def test_gradients_are_those_of_finite_differences(metric):
    prediction, target = pair(13, 12, 1, noise=0.05)
    prediction = np.clip(prediction, 0.01, 0.99)  # away from the kinks of the clip
    _, grad = SLOPES[metric](jnp.float32(prediction), jnp.float32(target))
    direction, step = RNG.standard_normal(prediction.shape), 1e-6
    ahead = metric(prediction + step * direction, target)
    behind = metric(prediction - step * direction, target)
    slope = (ahead - behind) / (2 * step)
    assert float(np.sum(np.asarray(grad) * direction)) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("metric", SLOPES)
def test_identical_pictures_have_no_nan(metric):
    picture = jnp.float32(pair(13, 12, 1)[1])
    value, grad = SLOPES[metric](picture, picture)
    expected = np.inf if metric is metrics.psnr else 1
    assert value == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(grad, np.zeros(picture.shape), atol=1e-6)
    assert metric(*pair(noise=0)) == pytest.approx(expected, abs=1e-12)


def test_psnr_from_mse_takes_numbers_and_arrays():
    assert metrics.psnr_from_mse(0.01) == pytest.approx(20)
    assert metrics.psnr_from_mse(0.0) == np.inf
    several = metrics.psnr_from_mse(jnp.array([1.0, 0.1, 0.0]))
    np.testing.assert_allclose(several, [0, 10, np.inf], atol=1e-6)


def test_bits_per_pixel():
    # The notebook's network on its picture: 66,691 float32 numbers for 224^2 pixels.
    assert metrics.bits_per_pixel(66_691, 224, 224) == pytest.approx(42.53, abs=5e-3)
    assert metrics.bits_per_pixel(100, 10, 5, bits_per_param=8) == 16
