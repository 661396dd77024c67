"""Extrapolation: the period is measured along rows, columns and both."""

from types import SimpleNamespace

import numpy as np
import pytest

from jax_inr.analysis import extrapolation


def field_of(function):
    """A field of one grey channel that is this function of (row, column)."""

    class Field:
        config = SimpleNamespace(encoding="gaussian")

        def __call__(self, coords):
            return function(coords[..., 0], coords[..., 1])[..., None]

        def render(self, height, width, window):
            assert window == (-1.0, -1.0, 2.0, 2.0)
            return np.zeros((height, width, 1), np.float32)

    return Field()


@pytest.mark.parametrize(
    ("function", "rms"),
    [
        (lambda row, column: 0 * row, 0.0),
        # One further on along the rows, and along both: two of three shifts.
        (lambda row, column: np.floor(row), np.sqrt(2 / 3)),
        (lambda row, column: np.floor(column), np.sqrt(2 / 3)),
        # Along both alone.
        (lambda row, column: 1.0 * ((row >= 1) & (column >= 1)), np.sqrt(1 / 3)),
    ],
)
def test_all_three_shifts_are_measured(function, rms):
    measured = extrapolation.measure(field_of(function))  # pyright: ignore[reportArgumentType]
    assert measured.rms == pytest.approx(rms, abs=1e-6)
    assert measured.largest == pytest.approx(1.0 if rms else 0.0)
    verdict = "not periodic" if rms else "periodic"
    assert measured.sentence.startswith(f"{verdict}: field(x)")
    assert measured.image.shape == (240, 240, 1)


def test_the_figure_names_each_field_and_frames_the_image():
    shown = np.zeros((240, 240, 3))
    measured = [extrapolation.Measured(n, shown, 0.25, 0.5) for n in ("a", "b")]
    figure = extrapolation.figure(measured)
    assert [axes.get_title()[:12] for axes in figure.axes] == [
        "a encoding\n|",
        "b encoding\n|",
    ]
    (frame,) = figure.axes[0].patches
    # The unit square is the middle third of [-1, 2].
    assert frame.get_bbox().bounds == (79.5, 79.5, 80, 80)  # pyright: ignore[reportAttributeAccessIssue]
