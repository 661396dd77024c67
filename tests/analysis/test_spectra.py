"""Spectra: Parseval, images whose spectrum is known, every mode in its band."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.analysis import spectra
from jax_inr.errors import ConfigError

SHAPES = [(16, 16), (15, 15), (12, 17), (13, 8), (1, 9)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape, np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_parseval_for_odd_and_non_square_sizes(shape, channels):
    image = noise(*shape, channels)
    energy = np.sum(image.astype(np.float64) ** 2)
    power = spectra.power_spectrum(image)
    assert np.sum(np.asarray(power, np.float64)) == pytest.approx(energy, rel=1e-5)
    means, counts = spectra.radial_spectrum(power)
    assert counts.sum() == shape[0] * shape[1]
    rings = np.asarray(means, np.float64) @ counts
    assert rings == pytest.approx(energy, rel=1e-5)


def test_power_is_that_of_the_transform_written_out():
    image = noise(5, 4, 2).astype(np.float64)
    rows, columns = np.arange(5)[:, None], np.arange(4)
    expected = np.zeros((5, 4))
    for k in range(5):
        for m in range(4):
            wave = np.exp(-2j * np.pi * (k * rows / 5 + m * columns / 4))
            sums = (image * wave[..., None]).sum((0, 1))
            expected[k, m] = np.sum(np.abs(sums) ** 2) / 20
    np.testing.assert_allclose(
        spectra.power_spectrum(jnp.array(image)), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("wave", [(3, 0), (0, -5), (4, 4)])
def test_a_sinusoid_is_in_the_band_of_its_radius(wave):
    image = spectra.sinusoids(32, 40, np.array([wave]), np.array([0.7]), 0.3) - 0.5
    edges = spectra.band_edges(32, 40, 5)
    energy = np.asarray(spectra.band_energy(image, edges))
    band = np.searchsorted(edges, np.hypot(*wave) + 1e-6) - 1
    # The mean square of a cosine of this amplitude, at every pixel.
    assert energy[band] == pytest.approx(0.3**2 / 2 * 32 * 40, rel=1e-4)
    assert np.delete(energy, band).max() < 1e-5


def test_missing_share_is_one_of_nothing_zero_of_all_and_a_square_between():
    target = noise(32, 32, 3)
    edges = spectra.band_edges(32, 32, 6)
    mean = np.broadcast_to(target.mean((0, 1)), target.shape)

    def share(learned: float) -> np.ndarray:
        prediction = mean + learned * (target - mean)
        return np.asarray(spectra.missing_share(prediction, target, edges))

    np.testing.assert_allclose(share(0), 1, rtol=1e-4)
    np.testing.assert_allclose(share(1), 0, atol=1e-8)
    np.testing.assert_allclose(share(0.7), 0.09, rtol=1e-3)


def test_the_window_keeps_a_jump_between_borders_out_of_high_frequencies():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None]
    ramp = np.broadcast_to(ramp - 0.5, (64, 64, 1))
    edges = spectra.band_edges(64, 64, 6)
    plain = np.asarray(spectra.band_energy(ramp, edges))
    window = spectra.hann_window(64, 64)
    windowed = np.asarray(spectra.band_energy(window * ramp, edges))
    assert windowed[-1] / windowed[0] < 1e-3 * plain[-1] / plain[0]


def test_learned_amplitudes_are_those_that_were_mixed():
    waves = np.array([[1, 0], [2, 3], [-4, 5]])
    phases = np.array([0.1, 2.0, -1.0])
    target = spectra.sinusoids(24, 20, waves, phases, 0.1)
    single = [
        spectra.sinusoids(24, 20, waves[i : i + 1], phases[i : i + 1], 0.1) - 0.5
        for i in range(3)
    ]
    mixed = 0.3 + 1.0 * single[0] + 0.25 * single[1] - 0.5 * single[2]
    found = spectra.learned_amplitudes(mixed, target, waves)
    np.testing.assert_allclose(found, [1.0, 0.25, -0.5], atol=1e-5)
    # A wave out of phase by a quarter turn is not learned at all.
    turned = spectra.sinusoids(24, 20, waves, phases + np.pi / 2, 0.1)
    found = spectra.learned_amplitudes(turned, target, waves)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_spectra_compose_with_vmap_and_grad():
    target, edges = noise(16, 16, 1), spectra.band_edges(16, 16, 4)

    def total(prediction):
        return jnp.sum(spectra.missing_share(prediction, target, edges))

    batch = jnp.array(noise(3, 16, 16, 1))
    together = jax.jit(jax.vmap(total))(batch)
    np.testing.assert_allclose(together, [total(one) for one in batch], rtol=1e-4)
    assert np.isfinite(jax.grad(total)(batch[0])).all()


# Frequency bands


def test_radii_are_cycles_per_unit_on_each_axis():
    radius = spectra.radii(6, 9)
    assert radius.shape == (6, 9)
    assert radius[0, 0] == 0 and radius[2, 0] == 2 and radius[0, -1] == 1
    assert radius[-1, -2] == pytest.approx(5**0.5)


def test_a_window_has_mean_square_one_and_ends_at_zero():
    window = spectra.hann_window(7, 12)
    assert np.mean(window**2) == pytest.approx(1, rel=1e-6)
    assert np.abs(window[0]).max() == 0 and np.abs(window[:, 0]).max() == 0
    # Raised cosines of one period, written out.
    rows, columns = (1 - np.cos(2 * np.pi * np.arange(n) / n) for n in (7, 12))
    expected = np.outer(rows, columns) / np.sqrt(1.5**2)
    np.testing.assert_allclose(window[..., 0], expected, rtol=1e-5, atol=1e-7)
    # A side of one pixel has nothing to taper.
    assert np.isfinite(spectra.hann_window(1, 9)).all()


@pytest.mark.parametrize("shape", [(64, 64), (31, 31), (24, 57)])
def test_every_mode_from_one_cycle_to_nyquist_is_in_one_band(shape):
    height, width = shape
    edges = spectra.band_edges(height, width, 5)
    index = spectra.band_index(height, width, edges)
    radius = spectra.radii(height, width).ravel()
    inside = (radius >= 1) & (radius <= min(shape) // 2)
    np.testing.assert_array_equal(index < 5, inside)
    assert edges[0] == 1 and edges[-1] == min(shape) // 2
    for mode in np.flatnonzero(inside):
        low, high = edges[index[mode]], edges[index[mode] + 1]
        assert low * (1 - 1e-6) <= radius[mode] <= high * (1 + 1e-6)


def test_a_radius_on_an_edge_is_in_the_band_above():
    # The square root of two is the edge of these bands and the radius of mode (1, 1).
    edges = spectra.band_edges(8, 8, 4)
    np.testing.assert_allclose(edges, np.sqrt([1, 2, 4, 8, 16]))
    index = spectra.band_index(8, 8, edges).reshape(8, 8)
    assert index[1, 1] == 1 and index[0, 2] == 2 and index[2, 2] == 3
    # On either side of what rounding makes of an edge.
    for factor in (1 - 1e-12, 1 + 1e-12):
        moved = spectra.band_index(8, 8, edges * factor).reshape(8, 8)
        np.testing.assert_array_equal(moved, index)


def test_an_image_too_small_for_its_bands_is_refused_with_what_would_do():
    with pytest.raises(ConfigError, match="16x16 pixels is too small for 10") as error:
        spectra.band_edges(16, 16, 10)
    most = int(error.value.hint.split()[2])
    assert len(spectra.band_edges(16, 16, most)) == most + 1
    with pytest.raises(ConfigError):
        spectra.band_edges(16, 16, most + 1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 40)])
def test_an_image_of_no_frequencies_has_no_bands(shape):
    with pytest.raises(ConfigError, match="too small"):
        spectra.band_edges(shape[0], shape[1], 1)


def test_learned_steps_are_the_first_within_the_limit():
    missing = np.array([[1.0, 0.2, 0.9], [0.1, 0.09, 0.8], [0.2, 0.01, 0.5]])
    assert spectra.learned_steps(missing, [1, 2, 4]) == [2, 2, None]


def test_the_highest_learned_frequency_lies_where_the_share_crosses_the_limit():
    edges = 2.0 ** np.arange(5)
    centres = np.sqrt(edges[1:] * edges[:-1])
    # A share that grows as a power of frequency crosses the limit where it does.
    crossing = 5.0
    missing = 0.1 * (centres / crossing) ** 2
    assert spectra.highest_learned(missing, edges) == pytest.approx(crossing)
    assert spectra.highest_learned(np.ones(4), edges) == 0
    assert spectra.highest_learned(np.zeros(4), edges) == 16
    # What lies beyond the first band that is not learned does not count.
    assert spectra.highest_learned(np.array([0.01, 1, 0.01, 0.01]), edges) < 4
