"""Section kodak: images at full size."""

import itertools
import statistics

from jax_inr.experiments.benchmark.contenders import MISSING, measured_by
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, table

# `fast` for 768x512 pixels, of a cell a pixel; longer fits take a lower rate.
CHANGES: Json = {
    "finest": 768,
    "num_levels": 6,
    "batch_size": 16_384,
    "learning_rate": 0.03,
}
NUMBERS = 768 * 512 * 3  # of an image


def measure(options: Options, say: Say) -> Json:
    """Every image for 10 and 60 seconds, the first for 600 too."""
    paths = sorted(options.images.glob("*.png"))
    plan = [(10, paths), (60, paths), (600, paths[:1])]
    if options.quick:
        plan = [(5, paths[:1])]
    runs: list[Json] = []
    for budget, chosen in plan:
        for path in chosen:
            asked = {
                "image": str(path),
                "budget_seconds": budget,
                "evaluations": 1,
                "changes": CHANGES,
            }
            if run := measured_by("fit", "fast", asked, say):
                runs.append({"image": path.stem, "budget": budget} | run)
    return {"folder": str(options.images), "changes": CHANGES, "runs": runs}


def write(measured: Json) -> str:
    """The PSNR of every image at each budget, and their mean."""
    runs = measured["runs"]
    if not runs:
        return f"No images in `{measured['folder']}`, so this section is {MISSING}."
    names = list(dict.fromkeys(run["image"] for run in runs))
    rows = [("seconds of fitting", "steps", "mean PSNR dB", *names)]
    for budget, group in itertools.groupby(runs, key=lambda run: run["budget"]):
        found = {run["image"]: run for run in group}
        steps = statistics.median(run["steps"] for run in found.values())
        mean = statistics.mean(run["psnr_db"] for run in found.values())
        cells = (
            f"{found[name]['psnr_db']:.2f}" if name in found else "–" for name in names
        )
        rows.append((str(budget), f"{steps:.0f}", f"{mean:.2f}", *cells))
    changes = ", ".join(f"{key} {value}" for key, value in measured["changes"].items())
    return (
        table(*rows, numbers=True)
        + f"\n\n`fast` scaled up for 768x512 pixels ({changes}): "
        f"{runs[0]['num_params']:,} parameters, where an image has {NUMBERS:,} "
        "numbers. Steps are as many as a first short run says will fit (the median "
        "is shown)."
    )


SECTION = Section("Kodak images at full size", write)
