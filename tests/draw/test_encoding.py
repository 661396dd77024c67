"""The channels of an encoding as they are drawn: the run's own numbers."""

import numpy as np
import pytest

from jax_inr.config import Config
from jax_inr.draw.encoding import encoding_channels

GRID = Config(
    encoding="dense_grid", num_levels=1, level_features=2, coarsest=4, finest=4
)


def test_channels_are_the_runs_own():
    frequencies = np.array([[1.0, 0.0, 2.5], [0.0, 3.0, -1.0]], np.float32)
    tensors = {"constants/frequencies": frequencies}
    channels, titles = encoding_channels(Config(), tensors, 5, 7)
    assert channels.shape == (6, 5, 7)
    assert titles[0] == "sin(freq 0)" and titles[3] == "cos(freq 0)"
    rows, columns = np.mgrid[0:5, 0:7] / np.array([5, 7]).reshape(2, 1, 1)
    phase = 2 * np.pi * (2.5 * rows - columns)
    np.testing.assert_allclose(channels[2], np.sin(phase), atol=1e-5)
    np.testing.assert_allclose(channels[5], np.cos(phase), atol=1e-5)


def test_trained_frequencies_are_those_that_were_trained():
    tensors = {
        "params/frequencies": np.array([[2.0], [0.0]], np.float32),
        "constants/frequencies": np.array([[9.0], [9.0]], np.float32),
    }
    channels, _ = encoding_channels(Config(encoding="trainable"), tensors, 8, 3)
    expected = np.sin(np.pi * np.arange(8) / 2)
    np.testing.assert_allclose(channels[0, :, 0], expected, atol=1e-5)


def test_a_grids_levels_are_scaled_to_their_largest_number():
    table = np.random.default_rng(0).normal(0, 1e-3, (5, 5, 2)).astype(np.float32)
    table[4], table[:, 4] = 9, 9  # beyond the image: no part of the scale
    channels, titles = encoding_channels(GRID, {"params/grid_0": table}, 4, 4)
    assert titles == ["4 cells (0)", "4 cells (1)"]
    # Four pixels for four cells: each pixel lies on a grid point.
    inside = np.moveaxis(table[:4, :4], -1, 0)
    largest = np.abs(inside).max((1, 2), keepdims=True)
    np.testing.assert_allclose(channels, inside / largest, atol=1e-5)


def test_an_untrained_grid_of_zeros_is_drawn_without_a_warning():
    tensors = {"params/grid_0": np.zeros((5, 5, 2), np.float32)}
    channels, _ = encoding_channels(GRID, tensors, 4, 4)
    np.testing.assert_array_equal(channels, np.zeros((2, 4, 4)))


def test_many_frequencies_and_large_images_are_cut_short():
    tensors = {"constants/frequencies": np.ones((2, 30), np.float32)}
    channels, titles = encoding_channels(Config(), tensors, 1000, 300)
    # The first twenty sines, then their cosines.
    assert channels.shape == (40, 224, 224)
    assert (titles[19], titles[20]) == ("sin(freq 19)", "cos(freq 0)")


@pytest.mark.parametrize("encoding", ["basic", "none", "positional"])
def test_every_encoding_has_an_image(encoding):
    config = Config(encoding=encoding, num_frequencies=8, octaves=3.0)
    channels, titles = encoding_channels(config, {}, 6, 5)
    assert len(channels) == len(titles) == config.num_features
    assert np.abs(channels).max() <= 1
