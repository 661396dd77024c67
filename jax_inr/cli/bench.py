"""`jax-inr bench`: measure sections and write the report."""

import dataclasses
from pathlib import Path

import tyro

from jax_inr.cli.parsing import parse


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the speed of fits side by side, and what each optimizer comes to."""

    sections: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sections to run: steps, race, parameters, kodak, many (left out: all of these);
    choosing and sigma, whose report is docs/choosing.md; frontier, PSNR by numbers and
    seconds; sizes, fast and quality by the size of the image; peers, other packages
    for the same seconds; gpu, for a machine with one."""
    turns: int = 9
    """Turns of each contender, where speed is measured."""
    images: Path = Path("kodak")
    """Folder of the images at full size, PNG; for sizes a large JPEG beside them."""
    budget_seconds: float = 480.0
    """Seconds that section gpu may take; what was measured by then is kept."""
    quick: bool = False
    """A form of each section that ends within a minute."""
    out: Path = Path("docs/performance.md")
    """Report to write; its .json beside it keeps every measurement."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Run the sections; returns the exit code."""
    options = parse(Options, argv, "bench")
    from jax_inr.experiments.benchmark import options as benchmark
    from jax_inr.experiments.benchmark import report

    asked = benchmark.Options(
        options.turns, options.quick, options.images, options.budget_seconds
    )
    report.measure(options.sections, asked, options.out, print)
    print(f"written to {options.out}")
    return 0
