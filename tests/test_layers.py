"""Initial weights against their papers' bounds."""

import numpy as np
import pytest
import scipy.stats
from conftest import draw

from jax_inr.config import Config
from jax_inr.layers import siren_bound, torch_bound
from jax_inr.model import make_model


def test_bounds_are_their_papers():
    assert torch_bound(256) == 1 / 16
    # SIREN, section 3.2: the first layer spans whole periods of its inputs.
    assert siren_bound(0, 2, 30.0) == 1 / 2
    assert siren_bound(1, 150, 20.0) == pytest.approx(0.2 / 20)


@pytest.mark.parametrize("network", ["siren", "finer", "gauss", "wire", "mlp"])
def test_initial_weights_are_uniform_within_their_papers_bounds(network):
    config = Config(
        network=network, encoding="none", hidden_features=(200, 200), omega_0=20.0
    )
    params = draw(make_model(config, 4, 4, 3))["params"]
    for index, fan_in in enumerate((2, 200, 200)):
        usual = fan_in**-0.5
        bound = usual
        if network in ("siren", "finer"):
            bound = 1 / fan_in if index == 0 else (6 / fan_in) ** 0.5 / 20
        layer = params[f"dense_{index}"]
        bounds = {"kernel": bound, "kernel_imag": bound, "bias": usual}
        bounds["bias_imag"] = usual
        assert set(layer) <= set(bounds)
        assert ("kernel_imag" in layer) == (network == "wire" and index > 0)
        for name, numbers in layer.items():
            reach = bounds[name]
            assert np.abs(numbers).max() <= reach
            law = scipy.stats.uniform(-reach, 2 * reach)
            assert scipy.stats.kstest(np.ravel(numbers), law.cdf).pvalue > 1e-4
