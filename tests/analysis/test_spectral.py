"""Spectra: Parseval, and pictures whose spectrum is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.analysis import bands, spectral

SHAPES = [(16, 16), (15, 15), (12, 17), (13, 8), (1, 9)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape, np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_parseval_for_odd_and_non_square_sizes(shape, channels):
    picture = noise(*shape, channels)
    energy = np.sum(picture.astype(np.float64) ** 2)
    power = spectral.power_spectrum(picture)
    assert np.sum(np.asarray(power, np.float64)) == pytest.approx(energy, rel=1e-5)
    means, counts = spectral.radial_spectrum(power)
    assert counts.sum() == shape[0] * shape[1]
    rings = np.asarray(means, np.float64) @ counts
    assert rings == pytest.approx(energy, rel=1e-5)


def test_power_is_that_of_the_transform_written_out():
    picture = noise(5, 4, 2).astype(np.float64)
    rows, columns = np.arange(5)[:, None], np.arange(4)
    expected = np.zeros((5, 4))
    for k in range(5):
        for m in range(4):
            wave = np.exp(-2j * np.pi * (k * rows / 5 + m * columns / 4))
            sums = (picture * wave[..., None]).sum((0, 1))
            expected[k, m] = np.sum(np.abs(sums) ** 2) / 20
    np.testing.assert_allclose(
        spectral.power_spectrum(jnp.array(picture)), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("wave", [(3, 0), (0, -5), (4, 4)])
def test_a_sinusoid_is_in_the_band_of_its_radius(wave):
    picture = spectral.sinusoids(32, 40, np.array([wave]), np.array([0.7]), 0.3) - 0.5
    edges = bands.band_edges(32, 40, 5)
    energy = np.asarray(spectral.band_energy(picture, edges))
    band = np.searchsorted(edges, np.hypot(*wave) + 1e-6) - 1
    # The mean square of a cosine of this amplitude, at every pixel.
    assert energy[band] == pytest.approx(0.3**2 / 2 * 32 * 40, rel=1e-4)
    assert np.delete(energy, band).max() < 1e-5


def test_missing_share_is_one_of_nothing_zero_of_all_and_a_square_between():
    target = noise(32, 32, 3)
    edges = bands.band_edges(32, 32, 6)
    mean = np.broadcast_to(target.mean((0, 1)), target.shape)

    def share(learned: float) -> np.ndarray:
        prediction = mean + learned * (target - mean)
        return np.asarray(spectral.missing_share(prediction, target, edges))

    np.testing.assert_allclose(share(0), 1, rtol=1e-4)
    np.testing.assert_allclose(share(1), 0, atol=1e-8)
    np.testing.assert_allclose(share(0.7), 0.09, rtol=1e-3)


def test_the_window_keeps_a_jump_between_borders_out_of_high_frequencies():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None]
    ramp = np.broadcast_to(ramp - 0.5, (64, 64, 1))
    edges = bands.band_edges(64, 64, 6)
    plain = np.asarray(spectral.band_energy(ramp, edges))
    window = bands.hann_window(64, 64)
    windowed = np.asarray(spectral.band_energy(window * ramp, edges))
    assert windowed[-1] / windowed[0] < 1e-3 * plain[-1] / plain[0]


def test_learned_amplitudes_are_those_that_were_mixed():
    waves = np.array([[1, 0], [2, 3], [-4, 5]])
    phases = np.array([0.1, 2.0, -1.0])
    target = spectral.sinusoids(24, 20, waves, phases, 0.1)
    single = [
        spectral.sinusoids(24, 20, waves[i : i + 1], phases[i : i + 1], 0.1) - 0.5
        for i in range(3)
    ]
    mixed = 0.3 + 1.0 * single[0] + 0.25 * single[1] - 0.5 * single[2]
    found = spectral.learned_amplitudes(mixed, target, waves)
    np.testing.assert_allclose(found, [1.0, 0.25, -0.5], atol=1e-5)
    # A wave out of phase by a quarter turn is not learned at all.
    turned = spectral.sinusoids(24, 20, waves, phases + np.pi / 2, 0.1)
    found = spectral.learned_amplitudes(turned, target, waves)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_spectra_compose_with_vmap_and_grad():
    target, edges = noise(16, 16, 1), bands.band_edges(16, 16, 4)

    def total(prediction):
        return jnp.sum(spectral.missing_share(prediction, target, edges))

    batch = jnp.array(noise(3, 16, 16, 1))
    together = jax.jit(jax.vmap(total))(batch)
    np.testing.assert_allclose(together, [total(one) for one in batch], rtol=1e-4)
    assert np.isfinite(jax.grad(total)(batch[0])).all()
