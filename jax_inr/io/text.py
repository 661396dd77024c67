"""Text as it goes to people and files: paths in one line, and JSON that is valid.

Imports neither JAX nor torch.
"""

import json
import math
import os
from typing import Any

import numpy as np

from jax_inr.errors import printable

MAX_JSON_BYTES = 2**20  # of a file of one JSON value

StrPath = str | os.PathLike[str]


def shown(path: StrPath, most: int = 500) -> str:
    """The path, or other foreign text, as one line: see `printable`."""
    return printable(os.fspath(path), most)


def to_json(value: Any, indent: int | None = None) -> str:
    """Valid JSON: inf, -inf and nan become the strings "inf", "-inf" and "nan".

    Numpy numbers and arrays become numbers and lists; key order is kept.
    """
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        # A path that is not UTF-8 holds lone surrogates, which are not UTF-8 either.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def from_json(data: bytes) -> Any:
    """The value of UTF-8 JSON, with or without a byte order mark.

    ValueError for what is no JSON, and for duplicate keys, deep nesting and numbers
    beyond 64 bits.
    """
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_int=_whole,
            parse_float=_real,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is there twice")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _whole(digits: str) -> int:
    # Python's integers have no end: larger ones overflow wherever floats are due.
    if len(digits) > 21 or abs(value := int(digits)) >= 2**64:
        raise ValueError("a number is too large")
    return value


def _real(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError("a number is too large")
    return value


def is_other(identity: str, other: str) -> bool:
    """Whether two objects of `adapters.identify` differ, by fingerprints in brackets.

    The words before may differ for one object: a module has two names.
    """
    return identity.rpartition("[")[2] != other.rpartition("[")[2]
