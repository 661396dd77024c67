"""Counts in closed form, and configs for a wanted number of trained numbers."""

import pytest

from jax_inr.config import Config
from jax_inr.cost import count_params
from jax_inr.errors import ConfigError
from jax_inr.model import make_model
from jax_inr.presets import PRESETS
from jax_inr.scaling import num_params, with_num_params

SMALL = {"hidden_features": (5, 7), "num_frequencies": 6}
KINDS = [
    {"encoding": encoding}
    for encoding in ("gaussian", "basic", "none", "positional", "trainable")
]
KINDS += [{"network": network} for network in ("siren", "finer", "gauss", "wire")]
KINDS += [{"network": "cnn", "encoding": "none"}]
GRID = {"num_levels": 3, "coarsest": 2, "finest": 9}
KINDS += [
    {"encoding": "dense_grid", **GRID},
    {"encoding": "hash_grid", "log2_table_size": 5, **GRID},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_count_is_the_models_own(kind, channels):
    config = Config(**SMALL, **kind)
    model = make_model(config, 12, 17, channels)
    assert num_params(config, channels) == count_params(model)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("wanted", [2_000, 30_000])
def test_numbers_are_as_many_as_wanted_or_a_little_fewer(kind, wanted):
    found = with_num_params(Config(**SMALL, **kind), wanted)
    count = num_params(found)
    assert count <= wanted
    # A hash grid has whole levels, of 2 * 32 numbers and their widths, and at most 32.
    assert count > 0.75 * wanted or found.num_levels == 32
    # All but the sizes is as it was.
    sizes = {"hidden_features", "finest", "coarsest", "num_levels"}
    before, after = Config(**SMALL, **kind).to_dict(), found.to_dict()
    assert {k for k in before if before[k] != after[k]} <= sizes


def test_presets_have_their_own_numbers():
    assert num_params(PRESETS["quality"]) == num_params(PRESETS["default"]) == 66_691
    assert with_num_params(PRESETS["quality"], 66_691) == PRESETS["quality"]


@pytest.mark.parametrize("name", PRESETS)
def test_fewer_numbers_than_the_smallest_has_are_refused(name):
    with pytest.raises(
        ConfigError, match="num_params is 3, and the smallest"
    ) as caught:
        with_num_params(PRESETS[name], 3)
    least = int(str(caught.value).split(" has ")[1].split()[0])
    assert num_params(with_num_params(PRESETS[name], least)) == least
