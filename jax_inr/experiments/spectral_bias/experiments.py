"""All experiments by name, run one after the other and kept; a second run goes on."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jax_inr.experiments import report
from jax_inr.experiments.report import Json
from jax_inr.experiments.spectral_bias.fits import Tell
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
from jax_inr.io.images import Image
from jax_inr.io.text import to_json

Experiment = Callable[[Form, np.ndarray, int, Tell], Json]
DIGITS = 6  # of a number that is kept


class Display(Protocol):
    """What shows a person the experiments: each one's begin, steps and end."""

    def begin(self, title: str) -> None: ...

    def tell(self, done: int, steps: int) -> None: ...

    def end(self, text: str) -> None: ...


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


def about(form: Form, image: Image, seed: int) -> Json:
    """All that decides the numbers; what was measured under another is not mixed in."""
    height, width, channels = image.image.shape
    found = {"path": Path(image.path).name, "sha256": image.sha256}
    found |= {"height": height, "width": width, "channels": channels}
    return json.loads(
        to_json({"form": dataclasses.asdict(form), "seed": seed, "image": found})
    )


def run(
    form: Form,
    image: Image,
    seed: int,
    path: Path,
    kept: Json,
    sections: Sequence[str],
    command: str,
    display: Display,
) -> None:
    """Measure what is not kept yet, of some sections; each is written at once.

    `kept` is what `report.read` gave of `path`, and is added to.
    """
    wanted = {
        name: measure
        for name, measure in experiments(form).items()
        if name.split("/")[0] in sections
    }
    for number, (name, measure) in enumerate(wanted.items(), 1):
        display.begin(f"[{number}/{len(wanted)}] {name}")
        if name in kept["sections"]:
            display.end("kept from before")
            continue
        start = time.perf_counter()
        measured = rounded(measure(form, image.image, seed, display.tell))
        seconds = time.perf_counter() - start
        kept["sections"][name] = report.record(measured, command, seconds, "jax")
        report.keep(path, kept, indent=None)
        display.end(f"{seconds:.1f} s")


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
