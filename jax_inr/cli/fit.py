"""`jax-inr fit`: one image into a run's folder, or many by way of `sweep`."""

from pathlib import Path
from typing import Any

from jax_inr.cli import process
from jax_inr.cli.inputs import free_folder, keywords_of, read_image, sized
from jax_inr.cli.options import FitOptions, parse_fit
from jax_inr.cli.outcome import report_silently
from jax_inr.cli.refusals import check
from jax_inr.config import Config
from jax_inr.conflicts import RESUMABLE_FIELDS
from jax_inr.io.text import shown

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
    from jax_inr.progress import Display

    console = progress.console()
    silent = options.quiet or options.json
    with process.SignalGuard() as guard, Display(console, silent) as display:
        keywords = keywords_of(options, display, guard)
        if options.resume:
            out = options.resume
            changes = {
                name: getattr(config, name)
                for name in RESUMABLE_FIELDS
                if getattr(config, name) != getattr(base, name)
            }
            fit = fitting.resume(out, backend=options.backend, **changes, **keywords)
        else:
            image = read_image(next(iter(options.image), None), options, config)
            out = options.out or free_folder(image.path, options.preset)
            fit = fitting.fit(
                image,
                sized(config, options, image),
                backend=options.backend or "jax",
                out=out,
                overwrite=options.overwrite,
                **keywords,
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


def what_next(out: Path, config: Config, summary: dict[str, Any]) -> str:
    """The end of a finished run in words, and the options that go on from there."""
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
