"""Words of a command line to options: tyro, with each error as one line."""

import contextlib
import dataclasses
import inspect
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import tyro

from jax_inr.config import refuse
from jax_inr.errors import ConfigError

T = TypeVar("T")
MARKERS = (tyro.conf.FlagCreatePairsOff,)
Range = tuple[str, float | None, float, float]


def parse(kind: type[T], argv: list[str], command: str, default: Any = None) -> T:
    """The options of a command, paths with their `~` expanded.

    Raises:
        ConfigError: an option is unknown or cannot be read.
        SystemExit: help or a completion script was asked for, and is printed.
    """
    given = {} if default is None else {"default": default}
    about = {"prog": f"jax-inr {command}", "description": inspect.getdoc(kind)}
    with errors_in_one_line():
        return expanded(tyro.cli(kind, args=argv, config=MARKERS, **about, **given))


def parse_known(kind: type[T], argv: list[str]) -> T:
    """Those options of `kind` that are in `argv`, whatever else is in it."""
    with errors_in_one_line():
        known, _ = tyro.cli(
            kind, args=argv, add_help=False, return_unknown_args=True, config=MARKERS
        )
        return expanded(known)


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn the exit of tyro, which prints its errors in a box, into a ConfigError."""
    # tyro has a hook for its errors, but keeps it private.
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(*one_line(errors.getvalue())) from None


def one_line(box: str) -> tuple[str, str]:
    """Message and hint of tyro's boxed error: title, message, rule, suggestions."""
    lines = [line.strip(" │╭╮╰╯") for line in box.splitlines()]
    lines = [line for line in lines if line][1:]
    is_rule = [not line.strip("─-") for line in lines]
    if is_rule[0]:
        lines, is_rule = lines[1:], is_rule[1:]
    end = is_rule.index(True) if True in is_rule else len(lines)
    suggested = re.search(r"--[a-z][a-z-]*", " ".join(lines[end:]))
    near = suggested and "Perhaps" in lines[min(end + 1, len(lines) - 1)]
    hint = f"did you mean {suggested[0]}?" if suggested and near else "see --help"
    return " ".join(lines[:end]).rstrip("."), hint


def expanded(options: T) -> T:
    """The options with `~` and `~user` expanded in every path."""

    def expand(value: Any) -> Any:
        if isinstance(value, Path):
            return Path(os.path.expanduser(value))
        return tuple(map(expand, value)) if isinstance(value, tuple) else value

    fields: Any = dataclasses.fields(options)  # pyright: ignore[reportArgumentType]
    changes = {f.name: expand(getattr(options, f.name)) for f in fields}
    return dataclasses.replace(options, **changes)  # pyright: ignore[reportArgumentType]


def check_numbers(*ranges: Range) -> None:
    """Refuse all values, of those named, that lie outside their range."""
    refuse(
        [
            (f"{name} is {value}; it must lie in {low:g} to {high:g}", "")
            for name, value, low, high in ranges
            # NaN fails: comparisons with it are false.
            if value is not None and not low <= value <= high
        ]
    )


def parse_size(text: str | None) -> int | tuple[int, int] | None:
    """`224` or `240x320` (height x width) as numbers; raises ConfigError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > 2:
        raise ConfigError(f"size is {text!r}; it must be N or HxW, as 224 or 240x320")
    numbers = [int(part) for part in parts]
    if not all(1 <= n <= 65_535 for n in numbers):
        raise ConfigError(f"size is {text}; each side must lie in 1 to 65535")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
