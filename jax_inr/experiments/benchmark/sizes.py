"""Section sizes: both presets for real images, as they scale with the image."""

import json
from pathlib import Path
from typing import Any

from jax_inr.experiments.benchmark.contenders import MISSING, PROGRAM, measured_by
from jax_inr.experiments.benchmark.gpu_parts import fitted
from jax_inr.experiments.benchmark.options import QUICK_SECONDS, Options
from jax_inr.experiments.report import Json, Say, Section, table
from jax_inr.presets import preset
from jax_inr.scaling import for_image

PRESETS = ("fast", "quality")
SAMPLES = (64, 224)  # sides of the sample image
SECONDS = 60.0
TRIAL_STEPS = 3


def measure(options: Options, say: Say) -> Json:
    """Every image under both presets, in a process each."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    images = [*map(str, SAMPLES)]
    if not options.quick:
        for pattern in ("*.png", "*.jpg"):
            images += [*map(str, sorted(options.images.glob(pattern))[:1])]
    measured: Json = {"seconds": seconds, "runs": []}
    for image in images:
        for name in PRESETS:
            told = {"image": image, "seconds": seconds}
            found = measured_by("sizes", name, told, say, SIZES)
            measured["runs"] += [found] if found else []
            options.save("sizes", measured)
    return measured


def fit_one(name: str, told: Json) -> Json:
    """A preset's fit of an image: all its steps, or those that fit into the seconds."""
    from jax_inr.io.images import load_image, sample_image

    text = told["image"]
    image: Any = sample_image(size=int(text)) if text.isdigit() else load_image(text)
    height, width, _ = image.image.shape
    config = for_image(preset(name), height, width)
    trial = fitted(image, config.replace(steps=TRIAL_STEPS, warmup_steps=0))
    possible = int(told["seconds"] * TRIAL_STEPS / trial["fit_seconds"])
    steps = max(min(config.steps, possible), 1)
    warmup = min(config.warmup_steps, steps // 10)
    found = fitted(image, config.replace(steps=steps, warmup_steps=warmup))
    return found | {
        "preset": name,
        "image": "cat" if text.isdigit() else Path(text).stem,
        "height": height,
        "width": width,
        "all_steps": config.steps,
    }


def write(measured: Json) -> str:
    """A line for each image and preset."""
    if not measured["runs"]:
        return f"No image could be fitted, so this section is {MISSING}."
    head = ("image", "pixels", "preset", "numbers", "a pixel", "steps", "seconds")
    rows: list[tuple[Any, ...]] = [(*head, "PSNR dB")]
    for run in measured["runs"]:
        pixels, count = run["height"] * run["width"], run["num_params"]
        steps = f"{run['steps']} of {run['all_steps']}"
        rows.append(
            (
                run["image"],
                f"{run['height']}x{run['width']}",
                f"`{run['preset']}`",
                f"{count:,}",
                f"{count / pixels:.2f}",
                steps if run["steps"] < run["all_steps"] else run["steps"],
                f"{run['fit_seconds']:.2f}",
                f"{run['psnr_db']:.2f}",
            )
        )
    return table(*rows, numbers=True) + (
        "\n\nPresets as `fit` takes them, scaled with the image. Where all steps would "
        f"take more than {measured['seconds']:g} s, the schedule ends after as many as "
        "a first short run says will fit; compiling and evaluating are apart."
    )


SIZES = [PROGRAM[0], "-m", "jax_inr.experiments.benchmark.sizes"]
SECTION = Section("Presets by the size of the image", write)


if __name__ == "__main__":
    import sys

    print(json.dumps(fit_one(sys.argv[2], json.loads(sys.argv[3]))))
