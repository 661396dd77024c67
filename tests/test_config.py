"""The config: its ranges, its JSON form, and that it needs neither framework."""

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
NUMBERS = [
    name
    for name, field in FIELDS.items()
    if {int, float} & {field.type, *get_args(field.type)} and field.type is not str
]
LITERALS = [n for n, field in FIELDS.items() if get_origin(field.type) is Literal]


def with_number(name, value):
    """A config with a number in a field, or in each place of a tuple field."""
    return Config().replace(**{name: (value,) if name == "hidden_features" else value})


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_config_comes_back_from_json_equal_and_equally_hashed(config):
    text = json.dumps(config.to_dict(), allow_nan=False)
    back = Config.from_dict(json.loads(text))
    assert back == config and hash(back) == hash(config)


def test_a_partial_object_takes_the_defaults():
    assert Config.from_dict({"sigma": 3.5}) == Config(sigma=3.5)
    assert Config.from_dict({"hidden_features": [8, 9]}).hidden_features == (8, 9)


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().sigma = 2.0  # pyright: ignore[reportAttributeAccessIssue]


def test_every_field_has_its_help_text():
    assert all(field.metadata["doc"].endswith(".") for field in FIELDS.values())


@pytest.mark.parametrize("name", NUMBERS)
def test_a_range_is_closed_and_what_lies_outside_is_named(name):
    field = FIELDS[name]
    low, high = field.metadata["low"], field.metadata["high"]
    whole = float not in (field.type, *get_args(field.type))
    assert math.isfinite(high)
    for end, outside in ((low, -1), (high, 1)):
        with_number(name, end)
        beyond = end + outside if whole else math.nextafter(end, outside * math.inf)
        with pytest.raises(ConfigError, match=rf"^{name} is .*must lie in"):
            with_number(name, beyond)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, True, "1", [1], {}, 1j], ids=repr
)
def test_what_is_no_number_of_the_field_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name} is "):
        with_number(name, value)


def test_only_the_optional_fields_take_none():
    optional = {"batch_size", "target_psnr", "max_seconds"}
    # None asks for the rate that suits, and does not stay.
    assert Config().replace(learning_rate=None).learning_rate == 1.0
    for name in {*FIELDS} - {"learning_rate"}:
        if name in optional:
            assert getattr(Config().replace(**{name: None}), name) is None
        else:
            with pytest.raises(ConfigError, match=f"^{name} is None"):
                Config().replace(**{name: None})


@pytest.mark.parametrize("name", [n for n in NUMBERS if FIELDS[n].type is int])
def test_a_whole_number_is_not_a_float(name):
    with pytest.raises(ConfigError, match="whole number"):
        with_number(name, 2.0)


def test_numbers_of_numpy_and_lists_are_plain_ones():
    fields: dict[str, Any] = {
        "steps": np.int64(5),
        "seed": np.array(3),
        "sigma": np.float32(2.5),
        "rgb_max": np.int16(256),
        "hidden_features": [np.int32(16), 8],
    }
    given = Config(**fields)
    plain = Config(steps=5, seed=3, sigma=2.5, rgb_max=256, hidden_features=(16, 8))
    assert given == plain and hash(given) == hash(plain)
    for name in FIELDS:
        assert type(getattr(given, name)) is type(getattr(plain, name)), name
    assert given.to_dict() == plain.to_dict()
    widths: Any = np.array([4, 5])
    assert Config(hidden_features=widths).hidden_features == (4, 5)
    assert plain.replace(batch_size=np.uint8(7)).batch_size == 7
    # What is wrong of Python's is as wrong of numpy's.
    for name, value in [("steps", 5.0), ("steps", True), ("sigma", math.nan)]:
        with pytest.raises(ConfigError, match=f"^{name} is "):
            Config().replace(**{name: np.asarray(value)[()]})
    with pytest.raises(ConfigError, match=r"^steps is "):
        Config().replace(steps=np.array([5]))


def test_hints_name_fields_not_options():
    """Whoever calls from Python has no options; the command turns fields into them."""
    wrong = [
        {"network": "cnn"},
        {"network": "cnn", "encoding": "none", "sampling": "lattice"},
        {"optimizer": "lbfgs", "batch_size": 3, "schedule": "cosine"},
        {"encoding": "positional", "num_frequencies": 3},
        {"encoding": "periodic", "sigma": 1000.0},
        {"encoding": "hash_grid", "finest": 3},
        {"unknown": 3},
    ]
    for fields in wrong:
        with pytest.raises(ConfigError) as caught:
            Config().replace(**fields)
        assert caught.value.hint and "--" not in caught.value.hint
        assert "--" not in str(caught.value)


@pytest.mark.parametrize("name", LITERALS)
def test_a_choice_is_of_those_listed(name):
    choices = get_args(FIELDS[name].type)
    for wrong in ("nothing", 0, 255.0, True, None):
        with pytest.raises(ConfigError, match=f"^{name} is .* one of {choices[0]}"):
            Config().replace(**{name: wrong})


@pytest.mark.parametrize("widths", [(), (0,), (8, -1), (8.0,), 8, "8", (1,) * 65])
def test_hidden_features_are_1_to_64_whole_numbers(widths):
    with pytest.raises(ConfigError, match=r"^hidden_features is "):
        Config(hidden_features=widths)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "gaussian"}, "encoding"),
        ({"batch_size": 16}, "whole grid"),
        ({"matmul_precision": "bfloat16"}, "bfloat16"),
    ],
)
def test_the_cnn_refuses_what_it_cannot_do(changes, words):
    cnn = Config(network="cnn", encoding="none")
    with pytest.raises(ConfigError, match=words) as caught:
        cnn.replace(**changes)
    assert caught.value.hint


def test_an_unknown_field_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="'sigmaa'") as caught:
        Config().replace(sigmaa=1.0)
    assert caught.value.hint == "did you mean sigma?"


def test_replace_changes_only_what_is_named():
    changed = PRESETS["fourier"].replace(seed=5)
    assert changed.seed == 5
    assert changed.replace(seed=PRESETS["fourier"].seed) == PRESETS["fourier"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
NAMES = st.sampled_from([*FIELDS, "self", "changes", "cls"]) | st.text(max_size=5)


@given(st.dictionaries(NAMES, JSON, max_size=3) | JSON)
def test_any_json_is_a_config_or_a_config_error(value):
    try:
        config = Config.from_dict(value)
    except ConfigError as error:
        assert str(error)
    else:
        assert Config.from_dict(config.to_dict()) == config


def test_config_loop_and_the_package_need_neither_framework():
    modules = "config, presets, coordinates, metrics, loop, lanes, fitting, inputs, run"
    code = (
        f"import sys, jax_inr; from jax_inr import {modules}; "
        "print({'jax', 'torch', 'flax', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("set()", 0), done.stderr
