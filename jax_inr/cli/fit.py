"""`jax-inr fit`: one image into a run's folder, or many by way of `sweep`."""

import os
from pathlib import Path
from typing import Any

from jax_inr.cli import process
from jax_inr.cli.options import FitOptions, RunOptions, parse_fit
from jax_inr.cli.parsing import parse_size
from jax_inr.cli.refusals import RESUMABLE, check
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.io.text import shown, to_json
from jax_inr.presets import PRESETS

Options = FitOptions


def command(argv: list[str]) -> int:
    """Begin a run, go on with it, or say that it is done; returns the exit code."""
    options, config, base = parse_fit(argv)
    check(options, config, base)
    process.prepare_device(options.device)
    if len(options.image) > 1 or options.sweep:
        from jax_inr.cli import sweep

        return sweep.fit_all(options, config)
    from jax_inr import fitting
    from jax_inr.cli import progress

    console = progress.console()
    silent = options.quiet or options.json
    with process.SignalGuard() as guard, progress.Display(console, silent) as display:
        how = how_to_fit(options, display, guard)
        if options.resume:
            out = options.resume
            changes = {
                name: getattr(config, name)
                for name in RESUMABLE
                if getattr(config, name) != getattr(base, name)
            }
            fit = fitting.resume(out, backend=options.backend, **changes, **how)
        else:
            image = read_image(next(iter(options.image), None), options, config)
            out = options.out or free_folder(image.path, options.preset)
            fit = fitting.fit(
                image,
                config,
                backend=options.backend or "jax",
                out=out,
                overwrite=options.overwrite,
                **how,
            )
    if silent:
        report_silently(options, out, fit.summary)
    elif display.began:
        console.print(progress.closing_table(fit.summary))
        console.print(f"written to {out}", highlight=False, markup=False)
    else:
        text = f"{shown(out)} is finished: {what_next(out, config, fit.summary)}"
        console.print(text, highlight=False, markup=False)
    return 0


def how_to_fit(
    options: RunOptions, display: Any, guard: process.SignalGuard
) -> dict[str, Any]:
    """The keywords that `fit`, `resume` and `fit_many` of the library share."""
    return {
        "device": options.device,
        "on_progress": display,
        "on_notice": process.notice,
        "save_every_seconds": options.checkpoint_seconds,
        "film": options.film,
        "max_memory_bytes": options.max_memory and int(options.max_memory * 2**30),
        "stop": guard,
    }


def report_silently(options: RunOptions, out: Path, summary: dict[str, Any]) -> None:
    """What --json asks for, and the folder where the command has chosen it."""
    chosen = options.out is None and options.resume is None
    if options.json:
        process.Output().write(to_json(summary, indent=1) + "\n")
        if chosen:
            process.say(f"written to {out}")
    elif chosen:
        process.Output().write(f"{out}\n")


def what_next(out: Path, config: Config, summary: dict[str, Any]) -> str:
    """How a finished run ended, and what would go on from there."""
    steps, stopped = summary["steps"], summary["stopped"]
    done = f"done after {steps} steps at {summary['psnr_db']:.2f} dB"
    go_on = f"--resume {shown(out)}"
    if stopped == "target_psnr":
        return f"{done}, its target; {go_on} with a higher --target-psnr goes on"
    if stopped == "max_seconds":
        return f"{done}, by its --max-seconds; {go_on} with a larger one goes on"
    if config.schedule == "constant":
        return f"{done}; {go_on} --steps {2 * steps} goes on"
    return (
        f"{done}, where its {config.schedule} schedule ends; "
        "for more steps begin a new run: another --out, a larger --steps"
    )


def read_image(path: Path | None, options: RunOptions, config: Config) -> Any:
    """An image, None being the sample, checked against an explicit batch size."""
    from jax_inr.io.images import load_image, sample_image
    from jax_inr.splits import num_trained

    size = parse_size(options.size)
    if path is None:
        image = sample_image(size=224 if size is None else size)
    else:
        image = load_image(path, size=size, max_pixels=options.max_pixels)
    for text in image.notices:
        process.notice(f"{image.path}: {text}")
    pixels = num_trained(config, *image.image.shape[:2])
    asked, usual = config.batch_size, preset_batch(options.preset)
    if asked is not None and asked != usual and asked > pixels:
        whose = "image has" if config.train_pixels == "all" else "fit is trained on"
        raise ConfigError(
            f"batch_size is {asked}, but the {whose} {pixels} pixels",
            "leave --batch-size out, or use None for all pixels",
        )
    return image


def preset_batch(name: str) -> int | None:
    """The batch size of a preset, None for a config of one's own."""
    return PRESETS[name].batch_size if name in PRESETS else None


def free_folder(path: str | os.PathLike[str], name: str) -> Path:
    """A folder under runs/ that no run has yet: IMAGE-PRESET, then -2, -3, …"""
    stem = "sample" if path == "skimage.data.chelsea" else Path(path).stem
    # A name has at most 255 bytes, and a config's own preset may be any text.
    base = Path("runs") / f"{stem[:60]}-{name if name in PRESETS else 'custom'}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
