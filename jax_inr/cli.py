"""The command line: commands, and errors as one line and an exit code."""

import dataclasses
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_inr import streams
from jax_inr.config import Config
from jax_inr.errors import (
    ConfigError,
    DeviceError,
    Interrupted,
    JaxInrError,
    OutputError,
)
from jax_inr.options import (
    FIELDS,
    BenchOptions,
    check_ranges,
    parse_fit,
    parse_size,
    run_tyro,
)
from jax_inr.presets import PRESETS

# What is no bug either; any other exception is one, and shows its traceback.
OTHERS = (OSError, MemoryError, ModuleNotFoundError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    streams.prepare()
    try:
        commands = {"fit": fit_command, "bench": bench_command}
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

    from jax_inr import fitting, progress

    console = progress.console()

    def notice(text: str) -> None:
        streams.say(f"notice: {text}")

    out = options.resume
    if out and is_finished(out, config):
        console.print(f"{out} is finished; a larger --steps would go on")
        return 0
    with progress.Display(console, options.quiet) as display:
        how: fitting.How = {
            "device": options.device,
            "on_progress": display,
            "on_notice": notice,
            "save_every_seconds": options.checkpoint_seconds,
            "max_memory_bytes": options.max_memory and int(options.max_memory * 2**30),
        }
        if out:
            fields = dataclasses.asdict(config)
            result = fitting.resume(out, changes=fields, backend=options.backend, **how)
        else:
            picture = read_picture(options, config)
            for text in picture.notices:
                notice(f"{picture.path}: {text}")
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


def is_finished(out: str, config: Config) -> bool:
    """Whether the run in a folder has ended, and under this very config."""
    from jax_inr.runs import RunFolder

    with RunFolder.reopen(out) as folder:
        return folder.finished() and folder.read_json("config.json") == config.to_dict()


def bench_command(argv: list[str]) -> int:
    """`jax-inr bench`: measure sections and write the report."""
    options = run_tyro(BenchOptions, argv, "bench")
    from jax_inr import benchmark

    unknown = set(options.sections) - set(benchmark.SECTIONS)
    if unknown:
        raise ConfigError(
            f"unknown section {', '.join(sorted(unknown))}",
            f"sections: {', '.join(benchmark.SECTIONS)}",
        )
    sections = options.sections or tuple(benchmark.SECTIONS)
    benchmark.report(sections, options.turns, Path(options.out))
    print(f"written to {options.out}")
    return 0


def read_picture(options: Any, config: Config) -> Any:
    """The picture that the options name, checked against an explicit batch size."""
    from jax_inr.images import load_image, sample_image

    size = parse_size(options.size)
    if options.image is None:
        picture = sample_image(size=224 if size is None else size)
    else:
        picture = load_image(options.image, size=size, max_pixels=options.max_pixels)
    pixels = picture.image[..., 0].size
    asked, usual = config.batch_size, preset_batch(options.preset)
    if asked is not None and asked != usual and asked > pixels:
        raise ConfigError(
            f"batch_size is {asked}, but the picture has {pixels} pixels",
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
