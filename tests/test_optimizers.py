"""The optimizer against its recurrence by hand; the schedule against its formula."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.config import Config, Optimizer
from jax_inr.optimizers import Rates, from_config, learning_rate


def make_optimizer(config):
    """The optax transformation of a config."""
    optimizer, numbers = from_config(config)
    return optimizer.make(numbers)


def rates(config, steps):
    """The learning rates of steps, compiled, the rates being arguments."""
    optimizer, numbers = from_config(config)
    steps = jnp.asarray(steps)
    compiled = jax.jit(jax.vmap(optimizer.learning_rate, (None, 0)))
    return np.asarray(compiled(jax.tree.map(jnp.float32, numbers), steps))


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


PARAMS: Any = {
    "dense_0": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)},
    "dense_1": {"kernel": jnp.ones((6, 5)), "bias": jnp.ones(5)},
    "dense_10": {"kernel": jnp.ones((5, 3)), "bias": jnp.ones(3)},
    "grid_0": jnp.ones((3, 3, 2)),
    "frequencies": jnp.ones((2, 8)),
}


def grads_of(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.float32(rng.standard_normal(p.shape)), PARAMS)


def test_adam_is_its_recurrence():
    config = Config(optimizer="adam", learning_rate=0.1, beta2=0.9)
    optimizer = make_optimizer(config)
    params: Any = PARAMS
    state = optimizer.init(PARAMS)
    p, m, v = np.ones((4, 6)), 0.0, 0.0
    for step in range(1, 5):
        grads = grads_of(step)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        g = np.asarray(grads["dense_0"]["kernel"], np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * g**2
        mean, square = m / (1 - 0.9**step), v / (1 - 0.9**step)
        p = p - 0.1 * mean / (np.sqrt(square) + 1e-8)
    np.testing.assert_allclose(params["dense_0"]["kernel"], p, rtol=1e-4)


def test_muon_orthogonalises_hidden_matrices_and_nothing_else():
    config = Config(optimizer="muon", learning_rate=0.1)
    optimizer = make_optimizer(config)
    grads = grads_of(0)
    updates: Any = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)[0]
    for name in ("dense_0", "dense_1"):
        update = np.asarray(updates[name]["kernel"])
        size = 0.1 * 0.2 * max(update.shape) ** 0.5
        # Five Newton-Schulz steps bring singular values to about one, not closer.
        singular = np.linalg.svd(update / size, compute_uv=False)
        assert (singular > 0.6).all() and (singular < 1.3).all()
        assert (update * np.asarray(grads[name]["kernel"])).sum() < 0
    # Adam's first step is the sign of the gradient; muon's has nesterov's two terms.
    for update, grad in (
        (updates["dense_10"]["kernel"], grads["dense_10"]["kernel"]),
        (updates["dense_0"]["bias"], grads["dense_0"]["bias"]),
        (updates["grid_0"], grads["grid_0"]),
        (updates["frequencies"], grads["frequencies"]),
    ):
        np.testing.assert_array_equal(np.sign(update), -np.sign(grad))
        sizes = np.abs(update)
        np.testing.assert_allclose(sizes, sizes.max(), rtol=1e-3)


@pytest.mark.slow_cases("lbfgs")
@pytest.mark.parametrize("name", get_args(Optimizer))
def test_every_optimizer_goes_down_a_bowl(name):
    config = Config(optimizer=name, learning_rate=0.02, momentum=0.5)
    optimizer = make_optimizer(config)

    def loss(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(
            grads, state, params, value=value, grad=grads, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(100):
        params, state = step(params, state)
    assert loss(params) < 0.8 * loss(PARAMS)


@given(
    peak=st.floats(2**-20, 1e3, width=32),
    warmup=st.integers(0, 40),
    decay=st.integers(1, 300),
    kind=st.sampled_from(["constant", "cosine"]),
)
def test_the_formulas_are_optaxs_schedules(peak, warmup, decay, kind):
    after = optax.schedules.constant_schedule(peak)
    if kind == "cosine":
        after = optax.schedules.cosine_decay_schedule(peak, decay)
    expected = after
    if warmup:
        ramp = optax.schedules.linear_schedule(0.0, peak, warmup)
        expected = optax.schedules.join_schedules([ramp, after], [warmup])
    steps = jnp.arange(0, 350, dtype=jnp.int32)  # of one shape: compiled once
    found = learning_rate(kind, Rates(peak, warmup, decay), steps)
    # Sums and the cosine round by some ulps of the peak.
    want = np.array(jax.vmap(expected)(steps))
    np.testing.assert_allclose(found, want, rtol=0, atol=5e-7 * peak)


def test_a_configs_cosine_ends_with_its_steps():
    config = Config(learning_rate=0.3, schedule="cosine", warmup_steps=2, steps=8)
    numbers = from_config(config)[1]
    assert numbers == Rates(0.3, 2, 6)
    at_end = rates(config, [2, 5, 8])
    np.testing.assert_allclose(at_end, [0.3, 0.15, 0.0], atol=1e-7)
