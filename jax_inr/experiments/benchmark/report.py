"""The benchmark's report: which sections it has, and where they are kept."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr.experiments import report
from jax_inr.experiments.benchmark import (
    choosing,
    frontier,
    gpu,
    kodak,
    like,
    many,
    parameters,
    race,
    sigma,
    sizes,
    steps,
)
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, silent

MODULES: dict[str, Any] = {
    "steps": steps,
    "race": race,
    "parameters": parameters,
    "kodak": kodak,
    "many": many,
    "choosing": choosing,
    "frontier": frontier,
    "peers": like,
    "gpu": gpu,
    "sigma": sigma,
    "sizes": sizes,
}
MEASURES = {name: module.measure for name, module in MODULES.items()}
SECTIONS: dict[str, Section] = {name: m.SECTION for name, m in MODULES.items()}
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
    start = time.perf_counter()

    def save(name: str, measured: Json) -> None:
        kept = report.read(path, {})
        seconds = time.perf_counter() - start
        found = report.record(measured, command(name), seconds, "torch", "jax")
        kept["sections"][name] = found
        report.keep(path, kept)

    options = options._replace(save=save)
    write(report.measure(MEASURES, names, options, path, command, say), out)


def write(kept: Json, out: Path) -> None:
    """OUT.md, and its figures, from what OUT.json keeps."""
    only_choosing = kept["sections"].keys() <= {"choosing", "sigma", "sizes"}
    choosing_title = "# Choosing an optimizer and a network"
    title = choosing_title if only_choosing else "# Performance"
    report.write((title, MADE), SECTIONS, kept, out)
