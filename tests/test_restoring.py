"""restore(): blind rules, ensembles, and resuming in the middle."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.config import Config
from jax_inr.errors import ConfigError, Interrupted
from jax_inr.restoring import Settings, best_step, calibration, kept_mask, restore
from jax_inr.tasks import (
    Penalty,
    Task,
    TotalVariation,
    deblur,
    denoise,
    from_gradients,
    from_laplacian,
    inpaint,
    measure,
    poisson_edit,
    superresolve,
    tomography,
    weight_decay,
)

SIDE = 8
CONFIG = Config(
    num_frequencies=8,
    sigma=1.0,
    hidden_features=(16,),
    activation="gelu",
    optimizer="adam",
    learning_rate=0.02,
    steps=12,
    eval_every=4,
)


def smooth(channels: int = 1) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    image = 0.5 + 0.3 * np.sin(5 * rows + 3 * columns)
    return np.stack([image] * channels, axis=-1).astype(np.float32)


def mean_of_row(field: Any, row: Any) -> Any:
    columns = jnp.arange(SIDE) / SIDE
    points = jnp.stack([jnp.full(SIDE, row), columns], axis=-1)
    return jax.vmap(field)(points).mean(axis=0)


def tasks_of(image: np.ndarray) -> dict[str, Any]:
    mask = np.arange(SIDE**2).reshape(SIDE, SIDE) % 3 > 0
    inside = np.zeros((SIDE, SIDE), bool)
    inside[2:5, 3:6] = True
    gradients, laplacian = measure.gradients(image), measure.laplacian(image)
    tv = (Penalty(TotalVariation(SIDE, SIDE), 0.01, 4),)
    tv += (Penalty(weight_decay, 1e-4, None),)
    return {
        "inpaint": inpaint(image, mask).replace(penalties=tv),
        "superresolve": superresolve(measure.downsample(image, 2), 2),
        "bicubic": superresolve(measure.downsample(image, 2), 2, "bicubic"),
        "deblur": deblur(image, np.ones((3, 3))),
        "denoise": denoise(image, "poisson"),
        "gradients": from_gradients(*gradients),
        "differences": from_gradients(*gradients, "difference"),
        "laplacian": from_laplacian(laplacian),
        "five points": from_laplacian(laplacian, "difference"),
        "weighted": denoise(image).replace(weights=np.arange(SIDE**2, dtype=float)),
        "clone": poisson_edit(image, image[::-1], inside),
        "tomography": tomography(measure.radon(image, np.arange(3.0)), np.arange(3.0)),
        "own": Task(
            items=np.arange(SIDE) / np.float32(SIDE),
            values=image.mean(axis=1),
            predict=mean_of_row,
            shape=image.shape,
        ),
    }


class Untouchable:
    """A truth that says so when anything of it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the truth was asked for {name}")

    def __array__(self, *args: Any) -> Any:
        raise AssertionError("the truth was read")


@pytest.mark.slow_cases("last")
@pytest.mark.parametrize("rule", ["last", "discrepancy", "held_out"])
def test_no_rule_reads_the_truth(rule):
    task = tasks_of(smooth())["inpaint"].replace(image=Untouchable())
    settings = Settings(config=CONFIG, rule=rule, noise_sigma=0.05, patience_steps=4)
    restored = restore(task, settings)
    assert restored.summary["rule"] == rule
    assert np.isfinite(restored.image).all()


def test_the_discrepancy_principle_stops_at_the_noise():
    """Below it the field would explain noise: it ends at the first such evaluation."""
    image = smooth() + 0.1 * np.random.default_rng(0).standard_normal((SIDE, SIDE, 1))
    task = denoise(image.astype(np.float32))
    config = CONFIG.replace(steps=300, eval_every=5)
    settings = Settings(config=config, rule="discrepancy", noise_sigma=0.1)
    restored = restore(task, settings)
    (fit,) = restored.fits
    assert fit.stopped == "target_psnr" and 5 < restored.summary["step"] < 300
    errors = [10 ** (-row["psnr_db"] / 10) for row in fit.rows]
    assert errors[-1] <= 0.1**2 < min(errors[:-1])


