"""The Fourier-features protocol on a folder of images, and what it leaves out.

arXiv 2006.10739, 2D image regression, with the settings of its code: train on even
rows and columns, test on odd ones. Every finished fit is kept in a file of its own, so
a second run goes on where the first one stopped.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jax_inr import metrics
from jax_inr.analysis.ridge import PENALTIES, ridge_images
from jax_inr.analysis.upsampling import upsample
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.experiments.compare.store import Store, by_shape, pixels_hash
from jax_inr.experiments.report import Json, silent
from jax_inr.io.images import Image
from jax_inr.splits import num_trained, train_mask

Kind = Literal["natural", "text"]
# By kind of images: the learning rate of none and basic; for images of 512x512,
# log2 of the largest positional frequency and one, and the Gaussian ones' deviation.
SETTINGS: dict[Kind, tuple[float, float, float]] = {
    "natural": (1e-2, 6.0, 10.0),
    "text": (1e-3, 5.0, 14.0),
}
PAPER = ("none", "basic", "positional", "gaussian")
# What the papers leave out.
BEYOND = ("ours", "ridge", "bilinear", "bicubic")
ROWS = (*PAPER, *BEYOND)
PAPER_SIDE = 512
BUDGET = 10  # how many times less arithmetic --budget takes
# On a CPU fits of one program take turns: more of them would be lost by a kill.
CPU_AT_ONCE = 4


class Comparison(NamedTuple):
    """What decides the numbers of a comparison, beside the images."""

    kind: Kind = "natural"
    steps: int = 2000
    budget: bool = False
    seed: int = 0


def protocol(comparison: Comparison, height: int, width: int) -> dict[str, Config]:
    """The configs of the rows that are networks, for images of this size.

    The paper's frequencies are for images of 512x512; for other sizes they have as
    many cycles per pixel, so that what holds for images holds for their crops.
    `budget` takes a tenth of the trained pixels at each step, drawn anew: a tenth of
    the arithmetic, with the same network, steps and frequencies.
    """
    rate, octaves, sigma = SETTINGS[comparison.kind]
    scale = math.sqrt(height * width) / PAPER_SIDE
    paper = Config(
        preset="fourier-features",
        train_pixels="alternate",
        num_frequencies=256,
        octaves=math.log2(1 + scale * (2**octaves - 1)),
        sigma=scale * sigma,
        hidden_features=(256, 256, 256),
        init="glorot",
        optimizer="adam",
        learning_rate=1e-3,
        steps=comparison.steps,
        seed=comparison.seed,
        eval_every=100,
    )
    if comparison.budget:
        pixels = num_trained(paper, height, width)
        batch_size = max(pixels // BUDGET, 1)
        # With mini-batches an evaluation renders the image: at both ends only.
        paper = paper.replace(batch_size=batch_size, eval_every=comparison.steps)
    return {
        "none": paper.replace(encoding="none", learning_rate=rate),
        "basic": paper.replace(encoding="basic", learning_rate=rate),
        "positional": paper.replace(encoding="positional"),
        "gaussian": paper,
        "ours": paper.replace(
            preset="ours", activation="gelu", schedule="cosine", warmup_steps=50
        ),
    }


def check_rows(names: Sequence[str]) -> tuple[str, ...]:
    """Rows asked for, in the table's order; all where none are."""
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        raise ConfigError(
            f"unknown row {', '.join(unknown)}", f"rows: {', '.join(ROWS)}"
        )
    return tuple(row for row in ROWS if row in names or not names)


