"""Configs for a wanted number of trained numbers."""

import pytest

from jax_inr.config import Config
from jax_inr.cost import count_params
from jax_inr.errors import ConfigError
from jax_inr.grids import pyramid_levels
from jax_inr.model import make_model
from jax_inr.presets import PRESETS
from jax_inr.scaling import for_image, with_num_params

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
    {"encoding": "pyramid", "level_features": 3, "num_levels": 4, "finest": 40},
]


def num_params(config, height=224, width=224):
    return count_params(make_model(config, height, width, 3))


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


def test_a_pyramid_halves_in_the_proportions_of_the_image():
    config = Config(encoding="pyramid", finest=60, num_levels=4, level_features=3)
    # Three to four: 45 to 60 cells.
    assert pyramid_levels(config, 300, 400) == [
        ((6, 8), 3),
        ((11, 15), 3),
        ((22, 30), 2),
        ((45, 60), 1),
    ]
    assert pyramid_levels(config, 4, 400)[-1] == ((1, 60), 1)


def test_levels_of_less_than_a_cell_are_left_out():
    config = Config(encoding="pyramid", finest=4, num_levels=9, level_features=1)
    cells = [each for each, _ in pyramid_levels(config, 8, 8)]
    assert cells == [(1, 1), (2, 2), (4, 4)]


@pytest.mark.parametrize("name", PRESETS)
def test_the_sample_gets_the_presets_as_they_are(name):
    assert for_image(PRESETS[name], 224, 224) is PRESETS[name]
    assert for_image(PRESETS[name], 8, 30) is PRESETS[name]


def test_fast_keeps_its_cells_and_samples_a_pixel():
    fast = for_image(PRESETS["fast"], 448, 896)
    assert fast.finest == 4 * PRESETS["fast"].finest
    assert fast.batch_size == 8 * (PRESETS["fast"].batch_size or 0)
    assert fast.num_levels == PRESETS["fast"].num_levels + 2
    per_pixel = num_params(PRESETS["fast"]) / 224**2
    assert num_params(fast, 448, 896) / (448 * 896) == pytest.approx(per_pixel, rel=0.1)
    # A second look changes nothing.
    assert for_image(fast, 448, 896) is fast


def test_quality_of_a_large_image_has_a_cell_a_pixel():
    quality = for_image(PRESETS["quality"].replace(seed=3), 512, 768)
    assert quality.preset == "quality" and quality.seed == 3
    assert pyramid_levels(quality, 512, 768)[-1] == ((512, 768), 1)
    assert quality.steps == 2000
    asked = PRESETS["quality"].replace(steps=50)
    assert for_image(asked, 512, 768).steps == 50


@pytest.mark.parametrize(
    "config",
    [
        PRESETS["fast"].replace(finest=20),
        PRESETS["quality"].replace(omega_0=20.0),
        PRESETS["default"],
        Config(preset="mine"),
    ],
)
def test_what_a_user_chose_stays(config):
    assert for_image(config, 512, 768) is config


def test_a_pyramid_is_no_finer_than_the_pixels():
    found = with_num_params(PRESETS["fast"], 10**9, 30, 40)
    assert pyramid_levels(found, 30, 40)[-1] == ((30, 40), 1)
