"""Ridge regression in closed form against least squares and the hat matrix."""

import numpy as np
import pytest

from jax_inr.analysis.ridge import PENALTIES, ridge_pictures
from jax_inr.coordinates import pixel_grid

SIZE = (11, 14)
MASK = np.zeros(SIZE, bool)
MASK[::2, ::2] = True
RANDOM = np.random.default_rng(3)
B = 2 * RANDOM.standard_normal((2, 5))
PICTURES = RANDOM.random((3, *SIZE, 2))


def features(frequencies=B):
    """Sines, cosines and ones at every pixel, (h w, f)."""
    phases = 2 * np.pi * pixel_grid(*SIZE).reshape(-1, 2).astype(np.float64)
    phases = phases @ frequencies
    ones = np.ones((len(phases), 1))
    return np.concatenate([np.sin(phases), np.cos(phases), ones], axis=1)


def test_predictions_are_those_of_damped_least_squares():
    found, penalties = ridge_pictures(B, MASK, PICTURES)
    everywhere, seen = features(), features()[MASK.ravel()]
    scale = np.linalg.eigvalsh(seen.T @ seen).mean()
    for picture, prediction, penalty in zip(PICTURES, found, penalties, strict=True):
        damping = np.sqrt(penalty * scale) * np.eye(seen.shape[1])
        targets = np.concatenate([picture[MASK], np.zeros((seen.shape[1], 2))])
        weights = np.linalg.lstsq(np.concatenate([seen, damping]), targets)[0]
        expected = (everywhere @ weights).reshape(*SIZE, 2)
        np.testing.assert_allclose(prediction, expected, atol=1e-7)


def test_penalties_are_those_of_generalised_cross_validation():
    _, penalties = ridge_pictures(B, MASK, PICTURES)
    seen = features()[MASK.ravel()]
    gram = seen.T @ seen
    scale = np.trace(gram) / len(gram)

    def error(picture, penalty):
        hat = seen @ np.linalg.inv(gram + penalty * scale * np.eye(len(gram))) @ seen.T
        rest = picture[MASK] - hat @ picture[MASK]
        return np.sum(rest**2) / (1 - np.trace(hat) / len(seen)) ** 2

    for picture, penalty in zip(PICTURES, penalties, strict=True):
        errors = [error(picture, p) for p in PENALTIES[20:]]
        assert penalty == PENALTIES[20:][np.argmin(errors)]
    # Noise is not to be fitted closely.
    assert penalties.min() > 1e-2


def test_held_out_pixels_change_nothing():
    changed = np.where(MASK[..., None], PICTURES, 1 - PICTURES)
    for one, other in zip(
        ridge_pictures(B, MASK, PICTURES), ridge_pictures(B, MASK, changed), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_the_features_span_is_found_everywhere():
    weights = RANDOM.standard_normal((1, features().shape[1], 2))
    pictures = (features() @ weights).reshape(1, *SIZE, 2)
    found, penalties = ridge_pictures(B, MASK, pictures)
    assert penalties[0] < 1e-6
    np.testing.assert_allclose(found, pictures, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_do_not_touch_each_other(count):
    found, _ = ridge_pictures(B, MASK, PICTURES)
    alone, _ = ridge_pictures(B, MASK, PICTURES[:count])
    np.testing.assert_allclose(alone, found[:count], atol=1e-9)
