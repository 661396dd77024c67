"""`jax-inr restore`: an image from what is left of it, by an ensemble of fields."""

import dataclasses
import itertools
from pathlib import Path
from typing import Literal

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse
from jax_inr.errors import ConfigError

WAYS = ("inpaint", "upscale", "denoise", "deblur")
SWEPT = ("total_variation", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Options:
    """Restore an image: inpaint, upscale, denoise or deblur; a second run goes on."""

    image: tyro.conf.Positional[Path]
    """The image as it was measured."""
    inpaint: Path | None = None
    """Image of the mask: white where pixels are known, black where they are sought."""
    upscale: int | None = None
    """How many times larger on each side; IMAGE holds means over boxes."""
    denoise: str | None = None
    """Deviation of the noise in 8-bit levels, as 25; auto: estimated from the image."""
    deblur: str | None = None
    """Deviation of a Gaussian blur in pixels, or an image of the kernel."""
    truth: Path | None = None
    """The image as it is: to score by at the end, never to restore by."""
    out: Path | None = None
    """Folder of the run; left out: runs/IMAGE-restored."""
    fields: int | None = None
    """Fields of other seeds; their mean is the answer, their deviation the doubt. Left
    out: as suit the task."""
    steps: int | None = None
    """Optimizer steps of each field; left out: as suit the task."""
    total_variation: float | None = None
    """Weight of the joint total variation; left out: as suits the task."""
    weight_decay: float | None = None
    """Weight of the parameters' sum of squares; left out: none."""
    sweep: tuple[str, ...] = ()
    """total_variation=V,V,… weight_decay=V,V,…: a folder in --out for each point."""
    rule: Literal["last", "held_out", "discrepancy"] = "last"
    """When a fit ends: after its steps, where a held-out tenth of the measurements is
    best, or where the error is the noise of --denoise."""
    seed: int = 0
    """Seed of the first field."""
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Restore an image into a run's folder; the exit code."""
    options = parse(Options, argv, "restore")
    points = points_of(options)
    check_numbers(
        ("upscale", options.upscale, 1, 64),
        ("fields", options.fields, 1, 64),
        ("steps", options.steps, 1, 10**9),
        ("seed", options.seed, 0, 2**32 - 65),
        ("max_pixels", options.max_pixels, 1, 10**9),
        *((name, p[name], 0, 1e6) for p in points.values() for name in SWEPT),
    )
    ways = [way for way in WAYS if getattr(options, way) is not None]
    if len(ways) != 1:
        raise ConfigError(
            f"{len(ways)} of --{', --'.join(WAYS)} are given, not one",
            "say how the image is to be restored",
        )
    process.prepare_device("auto")
    from jax_inr import machine

    machine.devices_for_cores()
    from jax_inr.cli.restoring import restore
    from jax_inr.io.images import load_image

    image = load_image(options.image, max_pixels=options.max_pixels).image
    truth = None
    if options.truth is not None:
        truth = load_image(options.truth, max_pixels=options.max_pixels).image
    out = options.out or Path("runs") / f"{options.image.stem[:60]}-restored"
    for name, point in points.items():
        told = restore(ways[0], options, point, image, truth, out / name)
        if not options.quiet:
            process.Output().write(f"{name + ': ' if name else ''}{told}\n")
    if not options.quiet:
        process.Output().write(f"written to {out}\n")
    return 0


def points_of(options: Options) -> dict[str, dict[str, float | None]]:
    """The weights of each point of the sweep by its name; one of no name without.

    Raises:
        ConfigError: a word is not NAME=V,V,… of weights, or a name is there twice.
    """
    given = {name: getattr(options, name) for name in SWEPT}
    varied: dict[str, list[float]] = {}
    for word in options.sweep:
        name, _, values = word.partition("=")
        name = name.replace("-", "_")
        if name not in SWEPT or name in varied:
            raise ConfigError(
                f"--sweep {word}: {name!r} is no weight, or is there twice",
                f"weights: {', '.join(SWEPT)}",
            )
        try:
            varied[name] = [float(value) for value in values.split(",")]
        except ValueError:
            raise ConfigError(
                f"--sweep {word}: {values!r} are no numbers", f"as {name}=0.001,0.01"
            ) from None
    points = {}
    for values in itertools.product(*varied.values()):
        point = dict(zip(varied, values, strict=True))
        name = ",".join(f"{key}={value:g}" for key, value in point.items())
        points[name] = given | point
    return points
