"""The benchmark's report: which sections it has, and where they are kept."""

from collections.abc import Sequence
from pathlib import Path

from jax_inr.experiments import report
from jax_inr.experiments.benchmark import (
    choosing,
    kodak,
    many,
    parameters,
    race,
    steps,
)
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, silent

MEASURES = {
    "steps": steps.measure,
    "race": race.measure,
    "parameters": parameters.measure,
    "kodak": kodak.measure,
    "many": many.measure,
    "choosing": choosing.measure,
}
SECTIONS = {
    "steps": steps.SECTION,
    "race": race.SECTION,
    "parameters": parameters.SECTION,
    "kodak": kodak.SECTION,
    "many": many.SECTION,
    "choosing": choosing.SECTION,
}
# What is measured where no section is named; the others have reports of their own.
SPEED = ("steps", "race", "parameters", "kodak", "many")
MADE = "Made by `scripts/bench.py`; every number is measured."


def measure(
    names: Sequence[str], options: Options, out: Path, say: Say = silent
) -> None:
    """Measure sections, those of speed where there are no names, and write OUT.md.

    OUT.json keeps every measurement; a section that is not measured this time stays.

    Raises:
        ConfigError: a section is unknown, or OUT.json is no report's.
    """
    quick = " --quick" if options.quick else ""

    def command(name: str) -> str:
        how = f" --turns {options.turns}" if name in SPEED else f" --out {out}"
        return f"python scripts/bench.py {name}{how}{quick}"

    path, names = out.with_suffix(".json"), tuple(names) or SPEED
    write(report.measure(MEASURES, names, options, path, command, say), out)


def write(kept: Json, out: Path) -> None:
    """OUT.md, and its figures, from what OUT.json keeps."""
    is_speed = not {*SPEED}.isdisjoint(kept["sections"])
    title = "# Performance" if is_speed else "# Choosing an optimizer and a network"
    report.write((title, MADE), SECTIONS, kept, out)
