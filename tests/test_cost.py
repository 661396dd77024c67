"""The estimate against XLA's own count; refusals; errors of the frameworks."""

import jax
import numpy as np
import pytest

from jax_inr import cost, tasks
from jax_inr.config import Config
from jax_inr.errors import DeviceError
from jax_inr.job import make_job
from jax_inr.presets import preset
from jax_inr.trainer import JaxTrainer

HEIGHT, WIDTH = 96, 128
BATCH = preset("default").replace(
    schedule="constant",
    warmup_steps=0,
    batch_size=8192,
    hidden_features=(256, 256),
    matmul_precision="float32",
)
FULL = BATCH.replace(batch_size=None)
CNN = Config(network="cnn", encoding="none", hidden_features=(16, 32), momentum=0.0)
GRID = BATCH.replace(optimizer="adam", finest=512, num_levels=6)
ENCODINGS = Config.__dataclass_fields__["encoding"].type.__args__
NETWORKS = Config.__dataclass_fields__["network"].type.__args__
# What is compared in every run of the tests; the others are slow.
QUICK = ("gaussian", "siren")
CASES = {
    **{name: BATCH.replace(encoding=name) for name in ENCODINGS},
    **{name: BATCH.replace(network=name) for name in NETWORKS if name != "cnn"},
    "cnn": CNN,
    "all measurements": FULL,
    "lattice": BATCH.replace(sampling="lattice"),
    "large dense grid": GRID.replace(encoding="dense_grid"),
    "large hash grid": GRID.replace(encoding="hash_grid", log2_table_size=18),
    "wide": FULL.replace(hidden_features=(1024, 1024)),
}


def job_of(config, height=HEIGHT, width=WIDTH):
    image = np.zeros((height, width, 3), np.float32)
    return make_job(tasks.from_config(config, image), config)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CASES],
)
def test_the_estimate_is_right_within_a_factor(name):
    """XLA counts arguments, results and temporaries of the compiled chunk."""
    job = job_of(CASES[name])
    xla_bytes = JaxTrainer([job], "cpu").program_bytes
    assert xla_bytes / 1.5 < cost.job_bytes(job) < 1.5 * xla_bytes


@pytest.mark.slow
def test_what_is_compiled_is_counted_for_all_lanes():
    trainer = JaxTrainer([job_of(CNN.replace(seed=seed), 12, 17) for seed in (0, 1)])
    alone = JaxTrainer([job_of(CNN, 12, 17)])
    assert trainer.program_bytes > alone.program_bytes > 0
    with pytest.raises(DeviceError, match="the limit allows"):
        cost.check_compiled(trainer, alone.program_bytes)
    cost.check_compiled(trainer, trainer.program_bytes)


def test_the_estimate_grows_with_what_costs_memory():
    base = Config()
    small = cost.job_bytes(job_of(base))
    assert cost.job_bytes(job_of(base, 2 * HEIGHT)) > small
    wide = base.replace(hidden_features=(4096, 4096))
    assert cost.job_bytes(job_of(wide)) > small + 4 * 4096**2
    # A table of 11.9 GiB: nothing is drawn, and every node is counted.
    huge = GRID.replace(encoding="dense_grid", level_features=64, finest=4096)
    assert cost.job_bytes(job_of(huge)) > 4 * 64 * 4096**2


@pytest.mark.slow_cases("cnn", "hash_grid")
@pytest.mark.parametrize("name", ["gaussian", "hash_grid", "siren", "cnn"])
def test_parameters_are_those_that_are_drawn(name):
    model = job_of(CASES[name], 12, 17).model
    drawn = jax.jit(model.init)(jax.random.key(0))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(drawn))
    assert cost.count_params(model) == count


def test_multiplications_of_a_position_are_those_of_its_matrices():
    config = Config(num_frequencies=8, hidden_features=(16, 12))
    _, products = cost.position_cost(job_of(config).model)
    assert products == 2 * 8 + 16 * 16 + 16 * 12 + 12 * 3


def test_a_fit_that_does_not_fit_is_refused_with_both_numbers():
    with pytest.raises(DeviceError, match=r"3\.00 GiB.*2\.00 GiB.*the limit allows"):
        cost.check(3 << 30, 2 << 30)
    with pytest.raises(DeviceError, match="the machine has left"):
        cost.check(1 << 60, None)
    cost.check(1 << 20, None)
    cost.check(1 << 30, 1 << 30)


def test_what_is_left_lies_within_the_machine():
    assert 0 < cost.available_bytes() < 1 << 50


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"),
        RuntimeError("Out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_becomes_a_device_error(error):
    told = pytest.raises(DeviceError, match="out of memory")
    with told as caught, cost.memory_errors():
        raise error
    # Another process of JAX may have taken it all beforehand: what it is to be told.
    assert "XLA_PYTHON_CLIENT_PREALLOCATE=false" in caught.value.hint
    assert "preallocates" in caught.value.hint and "\n" not in caught.value.hint


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="boom"), cost.memory_errors():
        raise RuntimeError("boom")
