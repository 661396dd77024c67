"""io.text: JSON that is valid whatever the numbers, and read strictly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_inr.io.text import from_json, to_json

ROOT = Path(__file__).parents[2]


def child(code, *arguments, **options):
    """Run Python code in a process of its own, with the repository importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, **options
    )


def test_json_is_valid_whatever_the_numbers():
    value = {
        "inf": np.inf,
        "nested": [{"nan": float("nan")}, (-np.inf, np.float32("nan"))],
        "numpy": [np.float32(0.5), np.int64(3), np.bool_(True), np.arange(2)],
        "path": os.fsdecode(b"caf\xe9 \xc3\xa9"),
        "plain": [1, 2.5, None, False, "ü"],
    }
    text = to_json(value)

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(text.encode(), parse_constant=refuse) == {
        "inf": "inf",
        "nested": [{"nan": "nan"}, ["-inf", "nan"]],
        "numpy": [0.5, 3, True, [0, 1]],
        "path": "caf\\udce9 é",
        "plain": [1, 2.5, None, False, "ü"],
    }
    assert list(json.loads(text)) == list(value)


@pytest.mark.parametrize(
    "data",
    [
        *(b"NaN", b"[Infinity]", b'{"a": -Infinity}', b'{"a": 1, "a": 1}'),
        *(b"", b"\xff", b"\xef\xbb\xbf1", "1".encode("utf-16"), b"1 2", b"'a'"),
        b"[" * 10**5,
    ],
)
def test_what_is_not_json_is_a_value_error(data):
    with pytest.raises(ValueError):
        from_json(data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_json_comes_back(value):
    def with_names(value):
        if isinstance(value, float) and np.isinf(value):
            return str(value)
        if isinstance(value, list):
            return [with_names(item) for item in value]
        if isinstance(value, dict):
            return {key: with_names(item) for key, item in value.items()}
        return value

    assert from_json(to_json(value).encode()) == with_names(value)
