"""fit_many against single fits: the same numbers from one program."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from jax_inr.config import Config
from jax_inr.errors import ConfigError, DivergedError, Interrupted
from jax_inr.fitting import fit, fit_many

QUICK = Config(
    num_frequencies=8, sigma=2.0, hidden_features=(16, 12), learning_rate=0.5, steps=25
)
BATCH = QUICK.replace(batch_size=32, eval_every=10, schedule="cosine")
GRID = BATCH.replace(
    encoding="dense_grid", finest=16, optimizer="adam", sampling="lattice"
).replace(learning_rate=0.01)
SIREN = QUICK.replace(
    network="siren", encoding="none", optimizer="adam", learning_rate=1e-3
)
CNN = Config(
    network="cnn",
    encoding="none",
    hidden_features=(4, 5),
    learning_rate=0.01,
    momentum=0.0,
    steps=5,
)
ALTERNATE = QUICK.replace(train_pixels="alternate")
RANDOM = BATCH.replace(train_pixels="random", steps=12)


def assert_alike(many, single, tolerance=2e-5):
    np.testing.assert_allclose(many.prediction, single.prediction, atol=tolerance)
    assert many.tensors.keys() == single.tensors.keys()
    for name, tensor in single.tensors.items():
        np.testing.assert_allclose(many.tensors[name], tensor, atol=20 * tolerance)
    assert [row["step"] for row in many.rows] == [row["step"] for row in single.rows]
    for one, other in zip(many.rows, single.rows, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["psnr_db"] == pytest.approx(other["psnr_db"], abs=1e-2)
    assert many.summary.keys() == single.summary.keys()
    assert many.header == single.header
    np.testing.assert_allclose(many.field.render(), single.field.render(), atol=1e-4)


@pytest.mark.slow_cases("grid", "siren", "cnn", "alternate", "full")
@pytest.mark.parametrize(
    "config",
    [QUICK, BATCH, GRID, SIREN, CNN, ALTERNATE],
    ids=["full", "batch", "grid", "siren", "cnn", "alternate"],
)
def test_images_give_what_single_fits_give(config, image):
    images = [image, image[::-1].copy(), 1 - image]
    for one, many in zip(images, fit_many(images, config), strict=True):
        assert_alike(many, fit(one, config))


@pytest.mark.slow_cases(
    "config1-seed-values1",
    "config5-scale_0-values5",
    "config0-seed-values0",
    "config4-omega_0-values4",
    "config3-learning_rate-values3",
)
@pytest.mark.parametrize(
    ("config", "name", "values"),
    [
        (BATCH, "seed", (0, 1, 5)),
        (RANDOM, "seed", (0, 1)),
        (QUICK, "sigma", (1.0, 2.0, 4.0)),
        (BATCH, "learning_rate", (0.1, 0.5)),
        (SIREN, "omega_0", (10.0, 30.0)),
        (QUICK.replace(network="gauss", encoding="none"), "scale_0", (1.0, 3.0)),
    ],
)
def test_a_sweep_gives_what_single_fits_give(config, name, values, image):
    configs = [config.replace(**{name: value}) for value in values]
    results = fit_many([image], configs)
    for one, many in zip(configs, results, strict=True):
        assert many.header["config"] == one.to_dict()
        assert_alike(many, fit(image, one))
    first, last = results[0].prediction, results[-1].prediction
    assert np.abs(first - last).max() > 1e-4


def test_a_fit_that_diverges_keeps_its_last_good_state_and_stops_no_other(image):
    linear = SIREN.replace(optimizer="sgd", steps=60, eval_every=5)
    configs = [linear.replace(learning_rate=rate) for rate in (1e-3, 1e6)]
    many = fit_many([image], configs)
    good, bad = many
    assert isinstance(many.failures["1"], DivergedError) and {*many.failures} == {"1"}
    assert good.summary["stopped"] == "steps"
    assert_alike(good, fit(image, configs[0]))
    assert bad.summary["stopped"] == "diverged"
    assert all(np.isfinite(tensor).all() for tensor in bad.tensors.values())


@pytest.mark.slow
def test_fits_of_any_structure_go_together(image):
    """Other shapes, networks, steps and rules: each result is that of a single fit."""
    images = [image, image[:, :16], image, image]
    configs = [QUICK, QUICK, SIREN, QUICK.replace(target_psnr=12.0)]
    for given, config, many in zip(
        images, configs, fit_many(images, configs), strict=True
    ):
        assert_alike(many, fit(given, config))
        assert many.stopped == fit(given, config).stopped


def test_a_lane_that_has_its_target_stops_and_the_others_go_on(image):
    configs = [QUICK.replace(target_psnr=target, eval_every=1) for target in (9, 99)]
    first, last = fit_many([image], [*configs, QUICK])[:2]
    assert first.stopped == "target_psnr" and first.psnr_db >= 9
    assert last.stopped == "steps" and last.steps == 25 > first.steps


def test_the_stacked_field_is_every_field(image):
    many = fit_many([image], [QUICK.replace(seed=seed) for seed in range(3)])
    coords = jnp.asarray(np.random.default_rng(0).random((5, 2)), jnp.float32)
    together = jax.jit(jax.vmap(lambda field: field.apply(field.params, coords)))
    found = together(many.stacked)
    for values, one in zip(found, many, strict=True):
        np.testing.assert_allclose(values, one.field(coords), atol=1e-5)
    with pytest.raises(ValueError):
        _ = fit_many([image], [QUICK, SIREN]).stacked


def test_what_does_not_go_together_is_refused(image):
    with pytest.raises(ConfigError, match="2 images do not go with 3 configs"):
        fit_many([image] * 2, [QUICK] * 3)
    with pytest.raises(ConfigError, match="no image"):
        fit_many([], QUICK)
    with pytest.raises(ConfigError, match=r"2 names, 1 different.* 2 fits"):
        fit_many([image], [QUICK] * 2, names=["a", "a"])


@pytest.mark.slow
def test_a_batch_killed_in_the_middle_goes_on_byte_for_byte(image, tmp_path):
    configs = [BATCH.replace(seed=seed, steps=30) for seed in range(8)]
    fit_many([image], configs, out=tmp_path / "through")
    told = []
    with pytest.raises(Interrupted) as caught:
        fit_many(
            [image],
            configs,
            out=tmp_path / "killed",
            on_progress=told.append,
            stop=lambda: "SIGTERM" if told and told[-1].step >= 11 else "",
        )
    stopped_at = told[-1].step
    assert 11 <= stopped_at < 30 and len(caught.value.fits) == 8
    told.clear()
    again = fit_many([image], configs, out=tmp_path / "killed", on_progress=told.append)
    # It goes on where it stopped, and not from the start.
    assert told[0].step > stopped_at and [one.steps for one in again] == [30] * 8
    through, killed = (
        [(tmp_path / run / str(i) / "field.safetensors").read_bytes() for i in range(8)]
        for run in ("through", "killed")
    )
    assert killed == through
    # Bytes can differ: those of another seed do.
    assert len({*through}) == 8


DEVICES = """
import json, sys
import jax, numpy as np
from jax_inr import Config, fit_many
config = Config.from_dict(json.loads(sys.argv[1]))
image = np.load(sys.argv[2])
results = fit_many([image], [config.replace(seed=seed) for seed in range(5)])
np.save(sys.argv[3], np.stack([one.prediction for one in results]))
print(len(jax.devices()))
"""


@pytest.mark.slow
def test_fits_are_shared_by_all_devices(image, tmp_path):
    """Five fits over three devices: padded, and the same numbers as on one."""
    np.save(tmp_path / "image.npy", image)
    words = [json.dumps(BATCH.to_dict()), tmp_path / "image.npy", tmp_path / "out.npy"]
    flags = "--xla_force_host_platform_device_count=3"
    result = subprocess.run(
        [sys.executable, "-c", DEVICES, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "3"
    expected = fit_many([image], [BATCH.replace(seed=seed) for seed in range(5)])
    found = np.load(tmp_path / "out.npy")
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one.prediction, atol=2e-5)
