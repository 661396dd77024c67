"""Options of the commands: from the config's fields to tyro, and errors in one line."""

import argparse
import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError
from jax_inr.io.reading import read_json
from jax_inr.io.text import shown
from jax_inr.presets import PRESETS, preset

FIELDS = tuple(f for f in dataclasses.fields(Config) if f.name != "preset")


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """Measure the speed of fits side by side."""

    sections: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sections to run: steps, race, parameters, kodak, many. Left out: all."""
    turns: int = 9
    """Turns of each contender."""
    quick: bool = False
    """A form of each section that ends within a minute."""
    out: str = "docs/performance.md"
    """Report to write; its .json beside it keeps every measurement."""
    debug: bool = False
    """Print the traceback of an error."""


@dataclasses.dataclass(frozen=True)
class SpectralBiasOptions:
    """Measure spectral bias and write the report on it; a second run goes on."""

    image: tyro.conf.Positional[str | None] = None
    """Picture, centre-cropped to a square; left out: the sample cat."""
    out: str = "runs/spectral-bias"
    """Folder of spectral-bias.md, .json and images/."""
    quick: bool = False
    """The small form: the direction of every finding in about a minute."""
    sections: tuple[str, ...] = ()
    """Of checks, waves, ntk, spectra, widths, locality, sharing. Left out: all."""
    size: int | None = None
    """Side of the picture in pixels; left out: 128, and 64 with --quick."""
    bands: int | None = None
    """Frequency bands; left out: 10."""
    ntk_side: int | None = None
    """Side of the sub-grid of the NTK; left out: 32, and 16 with --quick."""
    seed: int = 0
    """Seed of all draws."""
    overwrite: bool = False
    """Measure anew what --out holds."""
    max_pixels: int = 50_000_000
    """Refuse pictures of more pixels than this."""
    debug: bool = False
    """Print the traceback of an error."""


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """The Fourier-features table on a folder of pictures; a second run goes on."""

    folder: tyro.conf.Positional[str]
    """Folder of pictures; they need not be of one shape."""
    out: str = "runs/compare"
    """Folder of compare-KIND.md, .json and .png, and of fits/, which keeps each fit."""
    kind: Literal["natural", "text"] = "natural"
    """Which of the paper's two settings: learning rates and frequencies."""
    rows: tuple[str, ...] = ()
    """none, basic, positional, gaussian, ours, ridge, bilinear, bicubic; out: all."""
    budget: bool = False
    """A tenth of the arithmetic: a tenth of the trained pixels at each step."""
    steps: int = 2000
    """Steps of each fit."""
    size: str | None = None
    """N: centre crop and resize to N x N; HxW: resize. Left out: as they are."""
    crop: int | None = None
    """Side of the square at the centre to take, without resizing."""
    seed: int = 0
    """Seed of frequencies and weights, the same for all pictures."""
    at_once: int | None = None
    """Pictures in one program; left out: as many as memory allows, 4 on a CPU."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Fit anew what --out holds."""
    max_pixels: int = 50_000_000
    """Refuse pictures of more pixels than this."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def parse_fit(argv: list[str]) -> Any:
    """The options of `fit`: the config's fields, with the preset's as defaults.

    Raises:
        ConfigError: an option is unknown or cannot be read.
        SystemExit: help was asked for, and is printed.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--preset", "--config", "--resume"):
        early.add_argument(flag, nargs="?")
    named = early.parse_known_args(argv)[0]
    if named.resume is not None:
        try:
            base = read_config(Path(named.resume) / "config.json", follow=False)
        except ConfigError as error:
            hint = "check the path, or begin again with --overwrite"
            raise CheckpointError(str(error), hint) from error
    elif named.config is not None:
        if named.preset is not None:
            raise ConfigError("--config has all fields: it cannot go with --preset")
        base = read_config(Path(named.config))
    else:
        base = preset(named.preset or "default")
    return run_tyro(fit_options(base), argv, "fit")


