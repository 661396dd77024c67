"""The train chunk: one program for any number of steps, and its laws."""

import contextlib
import dataclasses

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import draw

from jax_inr import training
from jax_inr.config import Config
from jax_inr.errors import CheckpointError, DeviceError
from jax_inr.loop import MAX_CHUNK_STEPS
from jax_inr.trainer import JaxTrainer
from jax_inr.training import (
    init_state,
    make_data,
    make_plan,
    train_chunk,
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
step_once = jax.jit(train_step, static_argnums=0)


def start(config, target=TARGET, seed=0, **changes):
    """Plan, state, constants, data and key of a fit before its first step."""
    plan = dataclasses.replace(make_plan(config, *target.shape), **changes)
    variables = draw(plan.model, seed)
    data = make_data(plan, variables, target)
    key = jax.random.key(seed + 100)
    return plan, init_state(plan, variables), variables["constants"], data, key


@contextlib.contextmanager
def compilations():
    """Counts what XLA compiles while open, in a list of one."""
    count = [0]

    def listen(event: str, duration_secs: float, **kwargs: str | int):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, leaf in first.items():
        np.testing.assert_array_equal(leaf, second[name], err_msg=name)


@pytest.fixture(scope="module")
def trainers():
    """Compiled trainers and their first state, made once: compiling takes longest."""
    made = {name: JaxTrainer(config, TARGET, "cpu") for name, config in CONFIGS.items()}
    for trainer in made.values():
        trainer.compile()
    return {name: (trainer, trainer.state()) for name, trainer in made.items()}


# The chunk


def assert_close(tree, other, atol=2e-6):
    def close(first, second):
        np.testing.assert_allclose(first, second, atol=atol)

    jax.tree.map(close, tree, other)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_chunk_is_a_loop_of_train_step(name):
    plan, state, constants, data, key = start(CONFIGS[name])
    after, losses = chunk(plan, state, constants, data, key, jnp.int32(6))
    looped = []
    for _ in range(6):
        state, loss = step_once(plan, state, constants, data, key)
        looped.append(loss)
    # Two programs, in which XLA may order sums otherwise.
    np.testing.assert_allclose(losses[:6], looped, rtol=1e-5)
    assert not losses[6:].any() and losses.shape == (MAX_CHUNK_STEPS,)
    assert_close(after, state)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("cuts", [[1] * 20, [19, 1], [7, 13], [1, 2, 3, 4, 10]])
def test_chunk_lengths_do_not_change_a_bit(trainers, name, cuts):
    trainer, first = trainers[name]
    trainer.load_state(first)
    whole, end = trainer.advance(20), trainer.state()
    trainer.load_state(first)
    losses = np.concatenate([trainer.advance(n) for n in cuts])
    np.testing.assert_array_equal(losses, whole)
    assert_same(trainer.state(), end)
    assert trainer.step == 20


@pytest.mark.parametrize("name", CONFIGS)
def test_after_compile_nothing_is_compiled(trainers, name):
    trainer, first = trainers[name]
    trainer.load_state(first)
    with compilations() as count:
        for num_steps in (1, 5, 3):
            trainer.advance(num_steps)
            trainer.state()
            trainer.predict()
    assert count == [0]
    # The counter counts, or the line above says nothing.
    with compilations() as count:
        jax.jit(lambda x: x + 12.5)(jnp.float32(trainer.step)).block_until_ready()
    assert count[0] >= 1


def test_the_state_is_donated(trainers):
    trainer, first = trainers["full"]
    trainer.load_state(first)
    trainer.advance(1)
    before = trainer._state
    trainer.advance(1)
    leaves = jax.tree.leaves(before.params) + jax.tree.leaves(before.opt_state)
    assert all(leaf.is_deleted() for leaf in leaves)


def test_donation_reaches_no_array_that_was_given_or_taken(trainers):
    trainer, first = trainers["full"]
    given = {name: leaf.copy() for name, leaf in first.items()}
    trainer.load_state(given)
    taken = trainer.state()
    kept = {name: leaf.copy() for name, leaf in taken.items()}
    trainer.advance(5)
    assert_same(given, first)
    assert_same(taken, kept)


# Losses and gradients


def test_tiles_give_the_gradient_of_the_whole():
    config = FULL.replace(momentum=0.0, learning_rate=1.0)
    plan, state, constants, data, key = start(config)
    expected = jax.jit(jax.value_and_grad(plan.loss))(
        state.params, constants, *data[:2]
    )
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1]))
    assert largest > 1e-3
    # 12 * 17 = 204 pixels: tiles that divide it, leave a rest, fit exactly, exceed it.
    for tile in (68, 5, 203, 204, 10_000):
        tiled = dataclasses.replace(plan, tile_pixels=tile)
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


