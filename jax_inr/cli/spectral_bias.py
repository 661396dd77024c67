"""`jax-inr spectral-bias`: run the experiments and write the report."""

import dataclasses
import shlex
from pathlib import Path

import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure spectral bias and write the report on it; a second run goes on."""

    image: tyro.conf.Positional[Path | None] = None
    """Image, centre-cropped to a square; left out: the sample cat."""
    out: Path = Path("runs/spectral-bias")
    """Folder of spectral-bias.md, .json and images/."""
    quick: bool = False
    """The small form: the direction of every finding in about a minute."""
    sections: tuple[str, ...] = ()
    """Of checks, waves, ntk, spectra, widths, locality, sharing. Left out: all."""
    size: int | None = None
    """Side of the image in pixels; left out: 128, and 64 with --quick."""
    bands: int | None = None
    """Frequency bands; left out: 10."""
    ntk_side: int | None = None
    """Side of the sub-grid of the NTK; left out: 32, and 16 with --quick."""
    seed: int = 0
    """Seed of all draws."""
    overwrite: bool = False
    """Measure anew what --out holds."""
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Run the experiments; returns the exit code."""
    options = parse(Options, argv, "spectral-bias")
    from jax_inr.experiments.spectral_bias import forms

    form = forms.make_form(options.quick, options.size, options.bands, options.ntk_side)
    from jax_inr.experiments import report as reports

    sections = reports.check_sections(options.sections, forms.SECTIONS)
    check_numbers(("seed", options.seed, 0, 2**32 - 1))
    process.prepare_device("auto")
    from jax_inr.io.images import load_image, sample_image

    if options.image is None:
        image = sample_image(size=form.size)
    else:
        image = load_image(options.image, size=form.size, max_pixels=options.max_pixels)
        for text in image.notices:
            process.notice(f"{image.path}: {text}")
    from jax_inr.cli.counter import Counter
    from jax_inr.experiments.spectral_bias import experiments, report

    out = options.out / "spectral-bias.json"
    settings = experiments.about(form, image, options.seed)
    kept = reports.read(out, settings, options.overwrite)
    words = shlex.join(["python", "scripts/spectral_bias.py", *argv])
    with Counter() as display:
        experiments.run(form, image, options.seed, out, kept, sections, words, display)
    report.write(kept, out)
    print(f"written to {options.out}")
    return 0
