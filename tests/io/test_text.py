"""io.text: foreign text in one line; JSON valid whatever the numbers, read strictly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_inr.errors import JaxInrError
from jax_inr.io.text import from_json, shown, to_json

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
        *(b"", b"\xff", b"\xef\xbb\xbf", "1".encode("utf-16"), b"1 2", b"'a'"),
        *(b"1e999", b"[-1e400]", b"1" * 400, b"-" + b"9" * 21, b"%d" % 2**64),
        b"[" * 10**5,
    ],
)
def test_what_is_not_json_is_a_value_error(data):
    with pytest.raises(ValueError):
        from_json(data)


def test_a_byte_order_mark_is_no_part_of_the_text():
    """Editors on Windows begin UTF-8 files with one."""
    assert from_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert from_json('{"a": "\ufeffb"}'.encode()) == {"a": "\ufeffb"}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**64, 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(),
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


HOSTILE = ("\x1b[31m", "\n", "\r", "\0", "\u202e", "\ud800", "\x9b", "\u2028")


@given(
    st.text() | st.sampled_from(HOSTILE).map(lambda c: c * 10**5), st.integers(8, 99)
)
def test_shown_text_is_one_printable_line_of_bounded_length(text, most):
    line = shown(text, most)
    assert line.isprintable() and len(line) <= most
    if text.isprintable() and len(text) <= most:
        assert line == text


def test_shown_text_keeps_both_ends_and_escapes_as_python_does():
    assert shown("a\x1b[31m\nü\u202e") == "a\\x1b[31m\\nü\\u202e"
    line = shown("begin" + "x" * 10**6 + "end", 20)
    assert line.startswith("beginx") and line.endswith("xend") and "…" in line


@pytest.mark.parametrize("kind", JaxInrError.__subclasses__())
def test_no_error_says_more_than_a_line(kind):
    """Whatever a message quotes: names and versions of files, of a megabyte each."""
    for text in HOSTILE:
        error = kind(f"the tensor {text * 10**5} is missing", f"drop {text}")
        assert str(error).isprintable() and len(str(error)) < 3000
        assert error.hint.isprintable()
        assert str(error).startswith("the tensor ")
    assert str(kind("as it stands: ü")) == "as it stands: ü"