def fit_options(base: Config) -> type:
    """A dataclass of all options of `fit`, for tyro, with `base` as the defaults."""

    def option(name: str, kind: Any, default: Any, doc: str, **arg: Any) -> Any:
        return name, Annotated[kind, tyro.conf.arg(help=doc, **arg)], default

    options = [
        option(
            "image",
            tyro.conf.Positional[tuple[str, ...]],
            (),
            "Pictures to fit, each into a folder of its own; left out: the sample cat.",
            metavar="IMAGE",
        ),
        option(
            "sweep",
            tuple[str, ...],
            (),
            "NAME=V,V,… of the config: a fit for each value, as sigma=1,3,10 seed=0,1.",
        ),
        option(
            "preset",
            Literal[tuple(PRESETS)] if base.preset in PRESETS else str,
            base.preset,
            "Named config that the other options change.",
        ),
        option(
            "backend",
            Literal["jax", "torch"] | None,
            None,
            "Who computes; torch is the reference. Left out: jax.",
        ),
        option(
            "size",
            str | None,
            None,
            "N: centre crop and resize to N x N; HxW: resize. Left out: as it is, "
            "224 for the sample.",
        ),
        option("out", str | None, None, "Folder of the run; left out: under runs/."),
        option("overwrite", bool, False, "Replace the run in --out."),
        option("resume", str | None, None, "Go on with the run in this folder."),
        option("config", str | None, None, "A config.json to take all fields from."),
        option("device", Literal["auto", "cpu", "gpu"], "auto", "Where to compute."),
        option("checkpoint_seconds", float, 30.0, "Seconds between two checkpoints."),
        option(
            "max_memory",
            float | None,
            None,
            "Refuse a fit that needs more GiB; left out, what the machine has left.",
        ),
        option(
            "max_pixels", int, 50_000_000, "Refuse pictures of more pixels than this."
        ),
        option(
            "film",
            bool,
            False,
            "Record the fit as film.webp, and film.mp4 if imageio-ffmpeg is installed.",
        ),
        option("quiet", bool, False, "Print nothing but errors."),
        option("debug", bool, False, "Print the traceback of an error."),
    ]
    options += [
        option(f.name, f.type, getattr(base, f.name), f.metadata["doc"]) for f in FIELDS
    ]
    namespace = {"__doc__": "Fit a picture with a coordinate network."}
    return dataclasses.make_dataclass(
        "FitOptions", options, frozen=True, namespace=namespace
    )


def run_tyro(options: type, argv: list[str], command: str) -> Any:
    """Parse with tyro; its boxed errors become one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                options,
                args=argv,
                prog=f"jax-inr {command}",
                description=options.__doc__,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
    raise ConfigError(*one_line(errors.getvalue()))


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


def read_config(path: Path, *, follow: bool = True) -> Config:
    """The config in a JSON file."""
    try:
        return Config.from_dict(read_json(path, follow=follow))
    except CheckpointError as error:
        raise ConfigError(str(error), error.hint) from error
    except ConfigError as error:
        raise ConfigError(f"{shown(path)}: {error}", error.hint) from error


def check_ranges(config: Config, options: Any) -> None:
    """Refuse what only the command line has, or only it refuses."""
    if options.resume is not None:
        for name in ("image", "sweep", "size", "out", "config"):
            if getattr(options, name) not in (None, ()):
                raise ConfigError(
                    f"--resume cannot go with {name}: the run keeps its own",
                    "leave it out, or begin a new run",
                )
    ranges = (
        # The library takes 0 steps, which leaves the network as it was drawn.
        ("steps", config.steps, 1, 10**9),
        ("checkpoint_seconds", options.checkpoint_seconds, 0, 1e9),
        ("max_pixels", options.max_pixels, 1, 10**9),
        ("max_memory", options.max_memory, 1e-3, 1e6),
    )
    check_numbers(ranges)


def check_numbers(ranges: tuple[tuple[str, Any, float, float], ...]) -> None:
    """Refuse a value, of those named, that lies outside its range."""
    for name, value, low, high in ranges:
        # Written so that nan fails.
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{name} is {value}; it must lie in {low:g} to {high:g}")


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
