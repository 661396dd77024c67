"""Upsampling of the trained quarter: every pixel at its own place."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.analysis.upsampling import MIDWAY, axis_weights, upsample

KINDS = pytest.mark.parametrize("kind", MIDWAY)
SIDES = st.integers(2, 33)


@KINDS
@given(height=SIDES, width=SIDES)
def test_trained_pixels_stay_as_they_are(kind, height, width):
    image = np.random.default_rng(0).random((height, width, 3))
    quarter = image[::2, ::2]
    found = upsample(quarter, height, width, kind)
    assert found.shape == image.shape
    np.testing.assert_allclose(found[::2, ::2], quarter, rtol=1e-12)
    for size in (height, width):
        np.testing.assert_allclose(axis_weights(size, kind).sum(axis=1), 1, rtol=1e-12)


@KINDS
@pytest.mark.parametrize("size", [(16, 22), (15, 21)])
def test_a_linear_ramp_comes_back_at_every_pixel_inside(kind, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    ramp = np.stack([0.02 * rows + 0.03 * columns, 0.5 - 0.01 * rows], axis=-1)
    found = upsample(ramp[::2, ::2], size[0], size[1], kind)
    inside = slice(2, -3), slice(2, -3)  # beyond the edge a ramp is not continued
    np.testing.assert_allclose(found[inside], ramp[inside], atol=1e-12)
    # Half a pixel aside would be seen: the ramp rises by more than this.
    assert np.abs(found[1:-3, :-3] - ramp[2:-2, :-3]).min() > 0.009


def test_bilinear_is_scipys_and_continues_the_edge():
    quarter = np.random.default_rng(1).random((6, 5, 2))
    grid = np.mgrid[:12, :10] / 2
    found = upsample(quarter, 12, 10, "bilinear")
    for channel in range(2):
        expected = scipy.ndimage.map_coordinates(
            quarter[..., channel], grid, order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-12)


def test_bicubic_is_keys_kernel():
    """Four symmetric weights that reproduce parabolas: there is one such set."""
    rows, columns = np.mgrid[:20, :18] / 10
    parabola = (rows**2 + columns**2 - rows * columns)[..., None]
    inside = slice(2, -3), slice(2, -3)
    kinds: Any = (("bicubic", True), ("bilinear", False))
    for kind, exact in kinds:
        error = upsample(parabola[::2, ::2], 20, 18, kind) - parabola
        assert (np.abs(error[inside]).max() < 1e-12) == exact
    # Keys' formula, 1981, with a = -1/2, for distances of 1/2 and 3/2.
    near = 1.5 * 0.5**3 - 2.5 * 0.5**2 + 1
    far = -0.5 * 1.5**3 + 2.5 * 1.5**2 - 4 * 1.5 + 2
    np.testing.assert_allclose(MIDWAY["bicubic"], (far, near, near, far))
