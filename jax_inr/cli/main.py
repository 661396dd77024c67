"""The command line: commands, and errors as one line and an exit code."""

import dataclasses
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr.cli import streams
from jax_inr.cli.options import (
    FIELDS,
    BenchOptions,
    CompareOptions,
    SpectralBiasOptions,
    check_numbers,
    check_ranges,
    parse_fit,
    parse_size,
    run_tyro,
)
from jax_inr.cli.render import export_command, extrapolate_command, render_command
from jax_inr.config import Config
from jax_inr.errors import (
    ConfigError,
    DeviceError,
    Interrupted,
    JaxInrError,
    OutputError,
)
from jax_inr.machine import devices_for_cores
from jax_inr.presets import PRESETS

# What is no bug either; any other exception is one, and shows its traceback.
OTHERS = (OSError, MemoryError, ModuleNotFoundError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    streams.prepare()
    try:
        commands = {
            "fit": fit_command,
            "render": render_command,
            "export": export_command,
            "extrapolate": extrapolate_command,
            "bench": bench_command,
            "compare": compare_command,
            "spectral-bias": spectral_bias_command,
        }
        if argv[:1] in ([], ["-h"], ["--help"]):
            names = ",".join(commands)
            streams.Output().write(f"usage: jax-inr {{{names}}} --help\n")
            return 0
        if argv[0] not in commands:
            raise ConfigError(
                f"unknown command {argv[0]!r}", f"commands: {', '.join(commands)}"
            )
        return commands[argv[0]](argv[1:])
    except BrokenPipeError:  # of --help, which is not ours to print
        return 0
    except (JaxInrError, KeyboardInterrupt, *OTHERS) as error:
        if debug:
            streams.say(traceback.format_exc())
        message, code = told(error)
        streams.say(f"error: {message}")
        return code
    finally:
        streams.Output().flush()


def told(error: BaseException) -> tuple[str, int]:
    """What the user is told of an error, in one line, and the exit code."""
    match error:
        case JaxInrError(hint=hint) if hint:
            return f"{error}; {hint}", error.exit_code
        case JaxInrError() | Interrupted():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "stopped by SIGINT", 128 + signal.SIGINT
        case OSError():
            return str(error), OutputError.exit_code
        case ModuleNotFoundError(name=name):
            return f'{name} is not installed; pip install -e "."', ConfigError.exit_code
    return "out of memory; take a smaller picture", DeviceError.exit_code


def fit_command(argv: list[str]) -> int:
    """`jax-inr fit`: fit one picture into a run folder."""
    options = parse_fit(argv)
    config = Config(
        preset=options.preset, **{f.name: getattr(options, f.name) for f in FIELDS}
    )
    check_ranges(config, options)
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

    if len(options.image) > 1 or options.sweep:
        return fit_many_command(options, config)
    from jax_inr import fitting
    from jax_inr.cli import progress

    console = progress.console()

    def notice(text: str) -> None:
        streams.say(f"notice: {text}")

    out = options.resume
    if out and is_finished(out, config):
        text = f"{out} is finished; a larger --steps would go on"
        console.print(text, highlight=False, markup=False)
        return 0
    with progress.Display(console, options.quiet) as display:
        how: fitting.How = {
            "device": options.device,
            "on_progress": display,
            "on_notice": notice,
            "save_every_seconds": options.checkpoint_seconds,
            "film": options.film,
            "max_memory_bytes": options.max_memory and int(options.max_memory * 2**30),
        }
        if out:
            fields = dataclasses.asdict(config)
            result = fitting.resume(out, changes=fields, backend=options.backend, **how)
        else:
            path = options.image[0] if options.image else None
            picture = read_picture(path, options, config)
            out = options.out or free_folder(picture.path, options.preset)
            result = fitting.fit(
                picture,
                config,
                backend=options.backend or "jax",
                out=out,
                overwrite=options.overwrite,
                **how,
            )
    if not options.quiet:
        console.print(progress.closing_table(result.summary))
        console.print(f"written to {out}", highlight=False, markup=False)
    return 0


def fit_many_command(options: Any, config: Config) -> int:
    """`jax-inr fit` of several pictures, or with a sweep: many runs, one overview."""
    if options.backend == "torch" or options.film:
        what = "--film" if options.film else "--backend torch"
        raise ConfigError(
            f"{what} goes with one fit at a time",
            "leave it out, or give one picture and no --sweep",
        )
    from jax_inr.cli import overview, progress, sweep

    varied = sweep.parse_sweep(options.sweep, config)
    points = sweep.configs_of(config, varied)
    devices_for_cores()
    out = Path(options.out or free_folder("many", options.preset))
    console = progress.console()

    def notice(text: str) -> None:
        streams.say(f"notice: {text}")

    # Held to the end: the overview is that of one command.
    with sweep.open_whole(out):
        runs, failures = read_runs(options, config, points)
        with progress.Display(console, options.quiet) as display:
            summaries, later = sweep.fit_all(
                runs,
                out,
                device=options.device,
                overwrite=options.overwrite,
                on_progress=display,
                on_notice=notice,
            )
        for failure in later:
            streams.say(f"error: {failure.name}: {told(failure.error)[0]}")
        failures += later
        overview.write_overview(out, summaries, failures, varied)
    if not options.quiet:
        console.print(progress.overview_table(summaries))
        console.print(f"written to {out}", highlight=False, markup=False)
    return failures[0].error.exit_code if failures else 0


def read_runs(
    options: Any, config: Config, points: dict[str, Config]
) -> tuple[list[Any], list[Any]]:
    """A run for each picture and each point; a failure for each bad picture, told."""
    from jax_inr.cli import sweep

    runs, failures = [], []
    names, paths = sweep.name_pictures(options.image), options.image
    for name, path in zip(names or [""], paths or [None], strict=True):
        try:
            picture = read_picture(path, options, config)
        except JaxInrError as error:
            streams.say(f"error: {told(error)[0]}")
            failures.append(sweep.Failure(name or "sample", error))
            continue
        for point, one in points.items():
            folder = "/".join(filter(None, (name, point)))
            runs.append(sweep.Run(folder, picture, one))
    return runs, failures


def is_finished(out: str, config: Config) -> bool:
    """Whether the run in a folder has ended, and under this very config."""
    from jax_inr.io.runs import RunFolder

    with RunFolder.reopen(out) as folder:
        return folder.finished() and folder.read_json("config.json") == config.to_dict()


def bench_command(argv: list[str]) -> int:
    """`jax-inr bench`: measure sections and write the report."""
    options = run_tyro(BenchOptions, argv, "bench")
    from jax_inr.experiments.benchmark import report
    from jax_inr.experiments.benchmark.options import Options

    how = Options(options.turns, options.quick)
    report.measure(options.sections, how, Path(options.out), print)
    print(f"written to {options.out}")
    return 0


def spectral_bias_command(argv: list[str]) -> int:
    """`jax-inr spectral-bias`: run the experiments and write the report."""
    options = run_tyro(SpectralBiasOptions, argv, "spectral-bias")
    from jax_inr.experiments.spectral_bias import forms

    form = forms.make_form(options.quick, options.size, options.bands, options.ntk_side)
    from jax_inr.experiments import report as reports

    sections = reports.check_sections(options.sections, forms.SECTIONS)
    if not 0 <= options.seed < 2**32:
        raise ConfigError(f"seed is {options.seed}; it must lie in 0 to {2**32 - 1}")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from jax_inr.io.images import load_image, sample_image

    if options.image is None:
        picture = sample_image(size=form.size)
    else:
        picture = load_image(
            options.image, size=form.size, max_pixels=options.max_pixels
        )
        for text in picture.notices:
            streams.say(f"notice: {picture.path}: {text}")
    from jax_inr.cli.counter import Counter
    from jax_inr.experiments.spectral_bias import experiments, report

    out = Path(options.out) / "spectral-bias.json"
    settings = experiments.about(form, picture, options.seed)
    kept = reports.read(out, settings, options.overwrite)
    command = shlex.join(["python", "scripts/spectral_bias.py", *argv])
    with Counter() as display:
        experiments.run(
            form, picture, options.seed, out, kept, sections, command, display
        )
    report.write(kept, out)
    print(f"written to {options.out}")
    return 0


def compare_command(argv: list[str]) -> int:
    """`jax-inr compare`: the protocol on a folder of pictures, and its report."""
    options = run_tyro(CompareOptions, argv, "compare")
    from jax_inr.experiments.compare import protocol, store

    ranges = (
        ("steps", options.steps, 1, 10**9),
        ("seed", options.seed, 0, 2**32 - 1),
        ("crop", options.crop, 2, 10**6),
        ("at_once", options.at_once, 1, 10**6),
        ("max_pixels", options.max_pixels, 1, 10**9),
    )
    check_numbers(ranges)
    rows = protocol.check_rows(options.rows)
    size = parse_size(options.size)
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    devices_for_cores()

    def notice(text: str) -> None:
        streams.say(f"notice: {text}")

    images = store.read_images(
        options.folder, size, options.crop, options.max_pixels, notice, options.out
    )
    store = store.Store(options.out, rows, options.overwrite)
    from jax_inr.cli import progress
    from jax_inr.experiments.compare import report

    console = progress.console()

    def display(title: str) -> progress.Display:
        if not options.quiet:
            console.print(title, highlight=False, markup=False)
        return progress.Display(console, options.quiet)

    comparison = protocol.Comparison(
        options.kind, options.steps, options.budget, options.seed
    )
    records = protocol.run(
        images,
        comparison,
        store,
        device=options.device,
        at_once=options.at_once,
        rows=rows,
        say=notice,
        display=display,
    )
    command = shlex.join(["python", "scripts/compare.py", *argv])
    summary = report.write(images, records, comparison, store, command)
    if not options.quiet:
        for table in report.tables(summary):
            console.print(table)
        console.print(f"written to {options.out}", highlight=False, markup=False)
    return 0


def read_picture(path: str | None, options: Any, config: Config) -> Any:
    """A picture, None being the sample, checked against an explicit batch size."""
    from jax_inr.io.images import load_image, sample_image
    from jax_inr.splits import num_trained

    size = parse_size(options.size)
    if path is None:
        picture = sample_image(size=224 if size is None else size)
    else:
        picture = load_image(path, size=size, max_pixels=options.max_pixels)
    for text in picture.notices:
        streams.say(f"notice: {picture.path}: {text}")
    pixels = num_trained(config, *picture.image.shape[:2])
    asked, usual = config.batch_size, preset_batch(options.preset)
    if asked is not None and asked != usual and asked > pixels:
        whose = "picture has" if config.train_pixels == "all" else "fit is trained on"
        raise ConfigError(
            f"batch_size is {asked}, but the {whose} {pixels} pixels",
            "leave --batch-size out, or use None for all pixels",
        )
    return picture


def preset_batch(name: str) -> int | None:
    """The batch size of a preset, None for a config of one's own."""
    return PRESETS[name].batch_size if name in PRESETS else None


def free_folder(path: str, name: str) -> str:
    """A folder under runs/ that no run has yet: PICTURE-PRESET, then -2, -3, …"""
    stem = "sample" if path == "skimage.data.chelsea" else Path(path).stem
    # A name has at most 255 bytes, and a config's own preset may be any text.
    base = Path("runs") / f"{stem[:60]}-{name if name in PRESETS else 'custom'}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return str(folder)