def test_held_out_measurements_say_how_many_steps_are_best():
    """Pure noise has nothing to learn: what is held out gets worse from early on."""
    noise = 0.5 + 0.2 * np.random.default_rng(1).standard_normal((SIDE, SIDE, 1))
    task = denoise(noise.astype(np.float32))
    config = CONFIG.replace(sigma=4.0, steps=400, eval_every=10)
    settings = Settings(config=config, rule="held_out", patience_steps=50)
    step = best_step(task, settings, 0, None)
    assert step < 200
    restored = restore(task, settings)
    assert restored.summary["step"] == step
    # All measurements are fitted in the end, the held-out ones too.
    assert restored.fits[0].summary["steps"] == step


def test_the_held_out_share_is_drawn_from_the_seed_alone():
    kept = kept_mask(200, 0.1, 3)
    assert (~kept).sum() == 20
    np.testing.assert_array_equal(kept, kept_mask(200, 0.1, 3))
    assert (kept != kept_mask(200, 0.1, 4)).any()


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_its_fields_and_their_deviation():
    task = tasks_of(smooth())["inpaint"]
    settings = Settings(config=CONFIG, doubt_scale=2.0)
    restored = restore(task, settings, seeds=(3, 4, 5))
    each = [restore(task, settings, seeds=(seed,)) for seed in (3, 4, 5)]
    images = np.stack([one.image for one in each])
    np.testing.assert_allclose(restored.image, images.mean(0), rtol=0, atol=1e-5)
    expected = 2 * images.std(axis=0, ddof=1)
    np.testing.assert_allclose(restored.doubt, expected, rtol=0, atol=1e-5)
    assert np.isnan(each[0].doubt).all()


def test_calibration_counts_the_truth_and_finds_the_scale_of_gaussian_doubt():
    random = np.random.default_rng(0)
    truth, doubt = random.random(100_000), random.uniform(0.1, 0.3, 100_000)
    image = truth + doubt * random.standard_normal(100_000)
    found = calibration(image, doubt / 3, truth)
    np.testing.assert_allclose(found["scale"], 3, rtol=0.02)
    found = calibration(image, doubt, truth)
    np.testing.assert_allclose(found["within_1"], 0.6827, atol=0.01)
    np.testing.assert_allclose(found["within_2"], 0.9545, atol=0.01)


@pytest.mark.slow_cases(
    "laplacian",
    "gradients",
    "clone",
    "superresolve",
    "deblur",
    "differences",
    "five points",
    "denoise",
    "own",
    "bicubic",
    "weighted",
)
@pytest.mark.parametrize("name", tasks_of(smooth()))
def test_resuming_in_the_middle_of_a_task_is_byte_equal(name, tmp_path):
    task = tasks_of(smooth())[name]
    settings = Settings(config=CONFIG.replace(batch_size=3))
    # A few steps may make a fit worse, which is no matter here.
    quiet: Any = {"on_notice": lambda text: None}
    whole = restore(task, settings, **quiet)
    polls = iter(range(100))

    def stop() -> str:
        return "SIGTERM" if next(polls) == 2 else ""

    out = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        restore(task, settings, out=out, stop=stop, **quiet)
    (part,) = caught.value.fits
    assert 0 < part.steps < CONFIG.steps
    again = restore(task, settings, out=out, **quiet)
    np.testing.assert_array_equal(again.image, whole.image)
    for key, tensor in whole.fits[0].tensors.items():
        np.testing.assert_array_equal(again.fits[0].tensors[key], tensor)


def test_a_search_for_the_best_step_goes_on_in_the_middle(tmp_path):
    task = tasks_of(smooth())["inpaint"]
    settings = Settings(config=CONFIG, rule="held_out", patience_steps=100)
    whole = restore(task, settings)
    polls = iter(range(100))

    def stop() -> str:
        return "SIGTERM" if next(polls) == 2 else ""

    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        restore(task, settings, out=out, stop=stop)
    again = restore(task, settings, out=out)
    np.testing.assert_array_equal(again.image, whole.image)
    assert again.summary["step"] == whole.summary["step"]


def test_settings_that_cannot_be_are_refused_with_their_numbers():
    with pytest.raises(ConfigError, match="noise_sigma is None"):
        Settings(config=CONFIG, rule="discrepancy")
    with pytest.raises(ConfigError, match="held_out_share is 1"):
        Settings(config=CONFIG, held_out_share=1.0)
    with pytest.raises(ConfigError, match="1 of 1 measurements"):
        kept_mask(1, 0.5, 0)
    with pytest.raises(ConfigError, match="no seed"):
        restore(tasks_of(smooth())["inpaint"], Settings(config=CONFIG), seeds=())
