"""Features of coordinates against float64, and their frequencies' distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.encodings import (
    Basic,
    Gaussian,
    Identity,
    Periodic,
    PixelIndices,
    Positional,
    basic_frequencies,
    fourier_features,
    from_config,
    gaussian_frequencies,
    periodic_frequencies,
    positional_frequencies,
)

COORDS = pixel_grid(12, 17)


@pytest.mark.parametrize(
    ("fields", "encoding"),
    [
        ({"encoding": "gaussian"}, Gaussian(8, 3.0, False)),
        ({"encoding": "trainable"}, Gaussian(8, 3.0, True)),
        ({"encoding": "periodic"}, Periodic(8, 3.0)),
        ({"encoding": "positional"}, Positional(8, 5.0)),
        ({"encoding": "basic"}, Basic()),
        ({"encoding": "none"}, Identity(centred=False)),
        ({"encoding": "none", "network": "siren"}, Identity(centred=True)),
        ({"encoding": "none", "network": "cnn"}, PixelIndices(6, 9)),
    ],
)
def test_a_config_names_its_encoding(fields, encoding):
    config = Config(num_frequencies=8, sigma=3.0, octaves=5.0, **fields)
    assert from_config(config, 6, 9) == encoding


def test_features_agree_with_float64(key):
    frequencies = gaussian_frequencies(key, 32, 10.0)
    x, b = COORDS.astype(np.float64), np.asarray(frequencies, np.float64)
    phases = 2 * np.pi * (x @ b)
    expected = np.concatenate([np.sin(phases), np.cos(phases)], -1)
    features = fourier_features(jnp.asarray(COORDS), frequencies)
    assert features.shape == (12, 17, 64) and features.dtype == jnp.float32
    # Two products, a sum, a rounded 2 pi and its product round by half an ulp of at
    # most 2 pi (|x0 b0| + |x1 b1|) each; sine and cosine by at most two ulps of one.
    largest = np.concatenate([2 * np.pi * (np.abs(x) @ np.abs(b))] * 2, -1)
    assert (np.abs(features - expected) <= 2.0**-24 * (5 * largest + 4)).all()


def test_sine_and_cosine_of_a_frequency_lie_on_the_circle(key):
    features = fourier_features(jnp.asarray(COORDS), gaussian_frequencies(key, 9, 20.0))
    sines, cosines = features[..., :9], features[..., 9:]
    np.testing.assert_allclose(sines**2 + cosines**2, 1, atol=5e-7)


def test_the_basic_encoding_has_one_cycle_per_axis():
    features = fourier_features(jnp.asarray(COORDS), basic_frequencies())
    turns = 2 * np.pi * COORDS.astype(np.float64)
    expected = np.concatenate([np.sin(turns), np.cos(turns)], -1)
    np.testing.assert_allclose(features, expected, atol=2e-6)


def test_one_pixel_a_batch_and_a_vmap_are_the_same(key):
    coords, b = jnp.asarray(COORDS.reshape(-1, 2)), gaussian_frequencies(key, 16, 10.0)
    batch = fourier_features(coords, b)
    mapped = jax.vmap(fourier_features, (0, None))(coords, b)
    alone = jnp.stack([fourier_features(coords[i], b) for i in (0, 40, 203)])
    # Phases reach 200: half an ulp there is 8e-6.
    np.testing.assert_allclose(mapped, batch, atol=2e-5)
    np.testing.assert_allclose(alone, batch[jnp.array([0, 40, 203])], atol=2e-5)


def test_frequencies_are_normal_with_standard_deviation_sigma(key):
    draw = np.asarray(gaussian_frequencies(key, 5000, 10.0))
    assert draw.shape == (2, 5000) and draw.dtype == np.float32
    assert scipy.stats.kstest(draw.ravel() / 10.0, "norm").pvalue > 1e-3
    # Rows and columns are drawn apart.
    assert abs(np.corrcoef(draw)[0, 1]) < 5 / np.sqrt(5000)


def test_sigma_scales_one_draw_and_may_be_traced(key):
    one = gaussian_frequencies(key, 8, 1.0)
    traced = jax.jit(lambda sigma: gaussian_frequencies(key, 8, sigma))
    np.testing.assert_array_equal(traced(jnp.float32(4.0)), 4 * one)


def test_phases_are_float32_whatever_the_default_precision():
    # The CPU has no faster product to choose, so the program is read instead.
    with jax.default_matmul_precision("bfloat16"):
        program = jax.make_jaxpr(fourier_features)(COORDS, np.ones((2, 4), np.float32))
    products = [eqn for eqn in program.eqns if eqn.primitive.name == "dot_general"]
    highest = jax.lax.Precision.HIGHEST
    assert [eqn.params["precision"] for eqn in products] == [(highest, highest)]


@pytest.mark.parametrize("point", [(0.0, 0.0), (0.5, 0.25), (-3.0, 7.0)])
def test_gradients_follow_the_formula(key, point):
    b = gaussian_frequencies(key, 4, 1.0)
    jacobian = jax.jacobian(fourier_features)(jnp.array(point), b)
    phases = 2 * np.pi * (np.array(point) @ np.asarray(b, np.float64))
    outer = np.concatenate([np.cos(phases), -np.sin(phases)])
    expected = 2 * np.pi * outer[:, None] * np.concatenate([b.T, b.T])
    np.testing.assert_allclose(jacobian, expected, atol=2e-4)


def test_positional_frequencies_are_log_linear_along_each_axis():
    frequencies = np.asarray(positional_frequencies(8, 6.0))
    expected = 2 ** np.array([0.0, 2.0, 4.0, 6.0]) - 1
    np.testing.assert_allclose(frequencies[0], [*expected, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(frequencies[1], [0, 0, 0, 0, *expected], rtol=1e-6)


@pytest.mark.parametrize(("count", "sigma"), [(128, 10.0), (7, 1e-3), (1000, 2.0)])
def test_periodic_frequencies_are_different_whole_numbers(key, count, sigma):
    frequencies = np.asarray(periodic_frequencies(key, count, sigma))
    assert frequencies.shape == (2, count)
    assert (frequencies == np.round(frequencies)).all()
    both = np.concatenate([frequencies, -frequencies], axis=1)
    zeros = (frequencies == 0).all(axis=0).sum()
    assert len(np.unique(both, axis=1).T) == 2 * count - zeros


def test_few_periodic_frequencies_spread_as_the_gaussian(key):
    keys = jax.random.split(key, 200)
    draws = jax.vmap(lambda k: periodic_frequencies(k, 16, 10.0))(keys)
    # About zero: half of the lattice stands for all of it.
    np.testing.assert_allclose(np.mean(draws**2) ** 0.5, 10.0, rtol=0.05)


def test_many_periodic_frequencies_fill_the_middle_of_the_lattice(key):
    frequencies = np.asarray(periodic_frequencies(key, 400, 3.0))
    have = {tuple(column) for column in frequencies.T}
    middle = [(r, c) for r in range(1, 4) for c in range(-3, 4)]
    assert have.issuperset(middle)
