"""restore(): an image from its measurements by an ensemble of fields, and its doubt.

Nothing here sees the truth: a Task's `image` is set aside before anything is fitted.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.fitting import fit_many
from jax_inr.results import Fit
from jax_inr.tasks import HeldOut, Task

Rule = Literal["last", "discrepancy", "held_out"]
PURPOSE = 0x401D  # tells this use of a seed from any other


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How an image is restored; none of it follows the truth.

    config: of each field; its seed is replaced. rule: when a fit ends. "last": after
    `config.steps`. "discrepancy": where the mean squared error of the measurements
    reaches that of their noise, `noise_sigma` (Morozov 1966). "held_out": as many
    steps as were best on a share of the measurements that were not trained on; then
    every field is fitted to all of them for as long. patience_steps: how long that
    share may fail to get better. doubt_scale: what the deviation between fields is
    multiplied by, found where the truth was known.
    """

    config: Config
    rule: Rule = "last"
    noise_sigma: float | None = None
    held_out_share: float = 0.1
    patience_steps: int = 500
    doubt_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.rule == "discrepancy" and not (self.noise_sigma or 0) > 0:
            raise ConfigError(
                f"the discrepancy principle needs noise, and noise_sigma is "
                f"{self.noise_sigma}",
                "give its deviation, or take rule held_out",
            )
        if not 0 < self.held_out_share < 1:
            raise ConfigError(
                f"held_out_share is {self.held_out_share}; it must lie between 0 and 1"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Restored:
    """What `restore` gives.

    image: (h, w, c), the mean of the fields, not clipped. doubt: (h, w, c), the
    calibrated deviation between them; NaN for a single one. fits: of each seed.
    summary: rule, step and seconds.
    """

    image: np.ndarray
    doubt: np.ndarray
    fits: tuple[Fit, ...]
    summary: dict[str, Any]


def restore(
    task: Task,
    settings: Settings,
    seeds: Sequence[int] = (0,),
    *,
    out: Any = None,
    **options: Any,
) -> Restored:
    """Restore an image from its measurements.

    Args:
        seeds: a field each; their mean is the answer.
        out: folder that gets a run's folder of each field. The same call again goes
            on where an earlier one stopped, bit for bit as if it had not.
        options: how it is carried out: `device`, `on_progress`, … of `fit_many`.

    Raises:
        ConfigError: there is no seed, or too few measurements to hold some out.
        As `fit_many`.
    """
    if not seeds:
        raise ConfigError("there is no seed", "give one for each field")
    start = time.perf_counter()
    task = task.replace(image=None)
    config, folder = settings.config, None if out is None else Path(out)
    if settings.rule == "discrepancy":
        assert settings.noise_sigma is not None
        target = -20 * float(np.log10(settings.noise_sigma))
        config = config.replace(target_psnr=target)
    if settings.rule == "held_out":
        step = best_step(task, settings, seeds[0], folder, **options)
        config = config.replace(steps=step, target_psnr=None)
    fits = tuple(
        fit_many(
            [task] * len(seeds),
            [config.replace(seed=seed) for seed in seeds],
            names=[f"field-{seed}" for seed in seeds],
            out=folder,
            **options,
        )
    )
    predictions = np.stack([fit.prediction for fit in fits]).astype(np.float64)
    doubt = np.full(predictions.shape[1:], np.nan)
    if len(seeds) > 1:
        doubt = settings.doubt_scale * predictions.std(axis=0, ddof=1)
    summary = {
        "rule": settings.rule,
        "step": max(fit.steps for fit in fits),
        "fields": len(fits),
        "stopped": [fit.stopped for fit in fits],
        "seconds": time.perf_counter() - start,
    }
    return Restored(predictions.mean(axis=0), doubt, fits, summary)


def best_step(
    task: Task, settings: Settings, seed: int, out: Path | None, **options: Any
) -> int:
    """How many steps are best for measurements that are not trained on."""
    kept = kept_mask(len(task.values), settings.held_out_share, seed)
    held_out = HeldOut(task.some(~kept), settings.patience_steps)
    part = task.some(kept).replace(held_out=held_out, image=None)
    # That what is held out gets worse is what is looked for.
    options["on_notice"] = lambda text: None
    config = settings.config.replace(seed=seed, target_psnr=None)
    (fit,) = fit_many([part], [config], names=["held-out"], out=out, **options)
    best = max(fit.rows, key=lambda row: row["psnr_db"])
    return best["step"]


def kept_mask(count: int, share: float, seed: int) -> np.ndarray:
    """True for the measurements (n,) that are trained on, from the seed alone."""
    held_out = max(round(share * count), 1)
    if held_out >= count:
        raise ConfigError(
            f"{held_out} of {count} measurements held out leave none",
            "take rule last or discrepancy",
        )
    random = np.random.default_rng((seed, PURPOSE))
    mask = np.ones(count, bool)
    mask[random.choice(count, held_out, replace=False)] = False
    return mask


def calibration(
    image: Float[np.ndarray, "*n"],
    doubt: Float[np.ndarray, "*n"],
    truth: Float[np.ndarray, "*n"],
) -> dict[str, float]:
    """How often the truth lies within 1 and 2 deviations, and the scale that is due.

    Of a Gaussian error 68 % and 95 % would. `scale` makes the mean squared deviation
    that of the error: it is found on images to tune by, for `Settings.doubt_scale`.
    """
    error = np.abs(np.asarray(image, np.float64) - truth)
    squares = float(np.mean(doubt**2))
    return {
        "within_1": float(np.mean(error <= doubt)),
        "within_2": float(np.mean(error <= 2 * doubt)),
        "scale": float(np.sqrt(np.mean(error**2) / squares)) if squares else np.inf,
    }
