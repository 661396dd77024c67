"""The trainer: lanes in one program, bit for bit the same however they are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compilations

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, DeviceError
from jax_inr.job import make_job
from jax_inr.tasks import reconstruct
from jax_inr.trainer import JaxTrainer

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


def trainer_of(*configs, device="cpu"):
    """A trainer of one lane for each config."""
    jobs = [make_job(reconstruct(TARGET), config) for config in configs]
    return JaxTrainer(jobs, device)


def advance(trainer, num_steps):
    """Take steps of the first lane; its losses, known to be finite."""
    losses, good = trainer.advance(num_steps, [True])
    assert good.all()
    return losses[0]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, leaf in first.items():
        np.testing.assert_array_equal(leaf, second[name], err_msg=name)


@pytest.fixture(scope="module")
def trainers():
    """Compiled trainers and their first state, made once: compiling takes longest."""
    made = {name: trainer_of(config) for name, config in CONFIGS.items()}
    for trainer in made.values():
        trainer.compile()
    return {name: (trainer, trainer.state(0)) for name, trainer in made.items()}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("cuts", [[1] * 20, [19, 1], [7, 13], [1, 2, 3, 4, 10]])
def test_chunk_lengths_do_not_change_a_bit(trainers, name, cuts):
    trainer, first = trainers[name]
    trainer.load_state(0, first)
    whole, end = advance(trainer, 20), trainer.state(0)
    trainer.load_state(0, first)
    losses = np.concatenate([advance(trainer, n) for n in cuts])
    np.testing.assert_array_equal(losses, whole)
    assert_same(trainer.state(0), end)
    assert trainer.steps[0] == 20


@pytest.mark.parametrize("name", CONFIGS)
def test_after_compile_nothing_is_compiled(trainers, name):
    trainer, first = trainers[name]
    trainer.load_state(0, first)
    with compilations() as count:
        for num_steps in (1, 5, 3):
            advance(trainer, num_steps)
            trainer.state(0)
            trainer.predict(0)
    assert count == [0]
    # The counter counts, or the line above says nothing.
    with compilations() as count:
        jax.jit(lambda x: x + 12.5)(jnp.float32(trainer.steps[0])).block_until_ready()
    assert count[0] >= 1


def test_a_step_changes_no_array_that_was_given_or_taken(trainers):
    trainer, first = trainers["full"]
    given = {name: leaf.copy() for name, leaf in first.items()}
    trainer.load_state(0, given)
    taken = trainer.state(0)
    kept = {name: leaf.copy() for name, leaf in taken.items()}
    advance(trainer, 5)
    assert_same(given, first)
    assert_same(taken, kept)


def test_the_loss_is_that_of_the_parameters_before_the_step(trainers):
    trainer, first = trainers["full"]
    trainer.load_state(0, first)
    advance(trainer, 3)
    before = trainer.predict(0)
    loss = advance(trainer, 1)[0]
    assert loss == pytest.approx(np.mean((before - TARGET) ** 2), rel=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_falls(trainers, name):
    trainer, first = trainers[name]
    trainer.load_state(0, first)
    losses = advance(trainer, 40)
    assert np.mean(losses[20:]) < np.mean(losses[:20]) < losses[0]


def test_frequencies_are_not_trained(trainers):
    trainer, first = trainers["full"]
    trainer.load_state(0, first)
    before = trainer.parameters(0)
    advance(trainer, 10)
    after = trainer.parameters(0)
    for name, leaf in before.items():
        trained = name.startswith("params/")
        assert (leaf != after[name]).any() == trained, name
    assert "constants/frequencies" in before
    # Nor is any momentum kept for them.
    assert not any("trace" in n and "frequencies" in n for n in first)


def test_the_seed_decides_everything_that_is_drawn(trainers):
    trainer, first = trainers["batch"]
    assert_same(first, trainer_of(BATCH).state(0))
    other = trainer_of(BATCH.replace(seed=1)).state(0)
    for name, leaf in first.items():
        drawn = name.startswith(("key", "constants", "state/params"))
        assert (leaf != other[name]).any() == drawn, name
    # Same weights, other key: the batches alone differ.
    trainer.load_state(0, first)
    losses = advance(trainer, 3)
    trainer.load_state(0, {**first, "key": other["key"]})
    assert (advance(trainer, 3) != losses).all()


def test_a_resumed_fit_is_the_uninterrupted_one_bit_for_bit(trainers):
    trainer, first = trainers["batch"]
    trainer.load_state(0, first)
    advance(trainer, 6)
    saved = trainer.state(0)
    losses = advance(trainer, 7)
    end = trainer.state(0)
    # In another trainer, of another seed: nothing but the state may matter.
    other = trainer_of(BATCH.replace(seed=9))
    other.load_state(0, saved)
    other.compile()
    assert other.steps[0] == 6
    np.testing.assert_array_equal(advance(other, 7), losses)
    assert_same(other.state(0), end)


@pytest.mark.parametrize("part", ["trace", "key", "state/step", "opt_state/1/count"])
def test_every_part_of_the_state_matters(trainers, part):
    trainer, first = trainers["batch"]
    trainer.load_state(0, first)
    advance(trainer, 6)
    saved = trainer.state(0)
    advance(trainer, 7)
    end = trainer.state(0)
    lost = {n: np.zeros_like(x) if part in n else x for n, x in saved.items()}
    trainer.load_state(0, lost)
    advance(trainer, 7)
    name = "state/params/dense_0/kernel"
    assert (trainer.state(0)[name] != end[name]).any()


def test_other_frequencies_bring_their_own_features(trainers):
    trainer, first = trainers["full"]
    other = {**first, "constants/frequencies": first["constants/frequencies"] + 1}
    trainer.load_state(0, other)
    prediction = trainer.predict(0)
    loss = advance(trainer, 1)[0]
    trainer.load_state(0, first)
    expected = np.mean((prediction - TARGET) ** 2)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert loss != advance(trainer, 1)[0]


def test_a_state_that_does_not_fit_names_the_leaf_and_both_shapes(trainers):
    trainer, first = trainers["full"]
    name = "state/params/dense_1/kernel"
    wrong = {**first, name: np.zeros((16, 13), np.float32)}
    with pytest.raises(CheckpointError) as caught:
        trainer.load_state(0, wrong)
    assert all(w in str(caught.value) for w in (name, "[16, 13]", "[16, 12]"))
    with pytest.raises(CheckpointError, match=f"{name}.*float64.*float32"):
        trainer.load_state(0, {**first, name: first[name].astype(np.float64)})
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        trainer.load_state(0, {n: x for n, x in first.items() if n != name})
    with pytest.raises(CheckpointError, match="extra is not part"):
        trainer.load_state(0, {**first, "extra": np.zeros(1)})


def test_the_tensors_are_those_of_a_field_file(trainers):
    mlp, cnn = (trainers[name][0].parameters(0) for name in ("full", "cnn"))
    layers = [f"dense_{i}/{leaf}" for i in range(3) for leaf in ("bias", "kernel")]
    assert {*mlp} == {"constants/frequencies", *(f"params/{n}" for n in layers)}
    convs = [f"params/conv_{i}/{leaf}" for i in range(3) for leaf in ("bias", "kernel")]
    assert {*cnn} == {*convs}
    assert {leaf.dtype.name for leaf in mlp.values()} == {"float32"}


def test_learning_rate_is_the_schedules(trainers):
    trainer = trainers["batch"][0]
    rates = [trainer.learning_rate(0, step) for step in (0, 3, 40)]
    np.testing.assert_allclose(rates, [0, 0.5, 0], atol=1e-7)


def test_tf32_on_a_cpu_is_refused():
    with pytest.raises(DeviceError, match="needs a GPU"):
        trainer_of(FULL.replace(matmul_precision="tf32"))


def test_an_absent_gpu_is_an_error_never_a_fallback(monkeypatch):
    def none(kind=None):
        raise RuntimeError("Unknown backend\n cuda")

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(DeviceError, match=r"GPU here .*Unknown backend cuda"):
        trainer_of(FULL, device="gpu")


# Lanes


@pytest.fixture(scope="module")
def lanes():
    """A compiled trainer of three seeds and rates, with each lane's first state."""
    configs = [BATCH.replace(seed=seed, learning_rate=0.1 + seed) for seed in range(3)]
    trainer = trainer_of(*configs)
    trainer.compile()
    return trainer, [trainer.state(lane) for lane in range(3)], configs


