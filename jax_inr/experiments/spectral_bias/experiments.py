"""All experiments by name, run one after the other and kept; a second run goes on."""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.cli import streams
from jax_inr.errors import ConfigError
from jax_inr.experiments.benchmark.report import machine
from jax_inr.experiments.spectral_bias.fits import Json, Tell
from jax_inr.experiments.spectral_bias.forms import Form
from jax_inr.experiments.spectral_bias.kernels import brute_force, kernel
from jax_inr.experiments.spectral_bias.locality import padding, sharing, translation
from jax_inr.experiments.spectral_bias.spectra import (
    networks,
    parseval,
    spectra,
    waves,
    width,
)
from jax_inr.io import atomic, summaries, text
from jax_inr.io.images import Picture

Experiment = Callable[[Form, np.ndarray, int, Tell], Json]
DIGITS = 6  # of a number that is kept
PLAIN_SECONDS = 10.0  # between two lines where no terminal is


def experiments(form: Form) -> dict[str, Experiment]:
    """SECTION/PART and what measures it, cheap sections first."""
    found: dict[str, Experiment] = {"checks/parseval": parseval}
    found["checks/kernel"] = brute_force
    for encoding in ("none", "gaussian"):
        found[f"waves/{encoding}"] = functools.partial(waves, encoding)
    for encoding in ("none", "gaussian"):
        found[f"ntk/{encoding}"] = functools.partial(kernel, encoding)
    for name in networks(form):
        found[f"spectra/{name}"] = functools.partial(spectra, name)
    for hidden in (*form.widths, None):
        found[f"widths/{hidden or 'gaussian'}"] = functools.partial(width, hidden)
    for name in ("cnn", "pixel"):
        found[f"locality/{name}"] = functools.partial(translation, name)
    found["locality/padding"] = padding
    for grid in (1, 2, 4):
        found[f"sharing/{grid}"] = functools.partial(sharing, grid)
    return found


def about(form: Form, picture: Picture, seed: int) -> Json:
    """All that decides the numbers; what was measured under another is not mixed in."""
    height, width, channels = picture.image.shape
    image = {"path": Path(picture.path).name, "sha256": picture.sha256}
    image |= {"height": height, "width": width, "channels": channels}
    return json.loads(
        text.to_json({"form": dataclasses.asdict(form), "seed": seed, "image": image})
    )


def read(path: Path, settings: Json, overwrite: bool) -> Json:
    """What an earlier run kept, or nothing.

    Raises:
        ConfigError: it was measured under other settings, or the file is no such one.
    """
    kept: Json = {"about": settings, "experiments": {}}
    if overwrite or not path.exists():
        return kept
    hint = "choose another --out, or --overwrite"
    try:
        found = text.from_json(path.read_bytes())
        same = found["about"] == settings and isinstance(found["experiments"], dict)
    except (ValueError, LookupError, TypeError) as error:
        name = text.shown(path)
        raise ConfigError(f"{name} is no result of spectral-bias", hint) from error
    if not same:
        name = text.shown(path)
        raise ConfigError(f"{name} was measured under other settings", hint)
    return found


def run(
    form: Form,
    picture: Picture,
    seed: int,
    path: Path,
    kept: Json,
    sections: Sequence[str],
    command: str,
    display: "Display",
) -> None:
    """Measure what is not kept yet, of some sections; each is written at once.

    `kept` is what `read` gave of `path`, and is added to.
    """
    wanted = {
        name: measure
        for name, measure in experiments(form).items()
        if name.split("/")[0] in sections
    }
    with atomic.output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    for number, (name, measure) in enumerate(wanted.items(), 1):
        display.begin(f"[{number}/{len(wanted)}] {name}")
        if name in kept["experiments"]:
            display.end("kept from before")
            continue
        start = time.perf_counter()
        measured = measure(form, picture.image, seed, display.tell)
        seconds = time.perf_counter() - start
        kept["experiments"][name] = {
            "seconds": round(seconds, 2),
            "command": command,
            "machine": machine(),
            "versions": summaries.versions("jax"),
            "measured": rounded(measured),
        }
        atomic.write_atomic(path, (text.to_json(kept) + "\n").encode())
        display.end(f"{seconds:.1f} s")


class Display:
    """What a person sees: a line for each experiment, and its steps meanwhile.

    On a terminal the steps count up in place; elsewhere a line comes every while.
    """

    def __init__(self) -> None:
        self._output = streams.Output()
        self._live = sys.stdout.isatty()
        self._title, self._next = "", 0.0

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and self._live:
            self._output.write("\n")

    def begin(self, title: str) -> None:
        self._title, self._next = title, time.monotonic() + PLAIN_SECONDS
        if self._live:
            self._show(f"{title} …")

    def tell(self, done: int, steps: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (0.2 if self._live else PLAIN_SECONDS)
            self._show(f"{self._title}: step {done}/{steps}")

    def end(self, text: str) -> None:
        self._show(f"{self._title}: {text}")
        if self._live:
            self._output.write("\n")

    def _show(self, line: str) -> None:
        # To the line's start, and what was longer before is cleared.
        self._output.write(f"\r{line}\x1b[K" if self._live else f"{line}\n")
        self._output.flush()


def rounded(value: Any) -> Any:
    """A result with its floats to a few digits, arrays as lists."""
    match value:
        case dict():
            return {str(key): rounded(item) for key, item in value.items()}
        case np.ndarray():
            return rounded(value.tolist())
        case list() | tuple():
            return [rounded(item) for item in value]
        case float() | np.floating():
            return float(f"{value:.{DIGITS}g}")
    return value
