"""Dense layers over columns are the networks of single positions, transposed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import draw

from jax_inr import Config, make_model
from jax_inr.datasets import columns

NETWORKS = ("mlp", "siren", "finer", "gauss")


def made(network: Any, **changes: Any):
    config = Config(
        encoding="basic", network=network, hidden_features=(8, 5), **changes
    )
    return make_model(config, 6, 6, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_colours_and_gradients_are_those_of_single_positions(network):
    model, rng = made(network), np.random.default_rng(0)
    variables = draw(model)
    features, target = map(jnp.asarray, (rng.random((13, 4)), rng.random((13, 3))))

    def loss(params, transposed):
        own = {**variables, "params": params}
        if transposed:
            colours = columns.colours(model, own, features.T).T
        else:
            colours = model.colours(own, features)
        return jnp.mean((colours - target) ** 2), colours

    found, wanted = (
        jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)(
            variables["params"], way
        )
        for way in (True, False)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        # Sums of a few float32 products, in another order.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_other_models_are_not_taken():
    assert columns.takes_columns(made("siren"))
    assert not columns.takes_columns(made("wire"))
    assert not columns.takes_columns(made("siren", matmul_precision="bfloat16"))
    grid = Config(encoding="dense_grid", num_levels=1, coarsest=4, finest=4)
    assert not columns.takes_columns(make_model(grid, 6, 6, 3))
    assert not columns.takes_columns(
        make_model(Config(encoding="none", network="cnn", init="uniform"), 6, 6, 3)
    )