def test_the_loss_is_that_of_the_parameters_before_the_step(trainers):
    trainer, first = trainers["full"]
    trainer.load_state(first)
    trainer.advance(3)
    before = trainer.predict()
    loss = trainer.advance(1)[0]
    assert loss == pytest.approx(np.mean((before - TARGET) ** 2), rel=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_falls(trainers, name):
    trainer, first = trainers[name]
    trainer.load_state(first)
    losses = trainer.advance(40)
    assert np.mean(losses[20:]) < np.mean(losses[:20]) < losses[0]


def test_features_computed_anew_train_like_features_kept(monkeypatch):
    kept, anew = start(FULL), start(FULL, keep_features=False)
    assert kept[3].inputs.shape == (204, 16) and anew[3].inputs.shape == (204, 2)
    (first, losses), (second, others) = (
        chunk(*fit, jnp.int32(5)) for fit in (kept, anew)
    )
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    assert_close(first, second)
    assert kept[0].keep_features
    monkeypatch.setattr(training, "MAX_FEATURE_BYTES", 4 * 204 * 16 - 1)
    assert not make_plan(FULL, 12, 17, 3).keep_features


def test_frequencies_are_not_trained(trainers):
    trainer, first = trainers["full"]
    trainer.load_state(first)
    before = trainer.parameters()
    trainer.advance(10)
    after = trainer.parameters()
    for name, leaf in before.items():
        trained = name.startswith("params/")
        assert (leaf != after[name]).any() == trained, name
    assert "constants/frequencies" in before
    # Nor is any momentum kept for them.
    assert not any("trace" in n and "frequencies" in n for n in first)


# Mini-batches


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
    plan, state, constants, data, key = start(config)
    expected = jax.jit(jax.grad(plan.loss))(state.params, constants, *data[:2])
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


@pytest.mark.parametrize(
    ("asked", "taken"), [(203, 203), (204, None), (205, None), (None, None)]
)
def test_a_batch_as_large_as_the_picture_is_all_of_it(asked, taken):
    assert make_plan(FULL.replace(batch_size=asked), 12, 17, 3).batch_size == taken


# Lattices


@pytest.mark.parametrize("size", [(12, 17), (5, 97), (1, 8), (224, 224)])
def test_a_lattice_has_one_row_and_one_column_of_each_strip(size):
    config = FULL.replace(batch_size=max(size[0] * size[1] // 9, 1), sampling="lattice")
    config = config.replace(encoding="dense_grid", finest=16, coarsest=4)
    height, width = size
    plan = make_plan(config, height, width, 3)
    target = np.zeros((height, width, 3), np.float32)
    data = make_data(plan, draw(plan.model), target)
    for seed in range(20):
        (rows, columns), colours = training.draw_batch(plan, data, jax.random.key(seed))
        assert (len(rows), len(columns)) == plan.lattice
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
    target = np.asarray(training.pixel_grid(12, 17))
    target = np.concatenate([target, target[..., :1]], axis=-1)
    plan, _, _, data, key = start(config, target)
    inputs, colours = training.draw_batch(plan, data, key)
    np.testing.assert_array_equal(inputs, colours[:, :2])
    bare = dataclasses.replace(plan, keep_features=False)
    (rows, columns), again = training.draw_batch(bare, data, key)
    np.testing.assert_array_equal(again, colours)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(grid, colours[:, :2], atol=1e-7)


@pytest.mark.parametrize("encoding", ["dense_grid", "hash_grid", "trainable", "none"])
def test_a_lattice_of_all_pixels_is_the_whole_batch(encoding):
    config = FULL.replace(encoding=encoding, coarsest=3, finest=9, log2_table_size=5)
    plan, state, constants, data, key = start(config)
    expected, loss = step_once(plan, state, constants, data, key)
    lattice = config.replace(sampling="lattice")
    plan = dataclasses.replace(
        plan, config=lattice, model=make_plan(lattice, 12, 17, 3).model
    )
    found, again = step_once(plan, state, constants, data, key)
    np.testing.assert_allclose(again, loss, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


# Seeds


def test_the_seed_decides_everything_that_is_drawn(trainers):
    trainer, first = trainers["batch"]
    assert_same(first, JaxTrainer(BATCH, TARGET, "cpu").state())
    other = JaxTrainer(BATCH.replace(seed=1), TARGET, "cpu").state()
    for name, leaf in first.items():
        drawn = name.startswith(("key", "constants", "state/params"))
        assert (leaf != other[name]).any() == drawn, name
    # Same weights, other key: the batches alone differ.
    trainer.load_state(first)
    losses = trainer.advance(3)
    trainer.load_state({**first, "key": other["key"]})
    assert (trainer.advance(3) != losses).all()


@pytest.mark.parametrize("config", [FULL, BATCH], ids=["full", "batch"])
def test_vmap_over_seeds_is_as_many_single_runs(config):
    fits = [start(config, seed=seed) for seed in (0, 1, 2)]
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


# Resuming


def test_a_resumed_fit_is_the_uninterrupted_one_bit_for_bit(trainers):
    trainer, first = trainers["batch"]
    trainer.load_state(first)
    trainer.advance(6)
    saved = trainer.state()
    losses = trainer.advance(7)
    end = trainer.state()
    # In another trainer, of another seed: nothing but the state may matter.
    other = JaxTrainer(BATCH.replace(seed=9), TARGET, "cpu")
    other.load_state(saved)
    other.compile()
    assert other.step == 6
    np.testing.assert_array_equal(other.advance(7), losses)
    assert_same(other.state(), end)


@pytest.mark.parametrize("part", ["trace", "key", "state/step", "opt_state/1/count"])
def test_every_part_of_the_state_matters(trainers, part):
    trainer, first = trainers["batch"]
    trainer.load_state(first)
    trainer.advance(6)
    saved = trainer.state()
    trainer.advance(7)
    end = trainer.state()
    lost = {n: np.zeros_like(x) if part in n else x for n, x in saved.items()}
    trainer.load_state(lost)
    trainer.advance(7)
    name = "state/params/dense_0/kernel"
    assert (trainer.state()[name] != end[name]).any()


def test_other_frequencies_bring_their_own_features(trainers):
    trainer, first = trainers["full"]
    other = {**first, "constants/frequencies": first["constants/frequencies"] + 1}
    trainer.load_state(other)
    prediction = trainer.predict()
    loss = trainer.advance(1)[0]
    trainer.load_state(first)
    expected = np.mean((prediction - TARGET) ** 2)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert loss != trainer.advance(1)[0]


def test_a_state_that_does_not_fit_names_the_leaf_and_both_shapes(trainers):
    trainer, first = trainers["full"]
    name = "state/params/dense_1/kernel"
    wrong = {**first, name: np.zeros((16, 13), np.float32)}
    with pytest.raises(CheckpointError) as caught:
        trainer.load_state(wrong)
    assert all(w in str(caught.value) for w in (name, "[16, 13]", "[16, 12]"))
    with pytest.raises(CheckpointError, match=f"{name}.*float64.*float32"):
        trainer.load_state({**first, name: first[name].astype(np.float64)})
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        trainer.load_state({n: x for n, x in first.items() if n != name})
    with pytest.raises(CheckpointError, match="extra is not part"):
        trainer.load_state({**first, "extra": np.zeros(1)})


def test_the_tensors_are_those_of_a_field_file(trainers):
    mlp, cnn = (trainers[name][0].parameters() for name in ("full", "cnn"))
    layers = [f"dense_{i}/{leaf}" for i in range(3) for leaf in ("bias", "kernel")]
    assert {*mlp} == {"constants/frequencies", *(f"params/{n}" for n in layers)}
    convs = [f"params/conv_{i}/{leaf}" for i in range(3) for leaf in ("bias", "kernel")]
    assert {*cnn} == {*convs}
    assert {leaf.dtype.name for leaf in mlp.values()} == {"float32"}


def test_learning_rate_is_the_schedules(trainers):
    trainer = trainers["batch"][0]
    rates = [trainer.learning_rate(step) for step in (0, 3, 40)]
    np.testing.assert_allclose(rates, [0, 0.5, 0], atol=1e-7)


def test_tf32_on_a_cpu_is_refused():
    with pytest.raises(DeviceError, match="needs a GPU"):
        JaxTrainer(FULL.replace(matmul_precision="tf32"), TARGET, "cpu")


def test_an_absent_gpu_is_an_error_never_a_fallback(monkeypatch):
    def none(kind=None):
        raise RuntimeError("Unknown backend\n cuda")

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(DeviceError, match=r"GPU here .*Unknown backend cuda"):
        JaxTrainer(FULL, TARGET, "gpu")