def put_back(trainer, states):
    for lane, state in enumerate(states):
        trainer.load_state(lane, state)


def test_a_lane_that_is_done_keeps_its_exact_state(lanes):
    trainer, states, _ = lanes
    put_back(trainer, states)
    trainer.advance(4, [True] * 3)
    before = [trainer.state(lane) for lane in range(3)]
    _, good = trainer.advance(5, [True, False, True])
    assert good.all() and trainer.steps == [9, 4, 9]
    assert_same(trainer.state(1), before[1])
    # The others go on as they would have with it.
    after = [trainer.state(lane) for lane in range(3)]
    put_back(trainer, before)
    trainer.advance(5, [True] * 3)
    assert_same(trainer.state(0), after[0])
    assert_same(trainer.state(2), after[2])


def test_a_lane_that_is_not_finite_keeps_its_state_and_stops_no_other(lanes):
    trainer, states, _ = lanes
    name = "state/params/dense_0/kernel"
    put_back(trainer, [states[0], {**states[1], name: states[1][name] + np.inf}])
    losses, good = trainer.advance(3, [True] * 3)
    assert good.tolist() == [True, False, True]
    assert np.isfinite(losses[[0, 2]]).all() and not np.isfinite(losses[1]).any()
    assert trainer.steps[1] == 0


def test_lanes_are_single_fits_within_rounding(lanes):
    trainer, states, configs = lanes
    put_back(trainer, states)
    losses, _ = trainer.advance(8, [True] * 3)
    for lane, config in enumerate(configs):
        single = trainer_of(config)
        single.compile()
        assert_same(single.state(0), states[lane])
        np.testing.assert_allclose(advance(single, 8), losses[lane], rtol=1e-5)
        found, expected = trainer.parameters(lane), single.parameters(0)
        for name, leaf in expected.items():
            np.testing.assert_allclose(found[name], leaf, atol=5e-6, err_msg=name)


def test_rollback_goes_back_to_before_the_chunk(trainers):
    trainer, first = trainers["batch"]
    trainer.load_state(0, first)
    advance(trainer, 3)
    before = trainer.state(0)
    losses = advance(trainer, 4)
    trainer.rollback(0)
    assert_same(trainer.state(0), before)
    np.testing.assert_array_equal(advance(trainer, 4), losses)
