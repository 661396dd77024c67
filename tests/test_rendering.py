"""Rendering: chunks, windows and finer grids all draw one function of position."""

import tracemalloc

import jax
import numpy as np
import pytest
from conftest import draw

from jax_inr import rendering
from jax_inr.config import Config
from jax_inr.coordinates import FULL, pixel_grid
from jax_inr.model import make_model
from jax_inr.rendering import render

# Chunks of other sizes are other programs, in which XLA may order sums otherwise, and
# phases of up to 2 pi * 6 round by 4e-6 before the weights damp it.
TOLERANCE = 1e-6
MLP = Config(num_frequencies=8, sigma=2.0, hidden_features=(16, 12))
CNN = Config(network="cnn", encoding="none", hidden_features=(4, 5))


def build(config, channels=3):
    model = make_model(config, 12, 17, channels)
    return model, draw(model)


def close(picture, expected):
    np.testing.assert_allclose(picture, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_render_is_predict_over_the_grid(channels):
    model, variables = build(MLP, channels)
    picture = render(model, variables, 12, 17)
    assert picture.shape == (12, 17, channels) and picture.dtype == np.float32
    close(picture, jax.jit(model.predict)(variables, pixel_grid(12, 17)))
    # Neither transposed nor flat in either direction.
    assert np.ptp(picture, 0).max() > 0.01 and np.ptp(picture, 1).max() > 0.01


# 204 pixels: chunks that leave a rest, divide it, miss it by one, exceed it.
@pytest.mark.parametrize("chunk", [1, 7, 51, 203, 204, 205])
def test_chunks_do_not_show(monkeypatch, chunk):
    whole = render(*build(MLP), 12, 17)
    monkeypatch.setattr(rendering, "CHUNK_PIXELS", chunk)
    close(render(*build(MLP), 12, 17), whole)


def test_every_second_pixel_of_a_render_twice_as_large_is_the_native_one():
    twice = render(*build(MLP), 24, 34)
    close(twice[::2, ::2], render(*build(MLP), 12, 17))
    assert np.abs(twice[::2, ::2] - twice[1::2, 1::2]).max() > 1e-3


@pytest.mark.parametrize(
    ("rows", "columns"), [((0, 12), (0, 17)), ((3, 9), (5, 6)), ((11, 12), (0, 16))]
)
def test_a_window_is_a_crop(rows, columns):
    window = (rows[0] / 12, columns[0] / 17, rows[1] / 12, columns[1] / 17)
    part = render(
        *build(MLP), rows[1] - rows[0], columns[1] - columns[0], window=window
    )
    close(part, render(*build(MLP), 12, 17)[slice(*rows), slice(*columns)])


def test_a_window_may_be_finer_than_the_picture_and_leave_it():
    model, variables = build(MLP)
    window = (-0.5, 0.25, 0.5, 1.5)
    expected = jax.jit(model.predict)(variables, pixel_grid(9, 7, window))
    close(render(model, variables, 9, 7, window), expected)


def test_the_cnn_renders_its_grid_at_once(monkeypatch):
    monkeypatch.setattr(rendering, "CHUNK_PIXELS", 5)
    model, variables = build(CNN)
    picture = render(model, variables, 12, 17)
    close(picture, jax.jit(model.predict)(variables, pixel_grid(12, 17, FULL)))
    assert picture.flags.writeable


def test_memory_beside_the_picture_does_not_grow_with_it(monkeypatch):
    monkeypatch.setattr(rendering, "CHUNK_PIXELS", 1 << 12)
    model, variables = build(MLP, 1)
    render(model, variables, 64, 64)  # compiles

    def beside(side):
        tracemalloc.start()
        picture = render(model, variables, side, side)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - picture.nbytes

    # The axes alone grow, by some bytes for each row and column.
    assert beside(512) - beside(128) < 64 * 2 * (512 - 128)


def test_every_chunk_has_one_shape(monkeypatch):
    shapes = set()

    def spy(function, model, variables, coords):
        shapes.add(coords.shape)
        return np.zeros((len(coords), 3), np.float32)

    monkeypatch.setattr(rendering, "values", spy)
    monkeypatch.setattr(rendering, "CHUNK_PIXELS", 50)
    render(*build(MLP), 12, 17)
    assert shapes == {(50, 2)}
