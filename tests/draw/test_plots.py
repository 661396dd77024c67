"""Figures: what is drawn, not how it looks; equal figures give equal bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from jax_inr.config import Config
from jax_inr.draw import plots
from jax_inr.draw.encoding import encoding_channels

ROWS = [
    {"step": s, "seconds": s / 10, "loss": 1 / s, "psnr_db": s, "pooled_psnr_db": s / 2}
    for s in (1, 101, 201, 301)
]


def panels(figure) -> list[np.ndarray]:
    return [a.images[0].get_array().data for a in figure.axes if a.images]


def test_comparison_shows_target_fit_and_error(image):
    fit = np.clip(image + 0.1, 0, 1)
    target, shown, error = panels(plots.comparison(image, fit, 20.0, "cat"))
    np.testing.assert_array_equal(target, image)
    np.testing.assert_array_equal(shown, fit)
    expected = np.clip(5 * np.abs(fit - image).mean(-1), 0, 1)
    np.testing.assert_allclose(error, expected, atol=1e-6)


def test_grey_pictures_are_drawn_grey(image):
    grey = image[..., :1]
    assert panels(plots.comparison(grey, grey, 20.0))[0].shape == grey.shape[:2]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 1), (40, 1, 3)])
def test_extreme_shapes_are_drawn(shape):
    picture = np.full(shape, 0.5, np.float32)
    drawn = Image.open(io.BytesIO(plots.png(plots.comparison(picture, picture, 9.0))))
    assert drawn.width < 3000 and drawn.height < 3000


def test_curves_draw_every_row_against_step_and_second():
    axes = plots.curves(ROWS).axes
    for column, name in ((0, "step"), (1, "seconds")):
        for axis, key in ((axes[column], "loss"), (axes[2 + column], "psnr_db")):
            line = axis.lines[0]
            np.testing.assert_array_equal(line.get_xdata(), [r[name] for r in ROWS])
            np.testing.assert_array_equal(line.get_ydata(), [r[key] for r in ROWS])
    assert axes[0].get_yscale() == "log"


def test_curves_of_a_perfect_or_empty_history():
    perfect = [{**ROWS[0], "loss": 0.0, "psnr_db": float("inf")}]
    plots.png(plots.curves(perfect))
    plots.png(plots.curves([]))


def test_encoding_channels_are_the_runs_own():
    frequencies = np.array([[1.0, 0.0, 2.5], [0.0, 3.0, -1.0]], np.float32)
    tensors = {"constants/frequencies": frequencies}
    channels, titles = encoding_channels(Config(), tensors, 5, 7)
    assert channels.shape == (6, 5, 7)
    assert titles[0] == "sin(freq 0)" and titles[3] == "cos(freq 0)"
    rows, columns = np.mgrid[0:5, 0:7] / np.array([5, 7]).reshape(2, 1, 1)
    phase = 2 * np.pi * (2.5 * rows - columns)
    np.testing.assert_allclose(channels[2], np.sin(phase), atol=1e-5)
    np.testing.assert_allclose(channels[5], np.cos(phase), atol=1e-5)


def test_encoding_figure_has_the_notebooks_scale_and_titles():
    channels = np.zeros((3, 4, 4))
    figure = plots.encoding(channels, ["sin(freq 0)", "b", "c"])
    shown = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in shown] == ["sin(freq 0)", "b", "c"]
    assert shown[0].images[0].get_clim() == (-1, 1)
    assert shown[0].images[0].get_cmap().name == "RdBu"


@pytest.mark.parametrize("encoding", ["basic", "none"])
def test_every_encoding_has_a_picture(encoding):
    config = Config(encoding=encoding)
    channels, titles = encoding_channels(config, {}, 6, 5)
    assert len(channels) == len(titles) == config.num_features
    assert np.abs(channels).max() <= 1


def test_equal_figures_give_equal_bytes(image):
    first, second = (plots.png(plots.comparison(image, image, 9.0)) for _ in range(2))
    assert first == second and first.startswith(b"\x89PNG")
