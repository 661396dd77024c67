"""The channels of an encoding as they are drawn: the run's own numbers."""

import numpy as np
import pytest
from conftest import draw

from jax_inr.config import Config
from jax_inr.draw import encoding
from jax_inr.model import make_model
from jax_inr.tensors import flatten


def channels_of(config, height, width, **tensors):
    """The channels of the config's model, with some of its tensors replaced."""
    model = make_model(config, height, width, 3)
    replaced = {name.replace("_", "/", 1): leaf for name, leaf in tensors.items()}
    found = {**flatten(draw(model)), **replaced}
    return encoding.encoding_channels(found, height, width, model)


GRID = Config(
    encoding="dense_grid", num_levels=1, level_features=2, coarsest=4, finest=4
)


def test_channels_are_the_runs_own():
    frequencies = np.array([[1.0, 0.0, 2.5], [0.0, 3.0, -1.0]], np.float32)
    channels, titles = channels_of(Config(), 5, 7, constants_frequencies=frequencies)
    # The same of the back end without a model.
    tensors = {"constants/frequencies": frequencies}
    again, as_before = encoding.encoding_channels(tensors, 5, 7)
    np.testing.assert_allclose(again, channels, atol=1e-6)
    assert titles == as_before
    assert channels.shape == (6, 5, 7)
    assert titles[0] == "sin(freq 0)" and titles[3] == "cos(freq 0)"
    rows, columns = np.mgrid[0:5, 0:7] / np.array([5, 7]).reshape(2, 1, 1)
    phase = 2 * np.pi * (2.5 * rows - columns)
    np.testing.assert_allclose(channels[2], np.sin(phase), atol=1e-5)
    np.testing.assert_allclose(channels[5], np.cos(phase), atol=1e-5)


def test_trained_frequencies_are_those_that_were_trained():
    trained = np.array([[2.0], [0.0]], np.float32)
    config = Config(encoding="trainable", num_frequencies=1)
    channels, _ = channels_of(config, 8, 3, params_frequencies=trained)
    expected = np.sin(np.pi * np.arange(8) / 2)
    np.testing.assert_allclose(channels[0, :, 0], expected, atol=1e-5)


def test_a_grids_levels_are_scaled_to_their_largest_number():
    table = np.random.default_rng(0).normal(0, 1e-3, (5, 5, 2)).astype(np.float32)
    table[4], table[:, 4] = 9, 9  # beyond the image: no part of the scale
    channels, titles = channels_of(GRID, 4, 4, params_grid_0=table)
    assert titles == ["4 cells (0)", "4 cells (1)"]
    # Four pixels for four cells: each pixel lies on a grid point.
    inside = np.moveaxis(table[:4, :4], -1, 0)
    largest = np.abs(inside).max((1, 2), keepdims=True)
    np.testing.assert_allclose(channels, inside / largest, atol=1e-5)


def test_an_untrained_grid_of_zeros_is_drawn_without_a_warning():
    zeros = np.zeros((5, 5, 2), np.float32)
    channels, _ = channels_of(GRID, 4, 4, params_grid_0=zeros)
    np.testing.assert_array_equal(channels, np.zeros((2, 4, 4)))


def test_many_frequencies_and_large_images_are_cut_short():
    config = Config(num_frequencies=30)
    channels, titles = channels_of(config, 1000, 300)
    # The first twenty sines, then their cosines.
    assert channels.shape == (40, 224, 224)
    assert (titles[19], titles[20]) == ("sin(freq 19)", "cos(freq 0)")


@pytest.mark.parametrize(
    ("name", "count"), [("basic", 4), ("none", 2), ("positional", 16)]
)
def test_every_encoding_has_an_image(name, count):
    config = Config(encoding=name, num_frequencies=8, octaves=3.0)
    channels, titles = channels_of(config, 6, 5)
    assert len(channels) == len(titles) == count
    assert np.abs(channels).max() <= 1
