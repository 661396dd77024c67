"""Sigma and omega_0 by themselves: spectra, their distance, and what is found."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jax_inr
from jax_inr import Config, ConfigError, spectrum
from jax_inr.conflicts import MAX_PERIODIC_SIGMA
from jax_inr.io.images import sample_image
from jax_inr.model import make_model
from jax_inr.rendering import render
from jax_inr.splits import train_mask

SMALL = Config(num_frequencies=64, hidden_features=(16, 16), steps=2, eval_every=2)
AUTO = SMALL.replace(sigma="auto")
CAT = sample_image(size=64).image


def drawn(config, height=96, width=64, seed=7):
    """An untrained field's colours: an image of which the answer is known."""
    model = make_model(config, height, width, 3)
    return render(model, model.init(jax.random.key(seed)), height, width)


@pytest.mark.parametrize("cycles", [3, 10, 25])
def test_a_wave_has_its_power_at_its_cycles(cycles):
    wave = np.cos(2 * np.pi * cycles * np.arange(64) / 64)[:, None]
    power = spectrum.line_spectrum(wave)
    assert power.shape == (32,) and power.argmax() == cycles - 1
    # Hann's window spreads it to the neighbours, and no farther.
    assert power[cycles - 2 : cycles + 1].sum() > 0.999 * power.sum()


def test_power_is_the_variance_of_noise_and_knows_no_mean():
    noise = np.random.default_rng(0).normal(5.0, 0.3, (4000, 32, 2))
    power = spectrum.line_spectrum(noise)
    # The first mode lost a part to the mean, and the last one has no partner.
    assert power[1:-1] == pytest.approx(np.full(14, 0.09), rel=0.05)
    assert spectrum.line_spectrum(noise + 2) == pytest.approx(power)
    assert spectrum.line_spectrum(np.full((3, 32, 1), 0.7)) == pytest.approx(0)
    assert spectrum.line_spectrum(np.ones((3, 1, 1))).shape == (0,)


def test_the_jump_between_a_lines_ends_is_no_frequency():
    power = spectrum.line_spectrum(np.linspace(0, 1, 64)[:, None])
    assert power[8:].sum() < 1e-3 * power.sum()


spectra = st.lists(st.floats(0.01, 10), min_size=8, max_size=8).map(np.array)


@given(spectra, spectra, spectra, st.floats(0.01, 100))
def test_the_distance_is_one_of_shapes(one, other, third, factor):
    distance = spectrum.distance
    assert distance(one, one) == 0
    assert distance(one, factor * other) == pytest.approx(distance(other, one))
    assert distance(one, third) <= distance(one, other) + distance(other, third) + 1e-9


def test_the_distance_is_that_of_the_way():
    """Wasserstein's: all power, moved by k of r modes, is at a distance of k/r."""
    waves = np.eye(10)
    assert [spectrum.distance(waves[0], wave) for wave in waves] == pytest.approx(
        np.arange(10) / 10
    )


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_an_untrained_field_has_its_own_sigma(sigma):
    image = drawn(SMALL.replace(sigma=sigma))
    found, is_seen = spectrum.find(SMALL, "sigma", image)
    # Neighbours among the values that are tried are a factor of 1.38 apart.
    assert is_seen and sigma / 1.5 < found < sigma * 1.5


@pytest.mark.parametrize("network", ["siren", "finer"])
def test_an_untrained_field_has_its_own_omega_0(network):
    config = SMALL.replace(encoding="none", network=network)
    for omega_0 in (20.0, 60.0):
        image = drawn(config.replace(omega_0=omega_0))
        found, _ = spectrum.find(config, "omega_0", image)
        assert omega_0 / 1.5 < found < omega_0 * 1.5


def test_a_finer_image_has_a_larger_sigma():
    found = [
        spectrum.find(SMALL, "sigma", np.tile(CAT, (count, count, 1)))[0]
        for count in (1, 2, 4)
    ]
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("train_pixels", ["alternate", "random"])
def test_no_held_out_pixel_is_looked_at(train_pixels):
    config = SMALL.replace(train_pixels=train_pixels)
    mask = train_mask(config, 64, 64)
    noise = np.random.default_rng(1).random(CAT.shape, np.float32)
    changed = np.where(mask[..., None], CAT, noise)
    assert spectrum.find(config, "sigma", changed) == spectrum.find(
        config, "sigma", CAT
    )
    assert spectrum.find(config, "sigma", noise) != spectrum.find(config, "sigma", CAT)


def test_places_are_the_trained_pixels():
    rows = np.broadcast_to(np.arange(100.0)[:, None, None], (100, 40, 1))
    stride, (along, across) = spectrum.image_lines(rows, np.ones((100, 40), bool))
    assert stride == 1 and along.shape == (100, 40, 1) and across.shape == (40, 64, 1)
    mask = train_mask(Config(train_pixels="alternate"), 100, 40)
    stride, (along, across) = spectrum.image_lines(rows, mask)
    assert stride == 2 and across.shape == (20, 50, 1)
    assert (across == np.arange(0, 100, 2)[:, None]).all()
    assert (along == along[:, :1]).all()


