"""The research matrix: encodings, networks and optimizers go together.

All pairs: every encoding with every network, either with every optimizer. A smooth
image, so that even a network without an encoding can fit it.
"""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_inr.config import GRIDS, Config, Encoding, Network, Optimizer
from jax_inr.errors import ConfigError
from jax_inr.field import ImageField
from jax_inr.fitting import Fit, fit

ENCODINGS, OPTIMIZERS = get_args(Encoding), get_args(Optimizer)
NETWORKS = tuple(name for name in get_args(Network) if name != "cnn")
RATES = {
    # Each optimizer's; a tenth of it for periodic and Gaussian activations.
    "sgd": 0.5,
    "lion": 3e-3,
    "adan": 1e-2,
    "lamb": 2e-2,
}


def smooth_image(side: int = 32) -> np.ndarray:
    rows, columns = np.meshgrid(*[np.arange(side) / side] * 2, indexing="ij")
    red = 0.5 + 0.4 * np.cos(np.pi * rows)
    green = 0.5 + 0.4 * np.sin(np.pi * columns)
    return np.stack([red, green, 0.2 + 0.6 * rows * columns], -1).astype(np.float32)


def config_of(encoding: str, network: str, optimizer: str) -> Config:
    rate = RATES.get(optimizer, 1e-2)
    if network != "mlp" and optimizer != "lamb":
        rate /= 10
    fields: dict[str, Any] = {
        "encoding": encoding,
        "network": network,
        "optimizer": optimizer,
        "learning_rate": rate,
    }
    return Config(
        **fields,
        hidden_features=(32, 32),
        num_frequencies=16,
        sigma=1.0,
        octaves=2.0,
        num_levels=2,
        coarsest=4,
        finest=8,
        log2_table_size=5,
        omega_0=10.0,
        scale_0=3.0,
        steps=60 if optimizer == "lbfgs" else 400,
        eval_every=1000,
    )


def pairs() -> list[tuple[str, str, str]]:
    """Every pair of names, in as few triples as the two longest lists have."""
    return [
        (encoding, NETWORKS[(i + j) % len(NETWORKS)], optimizer)
        for i, encoding in enumerate(ENCODINGS)
        for j, optimizer in enumerate(OPTIMIZERS)
    ]


def check(result: Fit, config: Config, folder: Any) -> None:
    """Fitted, saved and loaded, vmapped."""
    first, last = result.rows[0]["loss"], result.rows[-1]["loss"]
    assert last < 0.1 * first, (config, first, last)
    field = result.field
    field.save(folder / "field.safetensors")
    again = ImageField.load(folder / "field.safetensors")
    coords = jnp.asarray(np.random.default_rng(0).random((9, 2)), jnp.float32)
    np.testing.assert_array_equal(again(coords), field(coords))
    one_by_one = jax.vmap(field)(coords)
    np.testing.assert_allclose(one_by_one, field(coords), atol=1e-5)


def test_all_pairs_are_among_the_triples():
    triples = pairs()
    for first, second, names in (
        (0, 1, (ENCODINGS, NETWORKS)),
        (0, 2, (ENCODINGS, OPTIMIZERS)),
        (1, 2, (NETWORKS, OPTIMIZERS)),
    ):
        found = {(triple[first], triple[second]) for triple in triples}
        assert found == {(a, b) for a in names[0] for b in names[1]}


@pytest.mark.slow_cases("wire", "siren", "gauss", "finer")
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_fits(network, tmp_path):
    encoding = ENCODINGS[NETWORKS.index(network)]
    config = config_of(encoding, network, "adam")
    check(fit(smooth_image(), config), config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "network", "optimizer"), pairs())
def test_every_pair_fits(encoding, network, optimizer, tmp_path):
    config = config_of(encoding, network, optimizer)
    check(fit(smooth_image(), config), config, tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "cnn"}, "pixel indices, not encoding gaussian"),
        (
            {"network": "cnn", "encoding": "none", "optimizer": "muon"},
            "muon orthogonalises matrices",
        ),
        (
            {"network": "cnn", "encoding": "none", "sampling": "lattice"},
            "takes no samples",
        ),
        ({"optimizer": "lbfgs", "batch_size": 8}, "lines of the whole loss"),
        ({"optimizer": "lbfgs", "schedule": "cosine"}, "its own step lengths"),
        ({"encoding": "positional", "num_frequencies": 7}, "use an even number"),
        ({"encoding": "periodic", "sigma": 1000.0}, "makes it too large"),
        ({"encoding": GRIDS[0], "coarsest": 64, "finest": 8}, "below coarsest"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(fields, message):
    with pytest.raises(ConfigError) as caught:
        Config(**fields)
    assert message in f"{caught.value} {caught.value.hint}"
