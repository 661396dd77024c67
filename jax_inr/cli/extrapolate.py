"""`jax-inr extrapolate`: fields beyond their images, as a figure."""

import dataclasses
from pathlib import Path

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import parse
from jax_inr.cli.render import load_field
from jax_inr.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw fields over [-1, 2] x [-1, 2] and measure how periodic they are."""

    fields: tyro.conf.Positional[tuple[Path, ...]]
    """Field files, or folders of runs."""
    out: Path
    """Figure to write, .png."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Measure and draw the fields; returns the exit code."""
    options = parse(Options, argv, "extrapolate")
    if not options.fields:
        raise ConfigError("no field is named", "name one or more field files")
    if options.out.suffix.lower() != ".png":
        raise ConfigError(f"cannot write {options.out}: not a .png", "name it so")
    process.prepare_device("cpu")
    from jax_inr.analysis import extrapolation
    from jax_inr.draw import plots
    from jax_inr.io.atomic import write_atomic

    measured = [extrapolation.measure(load_field(path)) for path in options.fields]
    figure = extrapolation.figure(measured)
    data = plots.png(figure, dpi=extrapolation.DPI)
    write_atomic(options.out, data, follow=True)
    for each in measured:
        print(f"{each.name}: {each.sentence}")
    print(f"written to {options.out}")
    return 0
