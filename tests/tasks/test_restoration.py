"""Inpainting, super-resolution, deblurring, denoising: operators and their adjoints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from fields import lookup, of_image, predictions, through_points

from jax_inr.errors import ConfigError, ImageError
from jax_inr.tasks import deblur, denoise, inpaint, poisson, reconstruct, superresolve
from jax_inr.tasks.measure import (
    KERNELS,
    blur,
    down_weights,
    downsample,
    gaussian_kernel,
)


def random_image(height, width, channels=1, seed=0):
    random = np.random.default_rng(seed)
    return random.random((height, width, channels)).astype(np.float32)


LOPSIDED = np.random.default_rng(1).random((3, 5))  # no symmetry hides a flip
BLUR = functools.partial(blur, kernel=LOPSIDED / LOPSIDED.sum())
CASES = {
    "reconstruct": lambda i: (reconstruct(i), i),
    "inpaint": lambda i: (inpaint(i, i[..., 0] > 0.4), i[i[..., 0] > 0.4]),
    "box": lambda i: (superresolve(downsample(i, 2), 2), downsample(i, 2)),
    "gaussian": lambda i: (
        superresolve(downsample(i, 2, "gaussian"), 2, "gaussian"),
        downsample(i, 2, "gaussian"),
    ),
    "bicubic": lambda i: (
        superresolve(downsample(i, 2, "bicubic"), 2, "bicubic"),
        downsample(i, 2, "bicubic"),
    ),
    "deblur": lambda i: (deblur(BLUR(i), LOPSIDED), BLUR(i)),
}


def whole(task, values, shape):
    """A task's measurements (n, ...) put together as the image they were cut from."""
    if values.ndim < 4:
        return values.reshape(shape)
    rows, columns, channels = values.shape[1:]
    height, width = shape[0] // rows, shape[1] // columns
    grid = values.reshape(height, width, rows, columns, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(shape)


@pytest.mark.parametrize("name", CASES)
def test_a_task_predicts_what_was_measured_of_the_image(name):
    image = random_image(24, 34, 3)
    task, measured = CASES[name](image)
    found = np.asarray(predictions(task, lookup(jnp.asarray(image))))
    np.testing.assert_allclose(found, task.values, rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        whole(task, found, measured.shape), measured, rtol=0, atol=2e-6
    )
    assert task.shape == image.shape


@pytest.mark.parametrize("name", CASES)
def test_the_adjoint_is_that_of_a_dense_matrix(name):
    height, width = 6, 8
    task, _ = CASES[name](random_image(height, width))
    measure = of_image(task)

    def reference(pixels):
        image = pixels.reshape(height, width)
        padded = np.pad(image, 12, mode="edge")
        match name:
            case "reconstruct":
                return image
            case "inpaint":
                return image[random_image(height, width)[..., 0] > 0.4]
            case "deblur":
                full = scipy.signal.convolve2d(padded, LOPSIDED / LOPSIDED.sum())
                return full[13 : 13 + height, 14 : 14 + width]
        # A low pixel is centred half a pixel after the even one before it.
        away = np.arange(-12, 12) + 0.5
        axis = {
            "box": np.abs(away) < 1,
            "gaussian": np.exp(-(away**2) / (2 * 0.5**2)) * (np.abs(away) <= 2),
            "bicubic": [keys(a / 2) for a in away],
        }[name]
        axis = np.asarray(axis, float) / np.sum(axis)
        full = scipy.signal.correlate2d(padded, np.outer(axis, axis), mode="valid")
        return full[1 : 1 + height : 2, 1 : 1 + width : 2]

    identity = np.eye(height * width)
    matrix = np.stack([reference(unit).ravel() for unit in identity], axis=1)
    # A task cut in tiles has its measurements in another order.
    order = np.arange(len(matrix))
    if task.values.ndim == 4:
        low = reference(identity[0]).shape
        rows, columns = task.values.shape[1:3]
        grid = order.reshape(low[0] // rows, rows, low[1] // columns, columns)
        order = grid.swapaxes(1, 2).ravel()
    matrix = matrix[order]
    pixels = jnp.asarray(random_image(height, width, seed=3).ravel())
    values, adjoint = jax.vjp(measure, pixels)
    np.testing.assert_allclose(values, matrix @ np.asarray(pixels), rtol=0, atol=2e-6)
    cotangent = np.random.default_rng(4).standard_normal(values.shape)
    (found,) = adjoint(jnp.asarray(cotangent, jnp.float32))
    np.testing.assert_allclose(found, matrix.T @ cotangent, rtol=0, atol=5e-6)


def keys(t):
    """Keys' cubic, 1981, with a = -1/2, written as he does."""
    t = abs(t)
    if t < 1:
        return 3 / 2 * t**3 - 5 / 2 * t**2 + 1
    return -1 / 2 * t**3 + 5 / 2 * t**2 - 4 * t + 2 if t < 2 else 0


@pytest.mark.parametrize("name", CASES)
def test_predict_is_combine_after_points(name, image):
    task, _ = CASES[name](image[:12, :16])
    field = lookup(jnp.asarray(image[:12, :16]))
    found = through_points(task, field)
    np.testing.assert_allclose(found, predictions(task, field), rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_superresolution_by_1_and_inpainting_of_all_are_reconstruction(image, kernel):
    expected = reconstruct(image)
    everywhere = np.ones(image.shape[:2], int)

    def smooth(x):
        return jnp.stack([jnp.sin(7 * x[0]), jnp.cos(5 * x[1]), x[0] * x[1]])

    for task in (superresolve(image, 1, kernel), inpaint(image, everywhere)):
        np.testing.assert_array_equal(task.items, expected.items)
        np.testing.assert_array_equal(task.values, expected.values)
        np.testing.assert_array_equal(
            predictions(task, smooth), predictions(expected, smooth)
        )
        # One program serves them all.
        assert (task.predict, task.shape) == (expected.predict, expected.shape)
        assert hash(task.predict) == hash(expected.predict)


def test_reconstruction_is_the_mean_squared_error_bit_for_bit(image):
    task = reconstruct(image)

    def smooth(x):
        return jnp.stack([jnp.sin(7 * x[0]), jnp.cos(5 * x[1]), x[0] * x[1]])

    prediction = jax.vmap(smooth)(jnp.asarray(task.items))
    target = jnp.asarray(image.reshape(-1, 3))
    expected = jnp.mean((prediction - target) ** 2)
    assert jnp.mean(task.loss(predictions(task, smooth), target)) == expected


@pytest.mark.parametrize(
    ("factor", "rows", "columns"), [(1, 4, 5), (3, 1, 5), (4, 7, 3)]
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_constant_stays_the_constant(kernel, factor, rows, columns):
    constant = np.full((rows * factor, columns * factor, 2), 0.3, np.float32)
    low = downsample(constant, factor, kernel)
    np.testing.assert_allclose(low, 0.3, rtol=1e-6)
    task = superresolve(low, factor, kernel)
    found = predictions(task, lambda x: jnp.full(2, 0.3))
    np.testing.assert_allclose(found, 0.3, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_low_pixel_lies_at_the_centre_of_its_pixels(kernel, factor):
    weights, first = down_weights(factor, kernel)
    at = first + np.arange(len(weights))
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(weights @ at, (factor - 1) / 2, atol=1e-12)


def test_bicubic_downsampling_is_pillows():
    from PIL import Image

    image = random_image(64, 48)
    low = Image.fromarray(image[..., 0]).resize((12, 16), Image.Resampling.BICUBIC)
    found = downsample(image, 4, "bicubic")[..., 0]
    # Pillow has another edge.
    np.testing.assert_allclose(
        found[2:-2, 2:-2], np.asarray(low)[2:-2, 2:-2], atol=1e-6
    )


def test_unknown_pixels_are_not_read():
    image = random_image(5, 4)
    mask = np.ones((5, 4), bool)
    mask[2, 1] = False
    image[2, 1] = np.nan
    task = inpaint(image, mask)
    assert len(task.values) == 19 and np.isfinite(task.values).all()


def test_denoising_of_photon_counts_takes_their_likelihood(image):
    assert denoise(image, "poisson").loss is poisson
    plain, expected = denoise(image), reconstruct(image)
    assert plain.loss is expected.loss and plain.predict == expected.predict


def test_a_tile_of_blurred_pixels_looks_at_each_point_once():
    task = deblur(random_image(64, 48), gaussian_kernel(1.6))
    assert task.points is not None
    points = task.points(jnp.asarray(task.items[0]))
    assert task.values.shape == (12, 16, 16, 1)
    assert points.shape == ((16 + 12) ** 2, 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda i: inpaint(i, np.ones((5, 7))), r"\(5, 7\), and the image \(8, 9\)"),
        (lambda i: inpaint(i, np.ones(72)), r"\(72,\), and the image \(8, 9\)"),
        (lambda i: inpaint(i, np.zeros((8, 9))), "measures 0 of the 72 pixels"),
        (
            lambda i: inpaint(i, np.full((8, 9), 255)),
            "72 of the mask's 72",
        ),
        (lambda i: superresolve(i, 0), "factor is 0"),
        (lambda i: superresolve(i, 1.5), "factor is 1.5"),
        (lambda i: superresolve(i, 2, "lanczos"), "'lanczos'"),
        (lambda i: downsample(i, 3), "factor 3 does not divide .* 8x9"),
        (lambda i: deblur(i, np.ones((4, 3))), "kernel is 4x3; .* odd"),
        (lambda i: deblur(i, np.ones((3, 2))), "kernel is 3x2; .* odd"),
        (lambda i: deblur(i, np.ones(3)), "kernel is 3; "),
        (lambda i: deblur(i, -np.ones((3, 3))), "9 weights .* sum to -9"),
        (lambda i: deblur(i, np.zeros((3, 3))), "9 weights .* sum to 0"),
        (lambda i: deblur(i, np.ones((9, 9))), "9x9, but the image 8x9"),
        (
            lambda i: deblur(i, np.full((3, 3), np.nan)),
            "9 of the 9 values",
        ),
        (lambda i: reconstruct(i * np.inf), "72 of the 72 values"),
        (lambda i: reconstruct(i[..., 0]), r"\(8, 9\) is not"),
        (lambda i: denoise(i - 2, "poisson"), "72 of the 72 values"),
        (lambda i: denoise(i, "salt"), "unknown noise 'salt'"),
        (lambda i: gaussian_kernel(-1.0), "sigma is -1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_with_both_numbers(make, words):
    image = random_image(8, 9) + 0.1
    with pytest.raises((ConfigError, ImageError), match=words) as caught:
        make(image)
    assert "\n" not in str(caught.value)