def measure(prediction: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """PSNR in dB by part of the image.

    On odd rows and columns, which is the protocol's test; on all that is held out; on
    the trained quarter; on the whole image.
    """
    mask = train_mask(Config(train_pixels="alternate"), *image.shape[:2])
    parts = {
        "test_psnr_db": (slice(1, None, 2), slice(1, None, 2)),
        "heldout_psnr_db": ~mask,
        "train_psnr_db": mask,
        "psnr_db": ...,
    }
    prediction = prediction.astype(np.float64)
    return {
        name: float(metrics.psnr(prediction[part], image[part]))
        for name, part in parts.items()
    }


def run(
    images: Sequence[Image],
    comparison: Comparison,
    store: Store,
    *,
    device: str,
    at_once: int | None,
    rows: Sequence[str],
    say: Callable[[str], None],
    display: Callable[[str], Any],
) -> list[Json]:
    """Fit what is not kept yet; the records of all rows and images.

    Args:
        at_once: images in one program; None for as many as memory allows.
        display: makes the context that shows a program's progress, given its title.
    """
    records = []
    groups = by_shape(images, say)
    for row in rows:
        for group in groups:
            height, width, _ = group[0].image.shape
            config = protocol(comparison, height, width).get(row)
            recipes = [_recipe(row, config, comparison, image) for image in group]
            kept = [
                store.read(row, image, recipe)
                for image, recipe in zip(group, recipes, strict=True)
            ]
            missing = [index for index, record in enumerate(kept) if record is None]
            step = _at_once(config, len(missing), device, at_once)
            for start in range(0, len(missing), step):
                chosen = missing[start : start + step]
                some = [group[index] for index in chosen]
                title = f"{row}: {len(some)} of {height}x{width}"
                with display(title) as on_progress:
                    made = _fit(row, config, comparison, some, device, on_progress)
                for index, (prediction, about) in zip(chosen, made, strict=True):
                    image = group[index]
                    record = {
                        "row": row,
                        "image": Path(image.path).name,
                        **measure(prediction, image.image),
                        **about,
                        "recipe": recipes[index],
                    }
                    if about.get("stopped") == "diverged":
                        say(f"{image.path}: {row} diverged; its last good state")
                    store.write(row, image, record, prediction)
                    kept[index] = record
            records += kept
    return records


def _recipe(
    row: str, config: Config | None, comparison: Comparison, image: Image
) -> Json:
    """Everything that decides a record."""
    if row == "ridge":
        config = protocol(comparison, *image.image.shape[:2])["gaussian"]
        names = ("num_frequencies", "sigma", "seed")
        about = {name: config.to_dict()[name] for name in names}
        about["penalties"] = [float(PENALTIES[i]) for i in (0, 1, -1)]
    else:
        about = config.to_dict() if config else {}
    return {"row": row, "config": about, "pixels": pixels_hash(image)}


def _at_once(config: Config | None, count: int, device: str, asked: int | None) -> int:
    """How many of `count` images one program fits, if memory allows."""
    if config is None or count <= 1:
        return max(count, 1)
    from jax_inr import machine

    most = asked or count
    if not asked and machine.select(device).platform == "cpu":
        most = min(most, CPU_AT_ONCE)
    most = min(most, count)
    # Of nearly equal size: programs of one size are compiled once.
    return -(-count // -(-count // most))


def _fit(
    row: str,
    config: Config | None,
    comparison: Comparison,
    images: list[Image],
    device: str,
    on_progress: Callable[..., None],
) -> list[tuple[np.ndarray, Json]]:
    """Predictions (h, w, c) of the whole images, and what else is to be kept."""
    if config is not None:
        from jax_inr.fitting import fit_many

        how: Any = {"device": device, "on_progress": on_progress, "on_notice": silent}
        fits = fit_many(images, config, **how)
        seconds = fits[0].summary["seconds"]
        shared = {name: seconds[name] / len(fits) for name in ("compile", "fit")}
        return [
            (fit.prediction, {"stopped": fit.summary["stopped"], "seconds": shared})
            for fit in fits
        ]
    pixels = np.stack([image.image for image in images])
    height, width = pixels.shape[1:3]
    if row == "bilinear" or row == "bicubic":
        return [(upsample(p[::2, ::2], height, width, row), {}) for p in pixels]
    gaussian = protocol(comparison, height, width)["gaussian"]
    mask = train_mask(gaussian, height, width)
    predictions, penalties = ridge_images(frequencies(gaussian), mask, pixels)
    return [
        (prediction, {"penalty": float(penalty)})
        for prediction, penalty in zip(predictions, penalties, strict=True)
    ]


def frequencies(config: Config) -> np.ndarray:
    """The B (2, m) that a fit of this config draws."""
    import jax

    from jax_inr.model import make_model

    model = make_model(config.replace(hidden_features=(1,)), 1, 1, 1)
    key = jax.random.split(jax.random.key(config.seed))[0]
    return np.asarray(model.init(key)["constants"]["frequencies"])
