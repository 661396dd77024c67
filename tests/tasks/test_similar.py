"""Similar places: against an exhaustive search, and where an image repeats itself."""

import numpy as np
import pytest

from jax_inr.coordinates import pixel_grid
from jax_inr.errors import ConfigError
from jax_inr.tasks import similar, similar_places


def searched(image, count, patch, reach):
    """The distances of the nearest places of each pixel, by loops."""
    height, width, _ = image.shape
    half = patch // 2
    wide = np.pad(image, ((half, half), (half, half), (0, 0)), "symmetric")
    wide = np.pad(wide, ((reach, reach), (reach, reach), (0, 0)), "edge")
    found = np.zeros((height, width, count))
    for i in range(height):
        for j in range(width):
            distances = []
            for k in range(max(i - reach, 0), min(i + reach + 1, height)):
                for m in range(max(j - reach, 0), min(j + reach + 1, width)):
                    if (k, m) != (i, j):
                        distances.append(distance(wide, patch, reach, (i, j), (k, m)))
            found[i, j] = np.sort(distances)[:count]
    return found.reshape(-1, count)


def distance(wide, patch, reach, first, second):
    patches = [
        wide[reach + i : reach + i + patch, reach + j : reach + j + patch]
        for i, j in (first, second)
    ]
    return np.mean((patches[0] - patches[1]) ** 2)


@pytest.mark.parametrize("band_bytes", [1, 1 << 20])
def test_the_nearest_are_those_of_an_exhaustive_search(band_bytes, monkeypatch):
    """Whatever the size of the bands that an image is searched in."""
    monkeypatch.setattr(similar, "BAND_BYTES", band_bytes)
    image = np.random.default_rng(0).random((7, 9, 2))
    places = similar_places(image, 4, patch=3, reach=3)
    np.testing.assert_array_equal(places[:, 0], pixel_grid(7, 9).reshape(-1, 2))
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), "symmetric")
    numbers = np.rint(places * [7, 9]).astype(int)
    found = [
        sorted(distance(wide, 3, 0, numbers[n, 0], other) for other in numbers[n, 1:])
        for n in range(len(numbers))
    ]
    np.testing.assert_allclose(found, searched(image, 4, 3, 3), rtol=1e-4)


def test_an_image_of_period_four_is_alike_four_pixels_away():
    tile = np.random.default_rng(1).random((4, 4, 1))
    places = similar_places(np.tile(tile, (5, 5, 1)), 3, patch=3, reach=5)
    shifts = np.rint((places[:, 1:] - places[:, :1]) * 20).astype(int)
    inner = shifts.reshape(20, 20, 3, 2)[6:14, 6:14]
    assert (inner % 4 == 0).all() and inner.any(axis=-1).all()


def test_a_pixel_stands_for_itself_where_the_image_is_too_small():
    places = similar_places(np.random.default_rng(2).random((1, 2, 3)), 4, 3, 1)
    assert places.shape == (2, 5, 2)
    assert len(np.unique(places[0], axis=0)) == 2


@pytest.mark.parametrize("numbers", [(0, 3, 3), (4, 4, 3), (4, 3, 0), (4, -1, 3)])
def test_numbers_that_ask_for_nothing_are_refused(numbers):
    with pytest.raises(ConfigError, match=f"count is {numbers[0]}, patch {numbers[1]}"):
        similar_places(np.zeros((8, 8, 1)), *numbers)
