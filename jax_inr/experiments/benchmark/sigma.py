"""Section sigma: `auto` beside a sweep, on pixels that are held out."""

import itertools
import json
import statistics
from pathlib import Path
from typing import Any

from jax_inr.config import Config
from jax_inr.experiments.benchmark.contenders import MISSING, PROGRAM, measured_by
from jax_inr.experiments.benchmark.options import Options
from jax_inr.experiments.report import Json, Say, Section, keep, table
from jax_inr.presets import preset
from jax_inr.values import AUTO

SIGMAS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0)
SEEDS = (0,)
SIDE = 128  # of the squares; the sample is whole
KODAK = 4
# A finished fit is kept here, so that a second run goes on where the first stopped.
KEPT = Path("runs/sigma")


def measure(options: Options, say: Say) -> Json:
    """The sample, the centres of the first Kodak images, and a page of text."""
    found = sorted(options.images.glob("*.png"))[:KODAK]
    names = ["cat", "text", *map(str, found)]
    measured: Json = {"folder": str(options.images), "images": []}
    for name in names[:1] if options.quick else names:
        told = {"image": name, "quick": options.quick, "kept": str(KEPT)}
        run = measured_by("sigma", name, told, say, SIGMA)
        measured["images"] += [run] if run else []
        options.save("sigma", measured)
    return measured


def image_of(name: str) -> Any:
    """The sample by `cat`, scikit-image's page by `text`, or a file's centre."""
    from jax_inr.io.images import load_image, sample_image

    if name == "cat":
        return sample_image(size=224).image
    if name == "text":
        from skimage import data

        return data.text()[:SIDE, :SIDE, None].astype("float32") / 255
    image = load_image(name).image
    top, left = (max(side - SIDE, 0) // 2 for side in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]


def fit_all(name: str, told: Json) -> Json:
    """An image's held-out PSNR in dB at each sigma, and at the one of `auto`."""
    from jax_inr import machine
    from jax_inr.fitting import fit_many
    from jax_inr.spectrum import resolved

    machine.devices_for_cores()
    image, sigmas, seeds, steps = image_of(name), SIGMAS, SEEDS, 2000
    if told["quick"]:
        image, sigmas, seeds, steps = image[:32, :48], (2.0, 5.0), (0,), 20
    config = preset("default").replace(
        train_pixels="alternate",
        steps=steps,
        warmup_steps=steps // 20,
        eval_every=steps,
    )
    auto = resolved(config.replace(sigma=AUTO), image)[0].number("sigma")
    places = Path(told["kept"]), Path(name).stem
    heldout: dict[float, list[float]] = {}
    missing: list[tuple[Path, Config]] = []
    points = list(itertools.product(dict.fromkeys((*sigmas, auto)), seeds))
    for sigma, seed in points:
        path = kept_at(*places, sigma, seed, steps)
        if not path.exists():
            missing.append((path, config.replace(sigma=sigma, seed=seed)))
    fits = fit_many(image, [each for _, each in missing]) if missing else ()
    for (path, _), fit in zip(missing, fits, strict=True):
        keep(path, {"heldout_psnr_db": fit.summary["heldout_psnr_db"]})
    for sigma, seed in points:
        kept = json.loads(kept_at(*places, sigma, seed, steps).read_text())
        heldout.setdefault(sigma, []).append(kept["heldout_psnr_db"])
    return {
        "image": Path(name).stem,
        "shape": list(image.shape),
        "sweep": [[sigma, statistics.mean(heldout[sigma])] for sigma in sigmas],
        "auto": [auto, statistics.mean(heldout[auto])],
    }


def kept_at(folder: Path, image: str, sigma: float, seed: int, steps: int) -> Path:
    """Where a finished fit is kept."""
    return folder / f"{image}-{steps}-{sigma:g}-{seed}.json"


def write(measured: Json) -> str:
    """A line for each image: the sweep, its best, and `auto`."""
    runs = measured["images"]
    if not runs:
        return f"No image could be fitted, so this section is {MISSING}."
    seeds = " and ".join(map(str, SEEDS))
    sigmas = [f"{sigma:g}" for sigma, _ in runs[0]["sweep"]]
    rows = [("image", *sigmas, "`auto` takes", "`auto` dB", "below the best dB")]
    losses = []
    for run in runs:
        found = [psnr_db for _, psnr_db in run["sweep"]]
        sigma, psnr_db = run["auto"]
        losses.append(max(found) - psnr_db)
        row = (*found, psnr_db, losses[-1])
        *cells, auto_db, loss = (f"{value:.2f}" for value in row)
        rows.append((run["image"], *cells, f"{sigma:g}", auto_db, loss))
    return "\n\n".join(
        [
            "Trained on every second row and column, `default`'s 2000 steps; PSNR in "
            f"dB on all other pixels, seed {seeds}. The sample is "
            f"224x224, the others are squares of {SIDE} pixels: the upper left one of "
            "`skimage.data.text()`, and the centres of Kodak images.",
            table(*rows, numbers=True),
            f"`--sigma auto` is {max(losses):.2f} dB below the best of the sweep at "
            f"most, {sum(losses) / len(losses):.2f} dB in the mean.",
        ]
    )


SIGMA = [PROGRAM[0], "-m", "jax_inr.experiments.benchmark.sigma"]
SECTION = Section("Sigma by itself", write)


if __name__ == "__main__":
    import sys

    print(json.dumps(fit_all(sys.argv[2], json.loads(sys.argv[3]))))
