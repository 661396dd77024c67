"""The estimate against XLA's own count; refusals; errors of the frameworks."""

import jax
import numpy as np
import pytest

from jax_inr import cost, training
from jax_inr.config import Config
from jax_inr.errors import DeviceError
from jax_inr.presets import preset

CASES = [
    (preset("optimized"), 224, 224),
    (preset("default"), 224, 224),
    (preset("optimized"), 1000, 1500),  # features too large to keep
    (preset("default").replace(hidden_features=(2048, 2048)), 64, 64),
    (preset("cnn").replace(hidden_features=(16, 32)), 150, 100),
]


@pytest.mark.parametrize(("config", "height", "width"), CASES)
def test_the_estimate_is_right_within_a_factor(config, height, width):
    """XLA counts arguments, results and temporaries of the chunk; we add the host's
    copies of the state, hence the wider bound above."""
    plan = training.make_plan(config, height, width, 3)
    variables = jax.eval_shape(plan.model.init, jax.random.key(0))
    state = jax.eval_shape(lambda v: training.init_state(plan, v), variables)
    target = np.zeros((height, width, 3), np.float32)
    data = jax.eval_shape(lambda v: training.make_data(plan, v, target), variables)
    chunk = jax.jit(training.train_chunk, static_argnums=0, donate_argnums=1)
    key = jax.random.key(0)
    lowered = chunk.lower(plan, state, variables["constants"], data, key, 1)
    count = lowered.compile().memory_analysis()
    assert count is not None
    xla_bytes = (
        count.temp_size_in_bytes
        + count.argument_size_in_bytes
        + count.output_size_in_bytes
    )
    estimate = cost.fit_bytes(config, height, width, 3)
    assert xla_bytes / 2 < estimate < 4 * xla_bytes


def test_the_estimate_grows_with_what_costs_memory():
    base = Config()
    small = cost.fit_bytes(base, 100, 100, 3)
    assert cost.fit_bytes(base, 200, 100, 3) > small
    assert cost.fit_bytes(base, 100, 100, 3, "torch") > small
    wide = base.replace(hidden_features=(4096, 4096))
    assert cost.fit_bytes(wide, 100, 100, 3) > small + 4 * 4096**2


def test_a_fit_that_does_not_fit_is_refused_with_both_numbers():
    with pytest.raises(DeviceError, match=r"3\.00 GiB.*2\.00 GiB.*--max-memory"):
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
