"""The benchmark's report: which sections it has, and where they are kept."""

from collections.abc import Sequence
from pathlib import Path

from jax_inr.experiments import report
from jax_inr.experiments.benchmark import kodak, many, parameters, race, steps
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, silent

MEASURES = {
    "steps": steps.measure,
    "race": race.measure,
    "parameters": parameters.measure,
    "kodak": kodak.measure,
    "many": many.measure,
}
SECTIONS = {
    "steps": steps.SECTION,
    "race": race.SECTION,
    "parameters": parameters.SECTION,
    "kodak": kodak.SECTION,
    "many": many.SECTION,
}
HEADING = ("# Performance", "Made by `scripts/bench.py`; every number is measured.")


def measure(
    names: Sequence[str], options: Options, out: Path, say: Say = silent
) -> None:
    """Measure sections, all where there are no names, and write OUT.md.

    OUT.json keeps every measurement; a section that is not measured this time stays.

    Raises:
        ConfigError: a section is unknown, or OUT.json is no report's.
    """
    quick = " --quick" if options.quick else ""

    def command(name: str) -> str:
        return f"python scripts/bench.py {name} --turns {options.turns}{quick}"

    path = out.with_suffix(".json")
    write(report.measure(MEASURES, names, options, path, command, say), out)


def write(kept: Json, out: Path) -> None:
    """OUT.md, and its figures, from what OUT.json keeps."""
    report.write(HEADING, SECTIONS, kept, out)
