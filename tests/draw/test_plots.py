"""Figures: what is drawn, not how it looks; equal figures give equal bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from jax_inr.draw import plots

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


def test_a_fit_outside_the_range_is_compared_as_it_is_saved(image):
    outside = 3 * image - 1
    _, shown, error = panels(plots.comparison(image, outside, 9.0))
    clipped = np.clip(outside, 0, 1)
    np.testing.assert_array_equal(shown, clipped)
    expected = np.clip(5 * np.abs(clipped - image).mean(-1), 0, 1)
    assert 0 < expected.mean() < 1
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
        pooled = axes[2 + column].lines[1]
        np.testing.assert_array_equal(pooled.get_xdata(), [r[name] for r in ROWS])
        expected = [r["pooled_psnr_db"] for r in ROWS]
        np.testing.assert_array_equal(pooled.get_ydata(), expected)
    legend = axes[2].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [line.get_label() for line in axes[2].lines]
    assert labels == ["PSNR", "pooled PSNR"]
    assert axes[2].get_xlabel() == "step" and "seconds" in axes[3].get_xlabel()
    assert axes[0].get_yscale() == "log"


def test_losses_are_labelled_so_that_they_differ():
    for losses in ((0.07, 3e-4), (0.022, 0.02), (1e-7, 1e-9)):
        rows = [{**ROWS[i], "loss": loss} for i, loss in enumerate(losses)]
        figure = plots.curves(rows)
        plots.png(figure)
        axis = figure.axes[0].yaxis
        labels = [text.get_text() for text in axis.get_ticklabels(which="both")]
        labels = [label for label in labels if label]
        assert 2 <= len(labels) == len({*labels})
        assert all(abs(float(label)) for label in labels)


def test_curves_of_a_perfect_or_empty_history():
    perfect = [{**ROWS[0], "loss": 0.0, "psnr_db": float("inf")}]
    plots.png(plots.curves(perfect))
    plots.png(plots.curves([]))


def test_encoding_figure_has_the_notebooks_scale_and_titles():
    channels = np.zeros((3, 4, 4))
    figure = plots.encoding(channels, ["sin(freq 0)", "b", "c"])
    shown = [a for a in figure.axes if a.images]
    assert [a.get_title() for a in shown] == ["sin(freq 0)", "b", "c"]
    assert shown[0].images[0].get_clim() == (-1, 1)
    assert shown[0].images[0].get_cmap().name == "RdBu"


def test_a_caption_is_as_far_from_the_top_over_any_number_of_rows():
    inches = []
    for count in (3, 40):
        figure = plots.encoding(np.zeros((count, 4, 4)), ["a"] * count, "cat")
        (caption,) = figure.texts
        inches.append((1 - caption.get_position()[1]) * figure.get_figheight())
    assert inches[0] == pytest.approx(inches[1])


def test_equal_figures_give_equal_bytes(image):
    first, second = (plots.png(plots.comparison(image, image, 9.0)) for _ in range(2))
    assert first == second and first.startswith(b"\x89PNG")
    # Nor do they name the version of matplotlib that drew them.
    with Image.open(io.BytesIO(first)) as drawn:
        assert "Software" not in drawn.info
