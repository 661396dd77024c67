"""`jax-inr compare FOLDER --task NAME`: restoration beside the classical methods."""

import dataclasses
import shlex
from pathlib import Path

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse


@dataclasses.dataclass(frozen=True)
class Options:
    """Restore a folder's images by every method; a second run goes on."""

    folder: tyro.conf.Positional[Path]
    """Folder of images: of their names in order, every second one judges."""
    task: tuple[str, ...]
    """inpaint-20, upscale-4, denoise-gaussian, deblur, gradients, tomography-20, …"""
    out: Path = Path("runs/compare")
    """Folder of tasks.md, of tasks-TASK.json and of images/."""
    crop: int = 256
    """Side of the square at the centre to take, without resizing."""
    rows: tuple[str, ...] = ()
    """Methods to try; left out: all."""
    seed: int = 0
    """Seed of all that is random, and of the fields."""
    overwrite: bool = False
    """Restore anew what --out holds."""
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Restore and judge what is missing, and write the report; the exit code."""
    options = parse(Options, argv, "compare")
    from jax_inr import machine
    from jax_inr.experiments.compare import store
    from jax_inr.experiments.tasks import problems, report, suite

    check_numbers(
        ("seed", options.seed, 0, 2**32 - 1),
        ("crop", options.crop, 16, 10**6),
        ("max_pixels", options.max_pixels, 1, 10**9),
    )
    for kind in options.task:
        problems.check(kind)
        suite.check_rows(kind, options.rows)

    def say(text: str) -> None:
        if not options.quiet:
            process.Output().write(f"{text}\n")

    found = store.read_images(
        str(options.folder), None, None, options.max_pixels, process.notice
    )
    images = [suite.Named(Path(image.path).stem, image.image) for image in found]
    about = {
        "command": shlex.join(["jax-inr", "compare", *argv]),
        "machine": machine.describe_host(),
        "seed": options.seed,
        "crop": options.crop,
    }
    for kind in options.task:
        kept = suite.Kept(options.out, kind, about, options.overwrite)
        parts = suite.prepared(kind, images, options.crop)
        rows = suite.check_rows(kind, options.rows)
        suite.run(kind, parts, kept, seed=options.seed, rows=rows, say=say)
    say(f"written to {report.write(options.out)}")
    return 0
