"""What is compiled follows from structure: another number compiles nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compilations

from jax_inr.fitting import fit, fit_many
from jax_inr.presets import preset

TINY: dict[str, Any] = {"hidden_features": (8, 6), "steps": 6, "eval_every": 2}
IMAGE = np.random.default_rng(0).random((7, 9, 3), dtype=np.float32)
CONFIGS = {
    "fourier": preset("fourier").replace(num_frequencies=8, **TINY),
    "default": preset("default").replace(num_frequencies=8, batch_size=8, **TINY),
    "fast": preset("fast").replace(finest=16, batch_size=8, **TINY),
    "quality": preset("quality").replace(num_frequencies=8, batch_size=8, **TINY),
    "cnn": preset("cnn").replace(**TINY),
}
# Numbers that a fit computes with, its rules for stopping, its label.
CHANGES: list[dict[str, Any]] = [
    {"seed": 5},
    {"learning_rate": 1e-3},
    {"sigma": 3.0},
    {"omega_0": 20.0},
    {"steps": 9},
    {"warmup_steps": 4},
    {"target_psnr": 60.0},
    {"max_seconds": 100.0},
    {"eval_every": 3},
    {"preset": "mine"},
]


def unheard(notice):
    """Take a notice: six steps may well end worse than they began."""


def test_compilations_are_counted():
    with compilations() as count:
        jax.jit(lambda x: x + 12.5)(jnp.float32(1)).block_until_ready()
    assert count[0] >= 1


@pytest.mark.slow_cases("fast", "cnn", "quality", "fourier")
@pytest.mark.parametrize("name", CONFIGS)
def test_another_number_compiles_nothing(name):
    config = CONFIGS[name]
    fit(IMAGE, config, on_notice=unheard)
    compiled = {}
    for changes in CHANGES:
        with compilations() as count:
            fit(IMAGE, config.replace(**changes), on_notice=unheard)
        compiled[str(changes)] = count[0]
    assert {what: count for what, count in compiled.items() if count} == {}


@pytest.mark.slow_cases("quality")
@pytest.mark.parametrize("name", ["default", "quality"])
def test_many_fits_with_other_numbers_compile_nothing(name):
    config = CONFIGS[name]
    fit_many(IMAGE, [config, config.replace(seed=1)], on_notice=unheard)
    others = [
        config.replace(seed=4, learning_rate=1e-3, steps=5),
        config.replace(seed=5, target_psnr=50.0),
    ]
    with compilations() as count:
        fit_many(1 - IMAGE, others, on_notice=unheard)
    assert count == [0]
