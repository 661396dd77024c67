"""How a derivative is drawn between black and white, and what is said of it."""

import numpy as np
import pytest

from jax_inr.cli.render import tone_of


class Known:
    """A field whose derivatives are known: 1001 values, 0 to 1000 in some order."""

    def __init__(self, values):
        self.values = values
        self.asked = []

    def render(self, *view):
        self.asked.append(view)
        return self.values


STEPS = np.random.default_rng(0).permutation(1001).astype(np.float32)


def test_a_laplacian_is_drawn_around_grey():
    signs = np.where(STEPS % 2, -1, 1)
    field = Known((signs * STEPS).reshape(1, 1001, 1))
    said, draw = tone_of(field, "laplacian", 500, 90, (0.0, 0.0, 1.0, 0.5))  # pyright: ignore[reportArgumentType]
    # One value in two hundred exceeds what is white or black.
    assert said == "; white is 995 a pixel squared, grey is 0"
    band = np.array([[[0.0, 995, -995], [1990, 497.5, -497.5]]], np.float32)
    np.testing.assert_allclose(
        draw(band), [[[0.5, 1, 0], [1.5, 0.75, 0.25]]], rtol=1e-6
    )
    # A coarse image of the same window was enough.
    assert field.asked == [(128, 90, (0.0, 0.0, 1.0, 0.5), "laplacian")]


def test_a_gradient_is_drawn_as_its_length_from_black():
    directions = np.stack([0.6 * STEPS, -0.8 * STEPS], axis=-1)
    field = Known(directions.reshape(7, 143, 2))
    said, draw = tone_of(field, "gradient", 64, 64, (0.0, 0.0, 1.0, 1.0))  # pyright: ignore[reportArgumentType]
    assert said == "; white is 995 a pixel"
    band = np.array([[[0.0, 0], [597, 796], [-597, 796], [0, -199]]], np.float32)
    drawn = draw(band)
    assert drawn.shape == (1, 4, 1)
    np.testing.assert_allclose(drawn[0, :, 0], [0, 1, 1, 0.2], rtol=1e-6)


@pytest.mark.parametrize(("kind", "tone"), [("gradient", 0.0), ("laplacian", 0.5)])
def test_a_field_without_slopes_is_drawn_without_a_warning(kind, tone):
    field = Known(np.zeros((4, 4, 2), np.float32))
    _, draw = tone_of(field, kind, 4, 4, (0.0, 0.0, 1.0, 1.0))  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(np.unique(draw(field.values)), [tone])
