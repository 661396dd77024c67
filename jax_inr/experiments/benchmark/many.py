"""Section many: several fits at once."""

import statistics

from jax_inr.experiments.benchmark.contenders import MISSING, measured_by
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, table

COUNTS = (1, 2, 4, 8, 16)  # images at once
MOST_ROUNDS = 3


def measure(options: Options, say: Say) -> Json:
    """Batches of images under `fast`, and of seeds under `default`."""
    short = {"changes": {"steps": 100}} if options.quick else {}
    plan = [("fast", "images", count) for count in ((8,) if options.quick else COUNTS)]
    plan.append(("default", "seeds", 16))
    runs = []
    for name, of, count in plan:
        asked = {"of": of, "count": count, **(short if of == "seeds" else {})}
        once = options.quick or of == "seeds"
        rounds = 1 if once else min(options.turns, MOST_ROUNDS)
        found = [measured_by("batch", name, asked, say) for _ in range(rounds)]
        runs.append({"name": name, "of": of, "count": count, "found": found})
    return {"runs": runs}


def write(measured: Json) -> str:
    """Fits a second, all at once and one after the other; medians over rounds."""
    rows: list[tuple[str, ...]] = [
        (
            "at once",
            "fits a second",
            "one after the other",
            "ratio",
            "with compiling: ratio",
            "largest difference of a colour",
        )
    ]
    for batch in measured["runs"]:
        count = batch["count"]
        title = f"{count} {batch['of']}, `{batch['name']}`"
        found = [run for run in batch["found"] if run is not None]
        if not found:
            rows.append((title, MISSING, "", "", "", ""))
            continue
        together, single = (
            statistics.median(count / run[way]["fit"] for run in found)
            for way in ("together", "single")
        )
        ratio, with_compiling = (
            statistics.median(r["single"][key] / r["together"][key] for r in found)
            for key in ("fit", "total")
        )
        largest = max(run["largest_difference"] for run in found)
        numbers = (together, single, ratio, with_compiling)
        rows.append((title, *(f"{n:.2f}" for n in numbers), f"{largest:.1g}"))
    return table(*rows, numbers=True)


SECTION = Section("Many fits at once", write)
