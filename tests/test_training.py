"""The training loops: one step, and the laws of many."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import start

import jax_inr
from jax_inr import plan
from jax_inr.config import Config
from jax_inr.training import (
    MAX_CHUNK_STEPS,
    batch_loss,
    train_chunk,
    train_scan,
    train_step,
)

FULL = Config(
    num_frequencies=8, sigma=2.0, hidden_features=(16, 12), learning_rate=0.5, steps=40
)
BATCH = FULL.replace(batch_size=32, schedule="cosine", warmup_steps=3)
CNN = Config(
    network="cnn",
    encoding="none",
    hidden_features=(4, 5),
    learning_rate=0.01,
    momentum=0.0,
)
CONFIGS = {"full": FULL, "batch": BATCH, "cnn": CNN}
TARGET = np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)
chunk = jax.jit(train_chunk, static_argnums=0)
scan = jax.jit(train_scan, static_argnums=(0, 5))
step_once = jax.jit(train_step, static_argnums=0)


def assert_close(tree, other, atol=2e-6):
    def close(first, second):
        np.testing.assert_allclose(first, second, atol=atol)

    jax.tree.map(close, tree, other)


@pytest.mark.slow_cases("cnn")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_chunk_is_a_loop_of_train_step(name):
    plan, state, constants, data, key = start(CONFIGS[name], TARGET)
    after, losses = chunk(plan, state, constants, data, key, jnp.int32(6))
    looped = []
    for _ in range(6):
        state, loss = step_once(plan, state, constants, data, key)
        looped.append(loss)
    # Two programs, in which XLA may order sums otherwise.
    np.testing.assert_allclose(losses[:6], looped, rtol=1e-5)
    assert not losses[6:].any() and losses.shape == (MAX_CHUNK_STEPS,)
    assert_close(after, state)


@pytest.mark.slow
def test_tiles_give_the_gradient_of_the_whole():
    config = FULL.replace(momentum=0.0, learning_rate=1.0)
    plan, state, constants, data, key = start(config, TARGET)
    expected = jax.jit(jax.value_and_grad(batch_loss, 1), static_argnums=0)(
        plan, state.params, constants, data
    )
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1]))
    assert largest > 1e-3
    # 12 * 17 = 204 pixels: tiles that divide it, leave a rest, fit exactly, exceed it.
    for tile in (68, 5, 203, 204, 10_000):
        tiled = dataclasses.replace(plan, tile=tile)
        after, loss = step_once(tiled, state, constants, data, key)
        # With rate one and no momentum, a step is minus the gradient.
        grads = jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, after.params)
        np.testing.assert_allclose(loss, expected[0], rtol=2e-6)
        # Parameters are below one in size, and so are rounded by up to 6e-8.
        assert_close(grads, expected[1], atol=2e-7)


def test_a_single_pixel_can_be_fitted():
    target = np.full((1, 1, 3), 0.25, np.float32)
    plan, state, constants, data, key = start(FULL, target)
    _, losses = chunk(plan, state, constants, data, key, jnp.int32(30))
    assert losses[29] < losses[0] / 10


def test_features_computed_anew_train_like_features_kept(monkeypatch):
    kept, anew = start(FULL, TARGET), start(FULL, TARGET, keep_features=False)
    assert kept[3].inputs.shape == (204, 16) and anew[3].inputs.shape == (204, 2)
    (first, losses), (second, others) = (
        chunk(*fit, jnp.int32(5)) for fit in (kept, anew)
    )
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    assert_close(first, second)
    assert kept[0].keep_features
    monkeypatch.setattr(plan, "MAX_FEATURE_BYTES", 4 * 204 * 16 - 1)
    assert not start(FULL, TARGET)[0].keep_features


@pytest.mark.slow_cases("full")
@pytest.mark.parametrize("config", [FULL, BATCH], ids=["full", "batch"])
def test_vmap_over_seeds_is_as_many_single_runs(config):
    fits = [start(config, TARGET, seed) for seed in (0, 1, 2)]
    plan = fits[0][0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(f[1:] for f in fits))

    def fit(state, constants, data, key):
        return train_chunk(plan, state, constants, data, key, jnp.int32(8))

    states, losses = jax.jit(jax.vmap(fit))(*stacked)
    for i, one in enumerate(fits):
        alone, expected = chunk(*one, jnp.int32(8))
        np.testing.assert_allclose(losses[i], expected, rtol=1e-5)
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        assert_close(state, alone, atol=5e-6)


@pytest.mark.slow_cases("cnn")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_scan_takes_the_steps_of_a_chunk(name):
    plan, state, constants, data, key = start(CONFIGS[name], TARGET)
    ends = [(state, state)]
    for num_steps in (1, 2, 5):
        after, losses = chunk(plan, state, constants, data, key, jnp.int32(num_steps))
        scanned, each = scan(plan, state, constants, data, key, num_steps)
        # Two programs, in which XLA may order sums otherwise.
        np.testing.assert_allclose(each, losses[:num_steps], rtol=1e-5)
        assert each.shape == (num_steps,) and int(scanned.step) == num_steps
        assert_close(scanned, after)
        ends.append((after, scanned))


@pytest.mark.slow
def test_a_scan_is_differentiated_through_its_steps():
    """The gradient of a loss after three steps is that of finite differences."""
    plan, state, constants, data, key = start(
        FULL.replace(network="siren", omega_0=3.0, learning_rate=0.05), TARGET
    )

    @jax.jit
    def loss_after(params):
        begun = state._replace(params=params)
        after, _ = train_scan(plan, begun, constants, data, key, 3)
        return batch_loss(plan, after.params, constants, data)

    slope = jax.jit(jax.grad(loss_after))(state.params)
    plain = jax.grad(batch_loss, 1)(plan, state.params, constants, data)
    size = optax.tree.norm(slope)
    assert np.isfinite(size)
    direction = jax.tree.map(lambda leaf: leaf / size, slope)

    def moved(by):
        return jax.tree.map(lambda p, d: p + by * d, state.params, direction)

    found = (loss_after(moved(1e-2)) - loss_after(moved(-1e-2))) / 2e-2
    np.testing.assert_allclose(found, size, rtol=2e-2)
    # It is not the gradient without the steps.
    off = optax.tree.norm(optax.tree.sub(slope, plain))
    assert off > 0.01 * optax.tree.norm(plain)


# Learning to learn

CROP = 8  # pixels a side
INNER_STEPS = 3


def crops(num_crops, seed):
    """Crops of one family: a disc with a soft edge, in two colours of its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:CROP, 0:CROP] / CROP
    images = []
    for _ in range(num_crops):
        row, column, radius = rng.uniform(0.35, 0.65, 3)
        inside = 1 / (
            1 + np.exp(20 * (np.hypot(rows - row, columns - column) - radius))
        )
        dark, light = np.array([0.1, 0.2, 0.3]), rng.uniform(0.7, 0.9, 3)
        images.append(dark + inside[..., None] * (light - dark))
    return np.stack(images).astype(np.float32)


def test_a_learned_initialisation_beats_the_plain_one_on_crops_it_never_saw():
    """MAML (arXiv 1703.03400): Adam through three inner steps of plain SGD."""
    config = FULL.replace(momentum=0.0, learning_rate=0.5)
    family, unseen = crops(8, 0), crops(8, 1)
    plan, state, constants, data, key = start(config, family[0])

    def after_inner_steps(params, image):
        own = data._replace(values=image.reshape(-1, 3))
        begun = state._replace(params=params)
        fitted, _ = jax_inr.train_scan(plan, begun, constants, own, key, INNER_STEPS)
        return batch_loss(plan, fitted.params, constants, own)

    @jax.jit
    def mean_after(params, images):
        return jax.vmap(after_inner_steps, (None, 0))(params, images).mean()

    outer = optax.adam(1e-2)

    @jax.jit
    def outer_step(carry, _):
        params, moments = carry
        grads = jax.grad(mean_after)(params, family)
        updates, moments = outer.update(grads, moments)
        return (optax.apply_updates(params, updates), moments), None

    begun = state.params, outer.init(state.params)
    (learned, _), _ = jax.lax.scan(outer_step, begun, length=60)
    assert mean_after(learned, unseen) < 0.5 * mean_after(state.params, unseen)
