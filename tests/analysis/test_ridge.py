"""Ridge regression in closed form against least squares and the hat matrix."""

import numpy as np
import pytest

from jax_inr.analysis import ridge
from jax_inr.analysis.ridge import PENALTIES, ridge_images
from jax_inr.coordinates import pixel_grid

SIZE = (11, 14)
MASK = np.zeros(SIZE, bool)
MASK[::2, ::2] = True
RANDOM = np.random.default_rng(3)
B = 2 * RANDOM.standard_normal((2, 5))
IMAGES = RANDOM.random((3, *SIZE, 2))


def features(frequencies=B):
    """Sines, cosines and ones at every pixel, (h w, f)."""
    phases = 2 * np.pi * pixel_grid(*SIZE).reshape(-1, 2).astype(np.float64)
    phases = phases @ frequencies
    ones = np.ones((len(phases), 1))
    return np.concatenate([np.sin(phases), np.cos(phases), ones], axis=1)


def least_squares(image, penalty, frequencies=B):
    """What damped least squares predicts, by numpy's own solver, and its error."""
    everywhere = features(frequencies)
    seen = everywhere[MASK.ravel()]
    scale = np.mean(np.linalg.svd(seen, compute_uv=False) ** 2)
    damping = np.sqrt(penalty * scale) * np.eye(seen.shape[1])
    targets = np.concatenate([image[MASK], np.zeros((seen.shape[1], 2))])
    weights = np.linalg.lstsq(np.concatenate([seen, damping]), targets, rcond=None)[0]
    return (everywhere @ weights).reshape(*SIZE, 2)


def test_predictions_are_those_of_damped_least_squares():
    found, penalties = ridge_images(B, MASK, IMAGES)
    for image, prediction, penalty in zip(IMAGES, found, penalties, strict=True):
        expected = least_squares(image, penalty)
        np.testing.assert_allclose(prediction, expected, atol=1e-7)


def test_penalties_are_those_of_generalised_cross_validation():
    _, penalties = ridge_images(B, MASK, IMAGES)
    seen = features()[MASK.ravel()]
    gram = seen.T @ seen
    scale = np.trace(gram) / len(gram)
    tried = PENALTIES[PENALTIES > 1e-8]  # below, the Gram matrix has no say

    def error(image, penalty):
        hat = seen @ np.linalg.inv(gram + penalty * scale * np.eye(len(gram))) @ seen.T
        rest = image[MASK] - hat @ image[MASK]
        return np.sum(rest**2) / (1 - np.trace(hat) / len(seen)) ** 2

    for image, penalty in zip(IMAGES, penalties, strict=True):
        errors = [error(image, p) for p in tried]
        assert penalty == tried[np.argmin(errors)]
    # Noise is not to be fitted closely.
    assert penalties.min() > 1e-2


@pytest.mark.parametrize("sigma", [0.3, 2.0, 8.0])
def test_penalties_span_from_none_at_all_to_nothing_left(monkeypatch, sigma):
    """So the smallest error lies between the ends, however smooth the features."""
    frequencies = sigma * RANDOM.standard_normal((2, 12))
    seen = features(frequencies)[MASK.ravel()]
    for index in (0, 8):  # the ends of two decades alike
        monkeypatch.setattr(ridge, "PENALTIES", PENALTIES[index : index + 1])
        found, _ = ridge_images(frequencies, MASK, IMAGES)
        # Without a penalty; what numpy takes for rounding is left out there too.
        weights = np.linalg.lstsq(seen, IMAGES[0][MASK], rcond=None)[0]
        np.testing.assert_allclose(found[0][MASK], seen @ weights, atol=1e-6)
    monkeypatch.setattr(ridge, "PENALTIES", PENALTIES[-1:])
    found, _ = ridge_images(frequencies, MASK, IMAGES)
    assert np.abs(found).max() < 0.2


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_wider_grid_of_penalties_chooses_the_same(monkeypatch, sigma):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] / 14
    smooth = np.stack([np.exp(rows - columns), rows * columns**2], -1)
    images = np.stack([smooth, *IMAGES])
    frequencies = sigma * RANDOM.standard_normal((2, 12))
    found, penalties = ridge_images(frequencies, MASK, images)
    wider = np.logspace(-40, 6, 4 * 46 + 1)
    monkeypatch.setattr(ridge, "PENALTIES", wider)
    again, others = ridge_images(frequencies, MASK, images)
    np.testing.assert_allclose(again, found, atol=1e-5)
    np.testing.assert_allclose(others, penalties, rtol=1e-9)


def test_features_in_chunks_are_those_of_all_pixels_at_once(monkeypatch):
    whole, penalties = ridge_images(B, MASK, IMAGES)
    monkeypatch.setattr(ridge, "CHUNK_PIXELS", 5)
    parts, same = ridge_images(B, MASK, IMAGES)
    np.testing.assert_allclose(parts, whole, atol=1e-10)
    np.testing.assert_array_equal(same, penalties)


def test_fewer_pixels_than_features_are_met_without_a_warning():
    few = np.zeros(SIZE, bool)
    few[::5, ::5] = True  # 9 pixels for 11 features
    found, penalties = ridge_images(B, few, IMAGES)
    assert np.isfinite(found).all() and (penalties > 0).all()


def test_held_out_pixels_change_nothing():
    changed = np.where(MASK[..., None], IMAGES, 1 - IMAGES)
    pairs = zip(
        ridge_images(B, MASK, IMAGES), ridge_images(B, MASK, changed), strict=True
    )
    for found, other in pairs:
        np.testing.assert_array_equal(found, other)


def test_what_the_features_span_is_found_everywhere():
    weights = RANDOM.standard_normal((1, features().shape[1], 2))
    images = (features() @ weights).reshape(1, *SIZE, 2)
    found, penalties = ridge_images(B, MASK, images)
    assert penalties[0] < 1e-6
    np.testing.assert_allclose(found, images, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_images_do_not_touch_each_other(count):
    found, _ = ridge_images(B, MASK, IMAGES)
    alone, _ = ridge_images(B, MASK, IMAGES[:count])
    np.testing.assert_allclose(alone, found[:count], atol=1e-9)
