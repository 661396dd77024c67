"""Values of a config's fields: their plain form, their type and their range.

Framework-free.
"""

import dataclasses
from typing import Any, Literal, get_args, get_origin

from jax_inr.errors import ConfigError

# Stands for a number that `jax_inr.spectrum` finds, once the image is known.
Auto = Literal["auto"]
AUTO = "auto"
AUTOS = ("sigma", "omega_0")  # fields that take it


def plain(field: dataclasses.Field, value: Any) -> Any:
    """Numbers of numpy as Python's, and a list for a tuple as that tuple."""
    if get_origin(field.type) is tuple and hasattr(value, "tolist"):
        value = value.tolist()
    if get_origin(field.type) is tuple and isinstance(value, list | tuple):
        return tuple(_number(item) for item in value)
    return _number(value)


def _number(value: Any) -> Any:
    """A scalar of numpy, or of what behaves alike, as Python's own."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def check(field: dataclasses.Field, value: Any) -> None:
    """Refuse a value of another type, or out of its range; raises ConfigError."""
    kind = field.type
    low, high = field.metadata["low"], field.metadata["high"]
    name = field.name
    if get_origin(kind) is Literal:
        # By identity of type too: True == 1 and 255.0 == 255 are no choices.
        if not any(value == c and type(value) is type(c) for c in get_args(kind)):
            choices = ", ".join(str(choice) for choice in get_args(kind))
            raise ConfigError(f"{name} is {value!r}; it must be one of {choices}")
    elif kind is str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > 100:
            raise ConfigError(
                f"{name} is {value!r}; it must be text of up to 100 characters"
            )
    elif get_origin(kind) is tuple:
        if not isinstance(value, tuple) or not 1 <= len(value) <= 64:
            raise ConfigError(f"{name} is {value!r}; it must be 1 to 64 whole numbers")
        for item in value:
            _check_number(name, item, True, low, high, "whole number")
    elif value is not None or type(None) not in get_args(kind):
        whole = float not in (kind, *get_args(kind))
        noun = "whole number" if whole else "number"
        if Auto in get_args(kind):
            if isinstance(value, str) and value == AUTO:
                return
            noun = "number, or auto"
        _check_number(name, value, whole, low, high, noun)


def _check_number(
    name: str, value: Any, whole: bool, low: float, high: float, noun: str
) -> None:
    right = isinstance(value, int if whole else int | float)
    if isinstance(value, bool) or not right:
        raise ConfigError(f"{name} is {value!r}; it must be a {noun}")
    # NaN fails: comparisons with it are false.
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must lie in {low:g} to {high:g}")
