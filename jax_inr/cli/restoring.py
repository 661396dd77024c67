"""What `jax-inr restore` does once its words are read: fit, score, write."""

from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import metrics, tasks
from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers
from jax_inr.draw import plots
from jax_inr.draw.settings import Figure, default_settings
from jax_inr.errors import ConfigError
from jax_inr.io.atomic import write_atomic
from jax_inr.io.images import load_image, save_image
from jax_inr.io.text import to_json
from jax_inr.priors import prior
from jax_inr.restoring import Settings, calibration
from jax_inr.restoring import restore as restore_task
from jax_inr.tasks.measure import estimated_sigma, gaussian_kernel


def restore(
    way: str,
    options: Any,
    weights: dict[str, float | None],
    image: np.ndarray,
    truth: np.ndarray | None,
    out: Path,
) -> str:
    """Restore an image into a folder; a line on how it went."""
    task = task_of(way, options, image)
    if truth is not None and truth.shape != task.shape:
        raise ConfigError(
            f"the truth is of shape {truth.shape}, but what is restored of {task.shape}"
        )
    noise = noise_sigma(options, image)
    suited = prior(way)
    task = suited.penalised(task, noise, **weights)
    settings = Settings(
        config=suited.config(*task.shape[:2], options.steps),
        rule=options.rule,
        noise_sigma=noise or None,
    )
    seeds = range(options.seed, options.seed + (options.fields or suited.fields))
    restored = restore_task(task, settings, seeds, out=out, on_notice=process.notice)
    summary: dict[str, Any] = {"task": way, **restored.summary}
    summary["penalties"] = {
        getattr(p.function, "__name__", type(p.function).__name__): p.weight
        for p in task.penalties
    }
    panels = {"measured": image, "restored": restored.image}
    if len(seeds) > 1:
        most = max(float(restored.doubt.max()), 1e-9)
        panels[f"doubt, up to {most:.3f}"] = restored.doubt / most
    if truth is not None:
        clipped = np.clip(restored.image, 0, 1)
        summary["psnr_db"] = float(metrics.psnr(restored.image, truth))
        summary["ssim"] = float(metrics.ssim(restored.image, truth))
        if len(seeds) > 1:
            summary["calibration"] = calibration(clipped, restored.doubt, truth)
        panels["truth"] = truth
    save_image(out / "restored.png", restored.image.astype(np.float32))
    with default_settings():
        write_atomic(out / "comparison.png", plots.png(side_by_side(panels)))
    restored.fits[0].field.save(out / "field.safetensors")
    write_atomic(out / "summary.json", (to_json(summary, indent=1) + "\n").encode())
    return told(summary)


def task_of(way: str, options: Any, image: np.ndarray) -> tasks.Task:
    """What was measured, from the command's options."""
    match way:
        case "inpaint":
            assert options.inpaint is not None
            mask = load_image(options.inpaint, max_pixels=options.max_pixels).image
            return tasks.inpaint(image, mask.mean(axis=-1) > 0.5)
        case "upscale":
            assert options.upscale is not None
            return tasks.superresolve(image, options.upscale)
        case "denoise":
            return tasks.denoise(image)
    assert options.deblur is not None
    try:
        sigma = float(options.deblur)
    except ValueError:
        return tasks.deblur(image, load_image(options.deblur).image.mean(axis=-1))
    return tasks.deblur(image, gaussian_kernel(sigma))


def side_by_side(panels: dict[str, np.ndarray]) -> Any:
    """A figure of images in a row."""
    figure = Figure(figsize=(3.2 * len(panels), 3.5))
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.9, 0.03)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (name, image) in zip(axes, panels.items(), strict=True):
        plots.show(panel, np.clip(image, 0, 1).astype(np.float32))
        panel.set_title(name, fontsize=9, pad=3)
    return figure


def told(summary: dict[str, Any]) -> str:
    """A line on how it went."""
    text = f"{summary['task']}: {summary['fields']} fields, rule {summary['rule']}, "
    text += f"step {summary['step']}"
    if "psnr_db" in summary:
        text += f", {summary['psnr_db']:.2f} dB"
    if "calibration" in summary:
        within = summary["calibration"]
        text += (
            f"; {within['within_1']:.0%} of the truth lies within 1 deviation, "
            f"{within['within_2']:.0%} within 2"
        )
    return text


def noise_sigma(options: Any, image: np.ndarray) -> float:
    """The deviation of the noise that --denoise tells, of colours in [0, 1].

    Raises:
        ConfigError: it is no number of 8-bit levels.
    """
    if options.denoise is None:
        return 0.0
    if options.denoise == "auto":
        return estimated_sigma(image)
    try:
        levels = float(options.denoise)
    except ValueError:
        raise ConfigError(
            f"denoise is {options.denoise!r}; it must be a number of 8-bit levels",
            "as 25, or auto",
        ) from None
    check_numbers(("denoise", levels, 1e-3, 255))
    return levels / 255
