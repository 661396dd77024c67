"""The optimizer against its recurrence by hand; the schedule against its formula."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_inr.config import Config
from jax_inr.optimizers import make_optimizer, make_schedule


def rates(config, steps):
    return np.asarray(jax.jit(jax.vmap(make_schedule(config)))(jnp.asarray(steps)))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_sgd_is_torchs_recurrence(momentum, schedule):
    config = Config(
        learning_rate=0.3,
        momentum=momentum,
        schedule=schedule,
        warmup_steps=2,
        steps=8,
    )
    optimizer, rate = make_optimizer(config), rates(config, np.arange(8))
    params: Any = {"w": jnp.array([1.0, -2.0])}
    state = optimizer.init(params)
    p, m = np.array([1.0, -2.0]), np.zeros(2)
    rng = np.random.default_rng(0)
    for step in range(8):
        g = rng.standard_normal(2)
        updates, state = optimizer.update({"w": jnp.float32(g)}, state, params)
        params = optax.apply_updates(params, updates)
        m = g + momentum * m
        p = p - rate[step] * m
        np.testing.assert_allclose(params["w"], p, rtol=1e-5)


def test_without_momentum_no_momentum_is_kept():
    params = {"w": jnp.zeros(1000)}
    state = make_optimizer(Config(momentum=0.0)).init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 10


def test_a_constant_rate_after_a_linear_warmup():
    config = Config(learning_rate=2.0, warmup_steps=4, steps=10)
    expected = [0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    np.testing.assert_allclose(rates(config, [0, 1, 2, 3, 4, 5, 1000]), expected)
    assert rates(config.replace(warmup_steps=0), [0, 1000]).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("warmup", [0, 10])
def test_a_cosine_goes_from_the_peak_over_half_of_it_to_zero(warmup):
    config = Config(
        learning_rate=3.0, schedule="cosine", warmup_steps=warmup, steps=110 + warmup
    )
    start, middle, end = warmup, warmup + 55, warmup + 110
    values = rates(config, [start, middle, end, end + 5])
    np.testing.assert_allclose(values, [3.0, 1.5, 0.0, 0.0], atol=1e-6)
    every = rates(config, np.arange(start, end + 1))
    expected = 1.5 * (1 + np.cos(np.pi * np.arange(111) / 110))
    np.testing.assert_allclose(every, expected, atol=1e-5)
    if warmup:
        np.testing.assert_allclose(rates(config, [0, 5]), [0.0, 1.5])


def test_a_warmup_longer_than_the_fit_only_climbs():
    config = Config(learning_rate=1.0, schedule="cosine", warmup_steps=50, steps=10)
    np.testing.assert_allclose(
        rates(config, np.arange(10)), np.arange(10) / 50, rtol=1e-5
    )
