"""The coordinate convention: corners, rows first, end point excluded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.coordinates import FULL, check_view, pixel_axes, pixel_grid
from jax_inr.errors import ConfigError

SIZES = [(1, 1), (1, 9), (12, 17), (17, 12), (224, 224)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_pixel_lies_at_its_corner_rows_first(height, width):
    grid = pixel_grid(height, width)
    assert grid.shape == (height, width, 2) and grid.dtype == np.float32
    for row, column in [
        (0, 0),
        (height - 1, 0),
        (0, width - 1),
        (height - 1, width // 2),
    ]:
        expected = np.float32(row / height), np.float32(column / width)
        assert tuple(grid[row, column]) == expected


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_full_window_is_0_to_1_without_its_end(height, width):
    grid = pixel_grid(height, width)
    assert (grid >= 0).all() and (grid < 1).all() and not grid[0, 0].any()


def test_flattened_coordinates_match_flattened_pixels(image):
    height, width, _ = image.shape
    flat = pixel_grid(height, width).reshape(-1, 2) * [height, width]
    rows, columns = np.rint(flat).astype(int).T
    np.testing.assert_array_equal(image[rows, columns], image.reshape(-1, 3))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 5))
def test_every_kth_pixel_of_a_finer_grid_is_the_native_grid(height, width, k):
    fine = pixel_grid(k * height, k * width)
    np.testing.assert_array_equal(fine[::k, ::k], pixel_grid(height, width))


@given(st.data())
def test_a_window_of_whole_pixels_is_a_crop_to_the_bit(data):
    spans = []
    for side in (data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))):
        start = data.draw(st.integers(0, side - 1))
        spans.append((start, data.draw(st.integers(start + 1, side)), side))
    (top, bottom, height), (left, right, width) = spans
    window = (top / height, left / width, bottom / height, right / width)
    part = pixel_grid(bottom - top, right - left, window)
    whole = pixel_grid(height, width)
    np.testing.assert_array_equal(part, whole[top:bottom, left:right])


def test_a_window_may_leave_the_unit_square():
    rows, columns = pixel_axes(4, 2, (-1.0, 0.5, 3.0, 2.5))
    np.testing.assert_array_equal(rows, np.array([-1, 0, 1, 2], np.float32))
    np.testing.assert_array_equal(columns, np.array([0.5, 1.5], np.float32))


def test_the_grid_is_the_product_of_its_axes():
    rows, columns = pixel_axes(3, 5, FULL)
    grid = pixel_grid(3, 5)
    assert (grid[..., 0] == rows[:, None]).all() and (grid[..., 1] == columns).all()


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ((0, 4), "height is 0"),
        ((4, 65_536), "width is 65536"),
        ((4, 4, (-1001.0, 0, 1, 1)), "top -1001, bottom 1 must lie in -1000 to 1000"),
        ((4, 4, (0, 0, 1, 1001.0)), "left 0, right 1001 must lie in"),
        ((4, 4, (0, np.nan, 1, 1)), "left nan, right 1 must lie in"),
        ((4, 4, (1, 0, 1, 1)), "top 1 must be less than bottom 1"),
        ((4, 4, (0, 2, 1, 1)), "left 2 must be less than right 1"),
    ],
)
def test_a_view_that_cannot_be_is_refused(view, words):
    with pytest.raises(ConfigError, match=words):
        check_view(*view)


def test_views_are_taken_up_to_their_bounds():
    check_view(1, 65_535, (-1000, 999.5, 1000, 1000))
    check_view(65_535, 1)
