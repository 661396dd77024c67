"""The Fourier-features protocol on a folder of pictures, and what it leaves out.

arXiv 2006.10739, 2D picture regression, with the settings of its code: train on even
rows and columns, test on odd ones. Every finished fit is kept in a file of its own, so
a second run goes on where the first one stopped.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jax_inr import metrics
from jax_inr.analysis.upsampling import upsample
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.experiments.compare.store import Store, by_shape, pixels_hash
from jax_inr.io.images import Picture
from jax_inr.splits import num_trained, train_mask

Kind = Literal["natural", "text"]
# By kind of pictures: the learning rate of none and basic; for pictures of 512x512,
# log2 of the largest positional frequency and one, and the Gaussian ones' deviation.
SETTINGS: dict[Kind, tuple[float, float, float]] = {
    "natural": (1e-2, 6.0, 10.0),
    "text": (1e-3, 5.0, 14.0),
}
PAPER = ("none", "basic", "positional", "gaussian")
# What the papers leave out.
OTHERS = ("ours", "ridge", "bilinear", "bicubic")
ROWS = (*PAPER, *OTHERS)
PAPER_SIDE = 512
BUDGET = 10  # how many times less arithmetic --budget takes
# On a CPU fits of one program take turns: more of them would be lost by a kill.
CPU_AT_ONCE = 4


class Task(NamedTuple):
    """What decides the numbers of a comparison, beside the pictures."""

    kind: Kind = "natural"
    steps: int = 2000
    budget: bool = False
    seed: int = 0


def protocol(task: Task, height: int, width: int) -> dict[str, Config]:
    """The configs of the rows that are networks, for pictures of this size.

    The paper's frequencies are for pictures of 512x512; of other sizes they have as
    many cycles per pixel, so that what holds for pictures holds for their crops.
    `budget` takes a tenth of the trained pixels at each step, drawn anew: a tenth of
    the arithmetic, with the same network, steps and frequencies.
    """
    rate, octaves, sigma = SETTINGS[task.kind]
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
        steps=task.steps,
        seed=task.seed,
        eval_every=100,
    )
    if task.budget:
        pixels = num_trained(paper, height, width)
        batch_size = max(pixels // BUDGET, 1)
        # Of mini-batches an evaluation costs a picture: at both ends only.
        paper = paper.replace(batch_size=batch_size, eval_every=task.steps)
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
    """PSNR in dB: on odd rows and columns, which is the protocol's test; on all that
    is held out; on the trained quarter; on the whole picture."""
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
    pictures: Sequence[Picture],
    task: Task,
    store: Store,
    *,
    device: str,
    at_once: int | None,
    rows: Sequence[str],
    say: Callable[[str], None],
    display: Callable[[str], Any],
) -> list[dict[str, Any]]:
    """Fit what is not kept yet; the records of all rows and pictures.

    Args:
        at_once: pictures in one program; None for as many as memory allows.
        display: makes the context that shows a program's progress, of its title.
    """
    records = []
    groups = by_shape(pictures, say)
    for row in rows:
        for group in groups:
            height, width, _ = group[0].image.shape
            config = protocol(task, height, width).get(row)
            recipes = [_recipe(row, config, task, picture) for picture in group]
            kept = [
                store.read(row, picture, recipe)
                for picture, recipe in zip(group, recipes, strict=True)
            ]
            todo = [index for index, record in enumerate(kept) if record is None]
            step = _at_once(config, group[0], len(todo), device, at_once)
            for start in range(0, len(todo), step):
                chosen = todo[start : start + step]
                some = [group[index] for index in chosen]
                title = f"{row}: {len(some)} of {height}x{width}"
                with display(title) as on_progress:
                    made = _fit(row, config, task, some, device, on_progress)
                for index, (prediction, about) in zip(chosen, made, strict=True):
                    picture = group[index]
                    record = {
                        "row": row,
                        "picture": Path(picture.path).name,
                        **measure(prediction, picture.image),
                        **about,
                        "recipe": recipes[index],
                    }
                    if about.get("stopped") == "diverged":
                        say(f"{picture.path}: {row} diverged; its last good state")
                    store.write(row, picture, record, prediction)
                    kept[index] = record
            records += kept
    return records


def _recipe(
    row: str, config: Config | None, task: Task, picture: Picture
) -> dict[str, Any]:
    """Everything that decides a record."""
    if row == "ridge":
        config = protocol(task, *picture.image.shape[:2])["gaussian"]
        kept = ("num_frequencies", "sigma", "seed")
        about = {name: config.to_dict()[name] for name in kept}
    else:
        about = config.to_dict() if config else {}
    return {"row": row, "config": about, "pixels": pixels_hash(picture)}


def _at_once(
    config: Config | None, picture: Picture, count: int, device: str, asked: int | None
) -> int:
    """How many of `count` pictures one program fits."""
    if config is None or count <= 1:
        return max(count, 1)
    from jax_inr import cost, machine
    from jax_inr.many import fits_bytes

    most = asked or count
    if not asked and machine.select(device).platform == "cpu":
        most = min(most, CPU_AT_ONCE)
    most = min(most, count)
    limit = cost.available_bytes() // 2
    while most > 1 and fits_bytes([config] * most, picture.image.shape) > limit:
        most -= 1
    # Of nearly equal size: programs of one size are compiled once.
    return -(-count // -(-count // most))


def _fit(
    row: str,
    config: Config | None,
    task: Task,
    pictures: list[Picture],
    device: str,
    on_progress: Callable[..., None],
) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Predictions (h, w, c) of the whole pictures, and what else is to be said."""
    images = np.stack([picture.image for picture in pictures])
    height, width = images.shape[1:3]
    if config is not None:
        from jax_inr.many import fit_many

        fits = fit_many(pictures, config, device=device, on_progress=on_progress)
        seconds = fits[0].summary["seconds"]
        shared = {name: seconds[name] / len(fits) for name in ("compile", "fit")}
        return [
            (fit.prediction, {"stopped": fit.summary["stopped"], "seconds": shared})
            for fit in fits
        ]
    if row in ("bilinear", "bicubic"):
        return [(upsample(i[::2, ::2], height, width, row), {}) for i in images]  # pyright: ignore
    from jax_inr.analysis.ridge import ridge_pictures

    gaussian = protocol(task, height, width)["gaussian"]
    mask = train_mask(gaussian, height, width)
    predictions, penalties = ridge_pictures(frequencies(gaussian), mask, images)
    return [
        (prediction, {"penalty": float(penalty)})
        for prediction, penalty in zip(predictions, penalties, strict=True)
    ]


def frequencies(config: Config) -> np.ndarray:
    """The B (2, m) that a fit of this config draws."""
    import jax

    from jax_inr.networks import make_model

    model = make_model(config.replace(hidden_features=(1,)), 1, 1, 1)
    key = jax.random.split(jax.random.key(config.seed))[0]
    return np.asarray(model.init(key)["constants"]["frequencies"])
