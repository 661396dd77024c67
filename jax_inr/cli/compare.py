"""`jax-inr compare`: the protocol on a folder of images, and its report."""

import dataclasses
import shlex
from pathlib import Path
from typing import Literal

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse, parse_size


@dataclasses.dataclass(frozen=True)
class Options:
    """Fill the Fourier-features table on a folder of images; a second run goes on.

    With --task NAME it restores images beside the classical methods instead; the
    options of that form are told by `jax-inr compare --task NAME --help`.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of images; they need not be of one shape."""
    out: Path = Path("runs/compare")
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
    """Seed of frequencies and weights, the same for all images."""
    at_once: int | None = None
    """Images in one program; left out: as many as memory allows, 4 on a CPU."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Fit anew what --out holds."""
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Fit and measure what is missing; returns the exit code."""
    if any(word.split("=")[0] == "--task" for word in argv):
        from jax_inr.cli import compare_tasks

        return compare_tasks.command(argv)
    options = parse(Options, argv, "compare")
    from jax_inr.experiments.compare import protocol, store

    check_numbers(
        ("steps", options.steps, 1, 10**9),
        ("seed", options.seed, 0, 2**32 - 1),
        ("crop", options.crop, 2, 10**6),
        ("at_once", options.at_once, 1, 10**6),
        ("max_pixels", options.max_pixels, 1, 10**9),
    )
    rows = protocol.check_rows(options.rows)
    size = parse_size(options.size)
    process.prepare_device(options.device)
    from jax_inr import machine

    machine.devices_for_cores()
    out = str(options.out)
    images = store.read_images(
        str(options.folder), size, options.crop, options.max_pixels, process.notice, out
    )
    store = store.Store(out, rows, options.overwrite)
    from jax_inr.cli import progress
    from jax_inr.experiments.compare import report
    from jax_inr.progress import Display

    console = progress.console()

    def display(title: str) -> Display:
        if not options.quiet:
            console.print(title, highlight=False, markup=False)
        return Display(console, options.quiet)

    comparison = protocol.Comparison(
        options.kind, options.steps, options.budget, options.seed
    )
    records = protocol.run(
        images,
        comparison,
        store,
        device=options.device,
        at_once=options.at_once,
        rows=rows,
        say=process.notice,
        display=display,
    )
    words = shlex.join(["python", "scripts/compare.py", *argv])
    summary = report.write(images, records, comparison, store, words)
    if not options.quiet:
        for table in report.tables(summary):
            console.print(table)
        console.print(f"written to {options.out}", highlight=False, markup=False)
    return 0
