"""Mini-batches: which measurements a step sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import start

from jax_inr.config import Config
from jax_inr.coordinates import pixel_grid
from jax_inr.sampling import draw_batch
from jax_inr.training import batch_loss, train_chunk, train_step

FULL = Config(
    num_frequencies=8, sigma=2.0, hidden_features=(16, 12), learning_rate=0.5, steps=40
)
TARGET = np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)
chunk = jax.jit(train_chunk, static_argnums=0)
step_once = jax.jit(train_step, static_argnums=0)


def test_mini_batches_draw_every_pixel_alike_and_no_other():
    # Zero weights give 0.5 everywhere, and a rate of 1e-12 keeps them, so that the
    # loss of a batch of one tells which pixel was drawn.
    config = FULL.replace(batch_size=1, learning_rate=1e-12, momentum=0.0)
    target = np.linspace(0.5, 1, 7, dtype=np.float32).reshape(1, 7, 1)
    plan, state, constants, data, key = start(config, target)
    state = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
    _, losses = chunk(plan, state, constants, data, key, jnp.int32(4096))
    pixels = np.sqrt(np.asarray(losses)) * 12
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)
    counts = np.bincount(np.rint(pixels).astype(int), minlength=7)
    assert counts.sum() == 4096 and len(counts) == 7
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    # Neighbouring steps draw apart.
    assert abs(np.corrcoef(pixels[1:], pixels[:-1])[0, 1]) < 5 / np.sqrt(4096)


@pytest.mark.parametrize("sampling", ["pixels", "lattice"])
def test_the_gradient_of_a_mini_batch_is_unbiased(sampling):
    config = FULL.replace(batch_size=32, learning_rate=1.0, momentum=0.0)
    config = config.replace(sampling=sampling)
    plan, state, constants, data, key = start(config, TARGET)
    expected = jax.jit(jax.grad(batch_loss, 1), static_argnums=0)(
        plan, state.params, constants, data
    )
    draws = []
    for one in jax.random.split(key, 400):
        after, _ = step_once(plan, state, constants, data, one)
        # With rate one and no momentum, a step is minus the gradient.
        grads = jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, after.params)
        draws.append(jax.tree.leaves(grads))
    for drawn, whole in zip(
        zip(*draws, strict=True), jax.tree.leaves(expected), strict=True
    ):
        deviation = np.std(drawn, axis=0) / np.sqrt(400)
        error = np.abs(np.mean(drawn, axis=0) - whole)
        assert (error <= 5 * deviation + 1e-7).all()


@pytest.mark.parametrize("size", [(12, 17), (5, 97), (1, 8), (224, 224)])
def test_a_lattice_has_one_row_and_one_column_of_each_strip(size):
    config = FULL.replace(batch_size=max(size[0] * size[1] // 9, 1), sampling="lattice")
    config = config.replace(encoding="dense_grid", finest=16, coarsest=4)
    height, width = size
    target = np.zeros((height, width, 3), np.float32)
    plan, _, _, data, _ = start(config, target)
    for seed in range(20):
        batch = draw_batch(plan, data, jax.random.key(seed))
        (rows, columns), colours = batch.inputs, batch.values
        assert (len(rows), len(columns)) == plan.grid_shape
        assert len(colours) == len(rows) * len(columns)
        for at, end in ((rows, size[0]), (columns, size[1])):
            index = np.round(np.asarray(at) * end).astype(int)
            strips = (index[:, None] + np.array([0.0, 1.0])) * len(at) / end
            numbers = np.arange(len(at))
            # A row that two strips share may serve either.
            assert (strips[:, 0] < numbers + 1).all() and (strips[:, 1] > numbers).all()


def test_a_lattice_takes_inputs_and_colours_of_the_same_pixels():
    """Kept features, recomputed ones and the colours agree on where they are."""
    config = FULL.replace(batch_size=32, sampling="lattice", encoding="none")
    target = np.asarray(pixel_grid(12, 17))
    target = np.concatenate([target, target[..., :1]], axis=-1)
    plan, _, _, data, key = start(config, target)
    batch = draw_batch(plan, data, key)
    colours = batch.values
    np.testing.assert_array_equal(batch.inputs, colours[:, :2])
    np.testing.assert_array_equal(batch.items, colours[:, :2])
    bare = dataclasses.replace(plan, keep_features=False)
    again = draw_batch(bare, data, key)
    rows, columns = again.inputs
    np.testing.assert_array_equal(again.values, colours)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(grid, colours[:, :2], atol=1e-7)


@pytest.mark.slow_cases("hash_grid", "dense_grid")
@pytest.mark.parametrize("encoding", ["dense_grid", "hash_grid", "trainable", "none"])
def test_a_lattice_of_all_pixels_is_the_whole_batch(encoding):
    config = FULL.replace(encoding=encoding, coarsest=3, finest=9, log2_table_size=5)
    plan, state, constants, data, key = start(config, TARGET)
    expected, loss = step_once(plan, state, constants, data, key)
    plan = dataclasses.replace(plan, sampling="lattice")
    found, again = step_once(plan, state, constants, data, key)
    np.testing.assert_allclose(again, loss, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
