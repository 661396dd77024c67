"""Images from derivatives: gradients, Laplacians, seamless cloning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import lookup, of_image, predictions, through_points

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError, ImageError
from jax_inr.tasks import from_gradients, from_laplacian, measure, poisson_edit

HEIGHT, WIDTH = 6, 9


def random_image(seed=0, channels=2):
    random = np.random.default_rng(seed)
    return random.random((HEIGHT, WIDTH, channels)).astype(np.float32)


def wave(x):
    """A field whose derivatives `slopes` and `curvature` have in closed form."""
    return jnp.stack([jnp.sin(3 * x[0] + 5 * x[1]), x[0] ** 2 * x[1]])


def test_the_gradient_of_a_known_function_is_per_pixel():
    grid = pixel_grid(HEIGHT, WIDTH).astype(float)
    r, c = grid[..., 0], grid[..., 1]
    rows = np.stack([3 * np.cos(3 * r + 5 * c), 2 * r * c], -1) / HEIGHT
    columns = np.stack([5 * np.cos(3 * r + 5 * c), r**2], -1) / WIDTH
    task = from_gradients(rows, columns)
    found = predictions(task, wave)
    assert found.shape == (HEIGHT * WIDTH, 2, 2)
    np.testing.assert_allclose(found, task.values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        task.values[:, :, 0], rows.reshape(-1, 2), rtol=0, atol=1e-6
    )


def test_the_laplacian_of_a_known_function_is_per_pixel_squared():
    grid = pixel_grid(HEIGHT, WIDTH).astype(float)
    r, c = grid[..., 0], grid[..., 1]
    scale = -(9 / HEIGHT**2 + 25 / WIDTH**2)
    laplacian = np.stack([scale * np.sin(3 * r + 5 * c), 2 * c / HEIGHT**2], -1)
    task = from_laplacian(laplacian)
    np.testing.assert_allclose(predictions(task, wave), task.values, rtol=0, atol=1e-6)


def test_derivatives_come_near_differences_where_pixels_are_small():
    grid = pixel_grid(200, 100)
    image = np.asarray(jax.vmap(jax.vmap(wave))(jnp.asarray(grid)), np.float64)
    task = from_gradients(*measure.gradients(image))
    errors = (predictions(task, wave) - task.values).reshape(200, 100, 2, 2)
    # A forward difference is the slope half a pixel on: off by its change over that.
    assert np.abs(errors[:-1, :-1]).max() < 0.6 * (5 / 100) ** 2
    slope = np.abs(task.values).max()
    assert np.abs(errors[:-1, :-1]).max() < 0.1 * slope


DENSE = {
    "gradients": lambda i: from_gradients(*measure.gradients(i), "difference"),
    "laplacian": lambda i: from_laplacian(measure.laplacian(i), "difference"),
}


@pytest.mark.parametrize("name", DENSE)
def test_differences_and_their_adjoint_are_those_of_a_dense_matrix(name):
    task = DENSE[name](random_image(channels=1))

    def reference(pixels):
        image = pixels.reshape(HEIGHT, WIDTH)
        padded = np.pad(image, 1, mode="edge")
        below, above = padded[2:, 1:-1], padded[:-2, 1:-1]
        right, left = padded[1:-1, 2:], padded[1:-1, :-2]
        if name == "gradients":
            return np.stack([below - image, right - image], axis=-1).ravel()
        return (below + above + right + left - 4 * image).ravel()

    matrix = np.stack([reference(unit) for unit in np.eye(HEIGHT * WIDTH)], axis=1)
    pixels = jnp.asarray(random_image(5, 1).ravel())
    values, adjoint = jax.vjp(of_image(task), pixels)
    np.testing.assert_allclose(values, matrix @ np.asarray(pixels), rtol=0, atol=2e-6)
    cotangent = np.random.default_rng(4).standard_normal(values.shape)
    (found,) = adjoint(jnp.asarray(cotangent, jnp.float32))
    np.testing.assert_allclose(found, matrix.T @ cotangent, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [from_gradients, from_laplacian])
def test_the_adjoint_of_derivatives_is_that_of_a_dense_matrix(make):
    """Of a field that is linear in its parameters: a sum of waves."""
    waves = np.random.default_rng(2).uniform(-4, 4, (7, 2))
    zeros = np.zeros((HEIGHT, WIDTH, 1))
    task = make(zeros, zeros) if make is from_gradients else make(zeros)

    def values_of(amplitudes):
        def field(x):
            phases = jnp.asarray(waves, jnp.float32) @ x
            return jnp.sum(amplitudes * jnp.sin(phases))[None]

        return predictions(task, field).ravel()

    phases = pixel_grid(HEIGHT, WIDTH).reshape(-1, 2).astype(float) @ waves.T
    scaled = waves / [HEIGHT, WIDTH]
    if make is from_gradients:
        matrix = np.cos(phases)[:, None, :] * scaled.T[None]
    else:
        matrix = -np.sin(phases) * (scaled**2).sum(1)
    matrix = matrix.reshape(-1, 7)
    amplitudes = np.random.default_rng(3).standard_normal(7)
    values, adjoint = jax.vjp(values_of, jnp.asarray(amplitudes, jnp.float32))
    np.testing.assert_allclose(values, matrix @ amplitudes, rtol=0, atol=1e-5)
    cotangent = np.random.default_rng(4).standard_normal(values.shape)
    (found,) = adjoint(jnp.asarray(cotangent, jnp.float32))
    np.testing.assert_allclose(found, matrix.T @ cotangent, rtol=1e-4, atol=1e-4)


def test_predict_of_differences_is_combine_after_points():
    image = random_image()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:4, 3:6] = True
    field = lookup(jnp.asarray(image))
    for task in (
        from_gradients(*measure.gradients(image), "difference"),
        from_laplacian(measure.laplacian(image), "difference"),
        poisson_edit(image, image, mask),
    ):
        found = through_points(task, field)
        np.testing.assert_allclose(found, predictions(task, field), atol=1e-7)
        np.testing.assert_allclose(found, task.values, rtol=0, atol=1e-6)


def test_cloning_asks_for_the_sources_differences_in_the_mask_and_at_its_edge():
    target, source = random_image(1), random_image(2)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:4, 3:6] = True
    mask[-1, -1] = True  # a corner: no pixel below, none to its right
    task = poisson_edit(target, source, mask)
    values = task.values.reshape(HEIGHT, WIDTH, 3, 2)
    parts = task.items[1].reshape(HEIGHT, WIDTH, 3)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            here, at = mask[row, column], (row, column)
            np.testing.assert_array_equal(values[at][0], 0 if here else target[at])
            for part, (down, right) in ((1, (1, 0)), (2, (0, 1))):
                other = (row + down, column + right)
                exists = other[0] < HEIGHT and other[1] < WIDTH
                asked = exists and (here or mask[other])
                assert parts[at][part] == asked
                expected = source[other] - source[at] if asked else 0
                np.testing.assert_allclose(values[at][part], expected, atol=1e-7)
    # The target itself meets every measurement when it is its own source.
    same = poisson_edit(target, target, mask)
    found = predictions(same, lookup(jnp.asarray(target)))
    np.testing.assert_allclose(found, same.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda i, m: from_gradients(i, i[1:]),
            r"\(6, 9, 2\).*\(5, 9, 2\)",
        ),
        (lambda i, m: from_gradients(i, i, "sobel"), "'sobel'"),
        (lambda i, m: from_laplacian(i * np.nan), "108 of the 108 values"),
        (lambda i, m: poisson_edit(i, i[:, 1:], m), r"\(6, 8, 2\).*\(6, 9"),
        (lambda i, m: poisson_edit(i, i, m[1:]), r"\(5, 9\), and the image \(6, 9\)"),
        (lambda i, m: poisson_edit(i, i, m), "covers 0 of 54 pixels"),
        (lambda i, m: poisson_edit(i, i, ~m), "covers 54 of 54 pixels"),
    ],
)
def test_what_cannot_be_is_said_with_both_numbers(make, words):
    with pytest.raises((ConfigError, ImageError), match=words):
        make(random_image(), np.zeros((HEIGHT, WIDTH), bool))