@pytest.mark.parametrize("encoding", ["periodic", "trainable"])
def test_encodings_of_the_same_frequencies_find_the_same(encoding):
    other = SMALL.replace(encoding=encoding)
    assert spectrum.find(other, "sigma", CAT) == spectrum.find(SMALL, "sigma", CAT)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 1), (3, 1, 3), (9, 8, 1)])
def test_an_image_without_a_spectrum_takes_the_smallest(shape):
    grey = np.full(shape, 0.4, np.float32)
    config, (notice,) = spectrum.resolved(AUTO, grey)
    least = spectrum.tried("sigma", max(shape[:2]))[0]
    assert config.sigma == pytest.approx(least, rel=0.05)
    assert "the smallest tried" in notice


@pytest.mark.parametrize("shape", [(1, 40, 3), (40, 1, 1), (5, 4, 1), (2, 2, 3)])
def test_a_narrow_image_has_a_number(shape):
    image = np.random.default_rng(0).random(shape, np.float32)
    config, _ = spectrum.resolved(AUTO, image)
    assert 0 < config.number("sigma") <= max(shape) / 2


def test_values_stay_in_the_fields_range():
    for name in ("sigma", "omega_0"):
        for places in (1, 65_535):
            for value in spectrum.tried(name, places)[[0, -1]]:
                Config().replace(**{name: float(value)})
    noise = np.random.default_rng(0).random((1024, 8, 1), np.float32)
    periodic, _ = spectrum.resolved(AUTO.replace(encoding="periodic"), noise)
    assert periodic.number("sigma") <= MAX_PERIODIC_SIGMA


def test_both_are_found_and_no_seed_changes_them():
    config = AUTO.replace(network="siren", omega_0="auto")
    found, notices = spectrum.resolved(config, CAT)
    assert [notice.split(" is ")[0] for notice in notices] == ["sigma", "omega_0"]
    other, _ = spectrum.resolved(config.replace(seed=5), CAT)
    assert other == found.replace(seed=5)
    assert spectrum.resolved(found, CAT) == (found, ())


# In a fit


@pytest.mark.slow
def test_a_fit_keeps_the_number_and_says_it(tmp_path):
    notices = []
    out = tmp_path / "run"
    config = AUTO.replace(steps=4, schedule="constant")
    fit = jax_inr.fit(CAT, config, out=out, on_notice=notices.append)
    number = spectrum.find(SMALL, "sigma", CAT)[0]
    assert fit.header["config"]["sigma"] == number
    assert notices == [f"sigma is {number:g}, by the image's spectrum"]
    same = jax_inr.fit(CAT, config, out=out)
    assert same.psnr_db == fit.psnr_db
    more = jax_inr.resume(out, steps=6)
    assert more.header["config"]["sigma"] == number
    given = jax_inr.fit(CAT, config.replace(sigma=number, steps=6))
    assert given.prediction.tobytes() == more.prediction.tobytes()


def test_each_of_many_images_has_its_own():
    finer = np.tile(CAT, (2, 2, 1))[:64, :64].copy()
    finer[::2] = 0
    fits = jax_inr.fit_many([CAT, finer], AUTO, on_notice=lambda text: None)
    one, other = (fit.header["config"]["sigma"] for fit in fits)
    assert one < other


@pytest.mark.slow
@pytest.mark.torch
def test_the_reference_takes_the_same_number():
    config = AUTO.replace(hidden_features=(4,), steps=1, eval_every=1)
    fits = [
        jax_inr.fit(CAT, config, backend=backend, on_notice=lambda text: None)
        for backend in ("jax", "torch")
    ]
    assert len({fit.header["config"]["sigma"] for fit in fits}) == 1


def test_what_has_none_is_refused_in_a_line():
    with pytest.raises(ConfigError, match="sigma is auto, and encoding pyramid has"):
        jax_inr.preset("fast").replace(sigma="auto")
    with pytest.raises(ConfigError, match="omega_0 is auto, and network mlp has none"):
        Config(omega_0="auto")
    with pytest.raises(ConfigError, match="sigma is 'best'; it must be a number, or"):
        Config().replace(sigma="best")
    with pytest.raises(ConfigError, match="your encoding"):
        jax_inr.fit(CAT, AUTO, encoding=jax_inr.Gaussian(8, 2.0))
    with pytest.raises(ConfigError, match="sigma is auto, and is found for an image"):
        jax_inr.fit(jax_inr.inpaint(CAT, CAT[..., 0] > 0.3), AUTO)
    with pytest.raises(ConfigError, match="sigma is auto, and is found for an image"):
        make_model(AUTO, 8, 8, 3)
