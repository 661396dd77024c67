"""Section frontier: PSNR against trained numbers and seconds, images at full size."""

import itertools
import statistics
import time
from pathlib import Path
from typing import Any

from jax_inr.config import Config
from jax_inr.experiments.benchmark.contenders import MISSING, PROGRAM, measured_by
from jax_inr.experiments.benchmark.gpu_parts import fitted
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, table
from jax_inr.presets import preset
from jax_inr.scaling import with_num_params

SIZES = (80_000, 150_000, 300_000, 500_000, 700_000)
PYRAMID = preset("fast").replace(
    batch_size=16_384, num_levels=6, learning_rate=0.03, beta2=0.95
)
RECIPES: dict[str, Config] = {
    "pyramid": PYRAMID,
    "square grids": PYRAMID.replace(
        encoding="dense_grid", level_features=2, coarsest=16, beta2=0.99
    ),
    "waves": preset("quality").replace(hidden_features=(256, 256, 256), sigma=25.0),
}
CLOSED = "cosines"  # of which places are numbers too, 32 of them in one
TRIAL_STEPS = 20
# Recipe, numbers, seconds; what matters most comes first.
PLAN = (
    (CLOSED, SIZES, 0),
    ("pyramid", (300_000, 700_000), 10),
    ("pyramid", (300_000, 700_000), 60),
    ("pyramid", (80_000, 150_000, 500_000), 10),
    ("square grids", (300_000, 700_000), 10),
    ("waves", (300_000,), 60),
)
QUICK = ((CLOSED, (4000,), 0), ("pyramid", (4000,), 0.5))


def measure(options: Options, say: Say) -> Json:
    """Every line of the plan on every image, in a process each, and kept at once."""
    images = [str(path) for path in sorted(options.images.glob("*.png"))]
    measured: Json = {"folder": str(options.images), "runs": []}
    for recipe, sizes, seconds in QUICK if options.quick else PLAN:
        told: Json = {"images": images, "quick": options.quick}
        told |= {"sizes": sizes, "seconds": seconds}
        found = measured_by("frontier", recipe, told, say, FRONTIER) if images else None
        measured["runs"] += found["runs"] if found else []
        options.save("frontier", measured)
    return measured


def fit_all(recipe: str, options: Json) -> Json:
    """A recipe's fits of images: psnr_db, seconds and numbers of each."""
    from jax_inr.io.images import load_image

    images = [load_image(path) for path in options["images"]]
    if options["quick"]:
        images = [each._replace(image=each.image[:48, :64]) for each in images[:1]]
    runs = []
    for size, image in itertools.product(options["sizes"], images):
        name, pixels = Path(image.path).stem, image.image[..., 0].size
        about = {"recipe": recipe, "size": size, "image": name, "pixels": pixels}
        if recipe == CLOSED:
            runs.append(about | closed_form(image, size))
            continue
        config = with_num_params(RECIPES[recipe], size, *image.image.shape)
        trial = fitted(image, config.replace(steps=TRIAL_STEPS, warmup_steps=0))
        budget = options["seconds"]
        steps = max(int(budget * TRIAL_STEPS / trial["fit_seconds"]), 10)
        warmup = min(config.warmup_steps, steps // 10)
        found = fitted(image, config.replace(steps=steps, warmup_steps=warmup))
        runs.append(about | found | {"budget": budget})
    return {"runs": runs}


def closed_form(image: Any, size: int) -> Json:
    """The largest local cosines: with a bit for each place they are `size` numbers."""
    from jax_inr.cosines import COLOURS, of_image
    from jax_inr.fitting import fit

    count = size - image.image.size // 32
    start = time.perf_counter()
    encoding = of_image(image.image, count)
    seconds = time.perf_counter() - start
    found = fit(image, {"steps": 0}, encoding=encoding, network=COLOURS)
    summary = found.summary
    return {
        "budget": 0,
        "steps": 0,
        "num_params": size,
        "psnr_db": summary["psnr_db"],
        "fit_seconds": seconds,
    }


def write(measured: Json) -> str:
    """Means over the images: a line for each recipe and size."""
    runs = measured["runs"]
    if not runs:
        return f"No images in `{measured['folder']}`, so this section is {MISSING}."
    head = ("recipe", "seconds", "numbers", "a pixel", "steps", "images", "PSNR dB")
    rows: list[tuple[Any, ...]] = [(*head, "lowest", "highest")]
    groups: dict[Any, list[Json]] = {}
    for run in runs:
        groups.setdefault((run["recipe"], run["budget"], run["size"]), []).append(run)
    for (recipe, budget, _), several in groups.items():
        psnr_db = [run["psnr_db"] for run in several]
        count, steps, seconds = (
            statistics.median(run[key] for run in several)
            for key in ("num_params", "steps", "fit_seconds")
        )
        rows.append(
            (
                recipe,
                budget or f"{seconds:.1f}",
                f"{count:,.0f}",
                f"{count / several[0]['pixels']:.2f}",
                f"{steps:.0f}",
                len(several),
                *(f"{f(psnr_db):.2f}" for f in (statistics.mean, min, max)),
            )
        )
    return table(*rows, numbers=True) + (
        "\n\nThe mean of the images, and the lowest and highest of them. Steps are as "
        "many as a first short run says will fit into the seconds; compiling and "
        f"evaluating are apart. `{CLOSED}` is a closed form, `jax_inr.cosines`: its "
        "numbers are coefficients and, at 32 in one, the bits that tell which are kept."
    )


FRONTIER = [PROGRAM[0], "-m", "jax_inr.experiments.benchmark.frontier"]
SECTION = Section("Decibels for numbers and seconds", write)


if __name__ == "__main__":
    import json
    import sys

    print(json.dumps(fit_all(sys.argv[2], json.loads(sys.argv[3]))))
