"""Learned starts: nearer to like images than the draws they began from."""

import jax
import numpy as np
import pytest

from jax_inr import Config, ConfigError, ImageField, fit, fit_stream
from jax_inr.meta import learn_start, noise_images

CONFIG = Config(
    encoding="none",
    network="siren",
    hidden_features=(8, 8),
    optimizer="adam",
    learning_rate=5e-3,
    steps=10,
)


def family(count: int, seed: int) -> np.ndarray:
    """Images (count, 6, 6, 1) that are alike: one wave of several phases."""
    rows, columns = np.mgrid[0:6, 0:6] / 6
    phase = np.random.default_rng(seed).uniform(0, 1, (count, 1, 1))
    return (0.5 + 0.4 * np.sin(4 * rows + 2 * columns + phase))[..., None]


@pytest.mark.slow_cases("maml")
@pytest.mark.parametrize("method", ["reptile", "maml"])
def test_a_start_is_nearer_to_held_out_images(method, tmp_path):
    told = []
    start = learn_start(
        family(12, 0),
        CONFIG,
        method=method,
        outer_steps=60,
        inner_steps=2,
        images_a_step=3,
        outer_rate=5e-3,
        on_progress=lambda *row: told.append(row),
    )
    assert told[-1][:2] == (60, 60) and told[-1][2] < told[0][2]
    start.save(tmp_path / "start.safetensors")
    held = family(4, 1)
    config = CONFIG.replace(steps=2)
    path = tmp_path / "start.safetensors"
    learned = list(fit_stream(held, config, lanes=2, start=path))
    drawn = list(fit_stream(held, config, lanes=2))
    for a, b in zip(learned, drawn, strict=True):
        assert a.psnr_db > b.psnr_db + 3


def test_the_gradient_of_maml_is_that_of_finite_differences():
    """Through the inner steps, not around them."""
    from jax_inr.job import make_job
    from jax_inr.meta import outer_gradient
    from jax_inr.plan import make_data
    from jax_inr.tasks import from_config
    from jax_inr.trainer import draw_variables

    image = family(1, 0)[0]
    config = CONFIG.replace(optimizer="sgd", momentum=0.0, learning_rate=0.02)
    task = from_config(config, image)
    job = make_job(task, config)
    plan = job.plan()
    variables, key = draw_variables(job.model, np.uint32(0))
    data = make_data(plan, task, variables, job.rates)
    params, values = variables["params"], np.asarray(data.values)[None]

    @jax.jit
    def both(params):
        constants = variables["constants"]
        return outer_gradient(plan, "maml", 3, params, constants, data, values, key)

    gradient, _ = both(params)
    direction = jax.tree.map(lambda leaf: leaf / 100, gradient)
    ahead, behind = (
        both(jax.tree.map(lambda p, d, s=sign: p + s * d, params, direction))[1]
        for sign in (1, -1)
    )
    slope = sum(
        float((g * d).sum())
        for g, d in zip(
            jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True
        )
    )
    # Central differences of float32 losses keep three digits.
    assert (float(ahead) - float(behind)) / 2 == pytest.approx(slope, rel=0.02)


@pytest.mark.slow
def test_a_start_is_an_image_field_that_fits_begin_with(tmp_path):
    start = learn_start(family(3, 0), CONFIG, outer_steps=1, inner_steps=1)
    start.save(tmp_path / "s.safetensors")
    again = ImageField.load(tmp_path / "s.safetensors")
    assert again.config == CONFIG
    first = fit(family(1, 0)[0], CONFIG.replace(steps=0)).field
    assert jax.tree.structure(first.params) == jax.tree.structure(start.params)


def test_noise_has_the_spectrum_of_images():
    noise = noise_images(64, 32, 32, seed=3)
    assert noise.shape == (64, 32, 32, 3) and noise.min() >= 0 and noise.max() <= 1
    power = np.abs(np.fft.fft(noise - noise.mean((1, 2), keepdims=True), axis=1)) ** 2
    power = power.mean((0, 2, 3))
    assert power[1] > 1.5 * power[2] > 2 * power[4]
    assert np.array_equal(noise_images(2, 8, 8, seed=1), noise_images(2, 8, 8, seed=1))


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ([], {}, "the images have 0 shapes"),
        ([np.zeros((4, 4, 1)), np.zeros((5, 4, 1))], {}, "the images have 2 shapes"),
        (family(2, 0), {"inner_steps": 0}, "inner_steps is 0"),
    ],
)
def test_what_cannot_be_is_said(images, options, words):
    with pytest.raises(ConfigError, match=words):
        learn_start(images, CONFIG, **options)
