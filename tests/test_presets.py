"""The notebook's presets are the notebook's numbers; ours keep its network."""

import pytest

from jax_inr.config import Config
from jax_inr.cost import count_params
from jax_inr.errors import ConfigError
from jax_inr.model import make_model
from jax_inr.presets import PRESETS, preset

# Constants of the notebook's three programs, under the names of our fields. Its data
# are 8-bit levels over RGB_MAX = 256, its loss is over all pixels, its rate constant.
ALWAYS = {
    "rgb_max": 256,
    "optimizer": "sgd",
    "schedule": "constant",
    "warmup_steps": 0,
    "batch_size": None,
    "matmul_precision": "float32",
    "target_psnr": None,
    "max_seconds": None,
}
FOURIER = {
    "encoding": "gaussian",
    "num_frequencies": 128,  # N_FREQ
    "sigma": 10.0,  # SIGMA
    "network": "mlp",
    "hidden_features": (128, 256),
    "momentum": 0.9,  # MOMENTUM
}
NOTEBOOK = {
    "cnn": {
        "encoding": "none",
        "network": "cnn",
        "hidden_features": (64, 128, 512),
        "learning_rate": 0.01,
        "momentum": 0.0,
        "steps": 1000,  # EPOCHS
        "eval_every": 50,  # EVAL_INTERVAL
    },
    "fourier": {**FOURIER, "learning_rate": 2.0, "steps": 1000, "eval_every": 10},
    "optimized": {**FOURIER, "learning_rate": 1.0, "steps": 2000, "eval_every": 100},
}


@pytest.mark.parametrize("name", NOTEBOOK)
def test_the_presets_of_the_notebook_have_its_constants(name):
    fields = preset(name).to_dict()
    expected = Config(preset=name, **ALWAYS, **NOTEBOOK[name]).to_dict()
    for unused in ("seed",):
        del fields[unused], expected[unused]
    assert fields == expected


# Weights and biases of the notebook's layers, counted by hand. The 1x1 convolutions:
# 256*128 + 128, 128*256 + 256, 256*3 + 3. The 3x3: 9*2*64 + 64, 9*64*128 + 128,
# 9*128*512 + 512, 9*512*3 + 3.
SIZES = {"fourier": 66_691, "optimized": 66_691, "default": 66_691, "cnn": 679_235}


@pytest.mark.parametrize("name", SIZES)
def test_the_networks_have_the_notebooks_size(name):
    model = make_model(preset(name), 224, 224, 3)
    assert count_params(model) == SIZES[name]


def test_default_is_the_notebooks_network_on_mini_batches():
    config = preset("default")
    assert {name: getattr(config, name) for name in FOURIER} == FOURIER
    assert config.optimizer == "sgd" and config.batch_size


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_knows_its_name(name):
    assert preset(name).preset == name


def test_an_unknown_preset_lists_the_names():
    with pytest.raises(ConfigError, match="'optimised'") as caught:
        preset("optimised")
    assert "did you mean optimized?" in caught.value.hint
    assert all(name in caught.value.hint for name in PRESETS)
