"""Text as it goes to people and files: printable paths, and JSON that is valid.

Imports neither JAX nor torch.
"""

import json
import math
import os
from typing import Any

import numpy as np

StrPath = str | os.PathLike[str]


def shown(path: StrPath) -> str:
    """The path as one line of printable text, escaped where it must be."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


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
    """The value of UTF-8 JSON; ValueError also for duplicate keys and deep nesting."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse
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
