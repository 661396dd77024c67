"""`jax-inr restore`: an image from what is left of it, by an ensemble of fields."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse
from jax_inr.errors import ConfigError

WAYS = ("inpaint", "upscale", "denoise", "deblur")


@dataclasses.dataclass(frozen=True)
class Options:
    """Restore an image: inpaint, upscale, denoise or deblur; a second run goes on."""

    image: tyro.conf.Positional[Path]
    """The image as it was measured."""
    inpaint: Path | None = None
    """Image of the mask: white where pixels are known, black where they are sought."""
    upscale: int | None = None
    """How many times larger on each side; IMAGE holds means over boxes."""
    denoise: float | None = None
    """Deviation of the noise in 8-bit levels, as 25: the fit stops there."""
    deblur: str | None = None
    """Deviation of a Gaussian blur in pixels, or an image of the kernel."""
    truth: Path | None = None
    """The image as it is: to score by at the end, never to restore by."""
    out: Path | None = None
    """Folder of the run; left out: runs/IMAGE-restored."""
    fields: int = 4
    """Fields of other seeds; their mean is the answer, their deviation the doubt."""
    steps: int = 800
    """Optimizer steps of each field."""
    seed: int = 0
    """Seed of the first field."""
    max_pixels: int = 50_000_000
    """Refuse images of more pixels than this."""
    quiet: bool = False
    """Print nothing but errors and notices."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Restore an image into a run's folder; the exit code."""
    options = parse(Options, argv, "restore")
    check_numbers(
        ("upscale", options.upscale, 1, 64),
        ("denoise", options.denoise, 1e-3, 255),
        ("fields", options.fields, 1, 64),
        ("steps", options.steps, 1, 10**9),
        ("seed", options.seed, 0, 2**32 - 65),
        ("max_pixels", options.max_pixels, 1, 10**9),
    )
    ways = [way for way in WAYS if getattr(options, way) is not None]
    if len(ways) != 1:
        raise ConfigError(
            f"{len(ways)} of --{', --'.join(WAYS)} are given, not one",
            "say how the image is to be restored",
        )
    process.prepare_device("auto")
    from jax_inr import machine

    machine.devices_for_cores()
    from jax_inr.io.images import load_image

    image = load_image(options.image, max_pixels=options.max_pixels).image
    truth = None
    if options.truth is not None:
        truth = load_image(options.truth, max_pixels=options.max_pixels).image
    out = options.out or Path("runs") / f"{options.image.stem[:60]}-restored"
    summary = _restore(ways[0], options, image, truth, out)
    if not options.quiet:
        process.Output().write(f"{_told(summary)}\nwritten to {out}\n")
    return 0


def _restore(
    way: str, options: Options, image: np.ndarray, truth: np.ndarray | None, out: Path
) -> dict[str, Any]:
    from jax_inr import metrics
    from jax_inr.draw import plots
    from jax_inr.draw.settings import default_settings
    from jax_inr.experiments.tasks.ours import config
    from jax_inr.io.atomic import write_atomic
    from jax_inr.io.images import save_image
    from jax_inr.io.text import to_json
    from jax_inr.restoring import Settings, calibration, restore

    task = _task(way, options, image)
    if truth is not None and truth.shape != task.shape:
        raise ConfigError(
            f"the truth is of shape {truth.shape}, but what is restored of {task.shape}"
        )
    noise = None if options.denoise is None else options.denoise / 255
    settings = Settings(
        config=config(way, 30.0, options.steps),
        rule="last" if noise is None else "discrepancy",
        noise_sigma=noise,
    )
    seeds = range(options.seed, options.seed + options.fields)
    restored = restore(task, settings, seeds, out=out, on_notice=process.notice)
    summary: dict[str, Any] = {"task": way, **restored.summary}
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
        write_atomic(out / "comparison.png", plots.png(_side_by_side(panels)))
    restored.fits[0].field.save(out / "field.safetensors")
    write_atomic(out / "summary.json", (to_json(summary, indent=1) + "\n").encode())
    return summary


def _task(way: str, options: Options, image: np.ndarray) -> Any:
    from jax_inr import tasks
    from jax_inr.io.images import load_image
    from jax_inr.tasks.measure import gaussian_kernel

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
        kernel = gaussian_kernel(float(options.deblur))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        kernel = load_image(options.deblur).image.mean(axis=-1)
    return tasks.deblur(image, kernel)


def _side_by_side(panels: dict[str, np.ndarray]) -> Any:
    from jax_inr.draw import plots
    from jax_inr.draw.settings import Figure

    figure = Figure(figsize=(3.2 * len(panels), 3.5))
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.9, 0.03)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (name, image) in zip(axes, panels.items(), strict=True):
        plots.show(panel, np.clip(image, 0, 1).astype(np.float32))
        panel.set_title(name, fontsize=9, pad=3)
    return figure


def _told(summary: dict[str, Any]) -> str:
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
