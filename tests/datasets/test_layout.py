"""A row of parameters and its tensors are the same numbers."""

import numpy as np
import pytest

from jax_inr import CheckpointError
from jax_inr.datasets.layout import Layout


def tensors(layers: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {"constants/omega_0": np.array(30, np.float32)}
    for i in reversed(range(layers)):
        found[f"params/dense_{i}/bias"] = rng.random(3, np.float32)
        found[f"params/dense_{i}/kernel"] = rng.random((2, 3), np.float32)
    return found | {"params/level_0": rng.random((4, 2), np.float32)}


def test_the_order_is_that_of_the_layers_and_not_of_the_alphabet():
    layout = Layout.of(tensors(11))
    names = [t.name for t in layout.tensors]
    assert names[:5] == ["level_0", "w1", "b1", "w2", "b2"]
    assert names[-2:] == ["w11", "b11"]


def test_packing_and_unpacking_are_inverse():
    given = tensors(3)
    layout = Layout.from_json(Layout.of(given).to_json())
    row = layout.pack(given)
    assert row.shape == (layout.size,)
    back = layout.unpack(row)
    assert sorted(back) == sorted(n for n in given if n.startswith("params/"))
    assert all(np.array_equal(back[name], given[name]) for name in back)
    stacked = layout.unpack(np.stack([row, 2 * row]))
    assert np.array_equal(
        stacked["params/dense_1/kernel"][1], 2 * back["params/dense_1/kernel"]
    )


def test_statistics_are_those_of_each_layers_numbers():
    layout = Layout.of(tensors(2))
    rows = np.random.default_rng(1).normal(3, 2, (50, layout.size))
    found = layout.statistics(rows.mean(0), (rows**2).mean(0))
    own = layout.unpack(rows)["params/dense_1/kernel"]
    assert found["w2"]["mean"] == pytest.approx(own.mean(), rel=1e-5)
    assert found["w2"]["deviation"] == pytest.approx(own.std(), rel=1e-5)


def test_a_damaged_layout_is_said():
    with pytest.raises(CheckpointError, match="layout"):
        Layout.from_json([{"name": "w1"}])
