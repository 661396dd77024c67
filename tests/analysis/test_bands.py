"""Bands of frequencies: every mode in its place, and refusals."""

import numpy as np
import pytest

from jax_inr.analysis import bands
from jax_inr.errors import ConfigError


def test_radii_are_cycles_per_unit_on_each_axis():
    radius = bands.radii(6, 9)
    assert radius.shape == (6, 9)
    assert radius[0, 0] == 0 and radius[2, 0] == 2 and radius[0, -1] == 1
    assert radius[-1, -2] == pytest.approx(5**0.5)


def test_a_window_has_mean_square_one_and_ends_at_zero():
    window = bands.hann_window(7, 12)
    assert np.mean(window**2) == pytest.approx(1, rel=1e-6)
    assert np.abs(window[0]).max() == 0 and np.abs(window[:, 0]).max() == 0


@pytest.mark.parametrize("shape", [(64, 64), (31, 31), (24, 57)])
def test_every_mode_from_one_cycle_to_nyquist_is_in_one_band(shape):
    height, width = shape
    edges = bands.band_edges(height, width, 5)
    index = bands.band_index(height, width, edges)
    radius = bands.radii(height, width).ravel()
    inside = (radius >= 1) & (radius <= min(shape) // 2)
    np.testing.assert_array_equal(index < 5, inside)
    assert edges[0] == 1 and edges[-1] == min(shape) // 2
    for mode in np.flatnonzero(inside):
        low, high = edges[index[mode]], edges[index[mode] + 1]
        assert low * (1 - 1e-6) <= radius[mode] <= high * (1 + 1e-6)


def test_a_picture_too_small_for_its_bands_is_refused_with_what_would_do():
    with pytest.raises(ConfigError, match="16x16 pixels is too small for 10") as error:
        bands.band_edges(16, 16, 10)
    most = int(error.value.hint.split()[2])
    assert len(bands.band_edges(16, 16, most)) == most + 1
    with pytest.raises(ConfigError):
        bands.band_edges(16, 16, most + 1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 40)])
def test_a_picture_of_no_frequencies_has_no_bands(shape):
    with pytest.raises(ConfigError, match="too small"):
        bands.band_edges(shape[0], shape[1], 1)


def test_learned_steps_are_the_first_within_the_limit():
    missing = np.array([[1.0, 0.2, 0.9], [0.1, 0.09, 0.8], [0.2, 0.01, 0.5]])
    assert bands.learned_steps(missing, [1, 2, 4]) == [2, 2, None]


def test_the_highest_learned_frequency_lies_where_the_share_crosses_the_limit():
    edges = 2.0 ** np.arange(5)
    centres = np.sqrt(edges[1:] * edges[:-1])
    # A share that grows as a power of frequency crosses the limit where it does.
    crossing = 5.0
    missing = bands.LEARNED * (centres / crossing) ** 2
    assert bands.highest_learned(missing, edges) == pytest.approx(crossing)
    assert bands.highest_learned(np.ones(4), edges) == 0
    assert bands.highest_learned(np.zeros(4), edges) == 16
    # What lies beyond the first band that is not learned does not count.
    assert bands.highest_learned(np.array([0.01, 1, 0.01, 0.01]), edges) < 4
