"""Section parameters: PSNR with the notebook's number of parameters."""

from typing import Any

from jax_inr.experiments.benchmark.contenders import MISSING, measured_by
from jax_inr.experiments.benchmark.options import QUICK_SECONDS, Options
from jax_inr.experiments.report import Json, Say, Section, table

LIMIT = 66_691  # trained parameters of the notebook's network
PRESETS = ("default", "fast", "quality")  # with at most so many
SHOWN_SECONDS = (1, 2, 5, 10, 20, 40)


def measure(options: Options, say: Say) -> Json:
    """Each preset with as many steps as fit into 40 seconds."""
    budget = 2 * QUICK_SECONDS if options.quick else SHOWN_SECONDS[-1]
    asked = {"budget_seconds": budget}
    runs = {name: measured_by("fit", name, asked, say) for name in PRESETS}
    return {"budget_seconds": budget, "runs": runs}


def write(measured: Json) -> str:
    """The PSNR of each preset's last evaluation within so many seconds."""
    budget = measured["budget_seconds"]
    shown = [seconds for seconds in SHOWN_SECONDS if seconds <= budget]
    heads = (f"{seconds} s" for seconds in shown)
    rows: list[Any] = [("preset", "parameters", "steps", *heads, "end")]
    for name, run in measured["runs"].items():
        if run is None:
            rows.append((f"`{name}`", MISSING, *[""] * (len(shown) + 2)))
            continue
        cells = []
        for limit in shown:
            within = [psnr_db for seconds, psnr_db in run["rows"] if seconds <= limit]
            cells.append(f"{within[-1]:.2f}" if within else "–")
        numbers = (f"{run['num_params']:,}", run["steps"])
        rows.append((f"`{name}`", *numbers, *cells, f"{run['psnr_db']:.2f}"))
    return (
        f"At most {LIMIT:,} trained parameters, those of the notebook's network; "
        f"schedules end after {budget} s of fitting. PSNR in dB:\n\n"
        + table(*rows, numbers=True)
    )


SECTION = Section("With the notebook's number of parameters", write)
