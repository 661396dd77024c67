"""`jax-inr export`: a field as a web page."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import parse
from jax_inr.cli.render import load_field
from jax_inr.errors import CheckpointError, ConfigError


@dataclasses.dataclass(frozen=True)
class Options:
    """Write a fitted field as one web page that evaluates it in the browser."""

    field: tyro.conf.Positional[Path]
    """Field file, or the folder of a run."""
    out: Path
    """File to write, .html."""
    image: Path | None = None
    """Image that was fitted, to compare with. Left out: that of the run's folder."""
    title: str | None = None
    """Of the page. Left out: the file's name."""
    quiet: bool = False
    """Print nothing but errors."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Write the page; returns the exit code."""
    options = parse(Options, argv, "export")
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"cannot write {options.out}: not an .html", "name it so")
    process.prepare_device("cpu")
    # Imported late: it brings JAX.
    from jax_inr.draw import page

    field = load_field(options.field)
    page.check_size(field)
    if options.image is None:
        image = image_of(options.field)
    else:
        from jax_inr.io.images import load_image

        image = load_image(options.image).image
        if image.shape[:2] != (field.height, field.width):
            # As `fit --size` made it.
            size = (field.height, field.width)
            square = field.height if field.height == field.width else size
            image = load_image(options.image, size=square).image
    field.to_html(options.out, image, options.title)
    if not options.quiet:
        size = os.path.getsize(options.out) / 1000
        print(f"written to {options.out}, {size:.0f} kB; open it in a browser")
    return 0


def image_of(path: Path) -> np.ndarray | None:
    """The image beside a field in a run's folder, if there is one."""
    from jax_inr.io.runs import RunFolder

    folder = path if path.is_dir() else path.absolute().parent
    try:
        image, _ = RunFolder(folder).load_original()
        return None if image is None else image.image
    except CheckpointError:
        return None
