"""What is said of a field beyond its image, on fields whose periods are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from jax_inr.analysis import extrapolation


class Wave:
    """A grey field, the cosine of some turns over the rows and over the columns."""

    config = SimpleNamespace(encoding="gaussian")

    def __init__(self, rows: float, columns: float) -> None:
        self.turns = np.array([rows, columns])

    def __call__(self, coords):
        return np.cos(2 * np.pi * (coords.astype(np.float64) @ self.turns))[:, None]

    def render(self, height, width, window):
        return np.zeros((height, width, 1))


@pytest.mark.parametrize(
    ("turns", "largest"),
    [
        ((3, 5), 0),
        # One period further on a half turn is missing: cosines of opposite signs.
        ((3.5, 5), 2),
        ((3, 5.5), 2),
        # A quarter turn on each axis, and half a turn on both.
        ((3.25, 5.25), 2),
    ],
)
def test_the_period_is_asked_for_on_each_axis_and_on_both(turns, largest):
    found = extrapolation.measure(Wave(*turns))  # pyright: ignore[reportArgumentType]
    assert found.largest == pytest.approx(largest, abs=2e-3)
    assert found.sentence.startswith("not periodic" if largest else "periodic")


def test_the_root_of_the_mean_square_is_over_all_three_shifts():
    # Half a turn is missing in rows: a change of sign for two of the shifts.
    found = extrapolation.measure(Wave(3.5, 5))  # pyright: ignore[reportArgumentType]
    assert found.rms == pytest.approx(np.sqrt(2 / 3 * 4 / 2), rel=0.02)
