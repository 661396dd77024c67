"""The command line: options to a config, errors to one line and an exit code."""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from jax_inr.config import Config
from jax_inr.errors import ConfigError, Interrupted, JaxInrError, OutputError
from jax_inr.presets import PRESETS, preset

COMMANDS = ("fit",)
FIELDS = tuple(f for f in dataclasses.fields(Config) if f.name != "preset")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    try:
        if not argv or argv[0] not in COMMANDS:
            asked_for_help = argv[:1] in ([], ["-h"], ["--help"])
            print(f"usage: jax-inr {{{','.join(COMMANDS)}}} … (--help after a command)")
            return 0 if asked_for_help else 2
        return fit_command(argv[1:])
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; results are on disk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (JaxInrError, Interrupted) as error:
        if debug:
            traceback.print_exc()
        hint = getattr(error, "hint", "")
        print(f"error: {error}{'; ' if hint else ''}{hint}", file=sys.stderr)
        return error.exit_code


def fit_command(argv: list[str]) -> int:
    """`jax-inr fit`: fit one picture into a run folder."""
    options = parse_fit(argv)
    config = Config(
        preset=options.preset, **{f.name: getattr(options, f.name) for f in FIELDS}
    )
    if not config.steps:
        raise ConfigError("steps is 0; it must lie in 1 to 1e+09")
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

    from jax_inr import fitting, progress

    console = progress.console()

    def notice(text: str) -> None:
        print(f"notice: {text}", file=sys.stderr)

    common: dict[str, Any] = {
        "device": options.device,
        "save_every_seconds": options.checkpoint_seconds,
    }
    with progress.Display(console, options.quiet) as display:
        if options.resume:
            out = options.resume
            result = fitting.resume(
                out,
                changes=dataclasses.asdict(config),
                on_progress=display,
                on_notice=notice,
                **common,
            )
        else:
            picture = read_picture(options, config)
            for text in picture.notices:
                notice(f"{picture.path}: {text}")
            out = options.out or free_folder(picture.path, options.preset)
            result = fitting.fit(
                picture,
                config,
                backend=options.backend,
                out=out,
                overwrite=options.overwrite,
                on_progress=display,
                **common,
            )
    if not options.quiet:
        console.print(progress.closing_table(result.summary))
        console.print(f"written to {out}", highlight=False)
    sys.stdout.flush()
    return 0


def parse_fit(argv: list[str]) -> Any:
    """The options of `fit`: the config's fields, with the preset's as defaults.

    Raises:
        ConfigError: an option is unknown or cannot be read.
        SystemExit: help was asked for, and is printed.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--preset", "--config", "--resume"):
        early.add_argument(flag, nargs="?")
    named = early.parse_known_args(argv)[0]
    if named.resume is not None:
        base = read_config(Path(named.resume) / "config.json")
    elif named.config is not None:
        base = read_config(Path(named.config))
    else:
        base = preset(named.preset or "default")
    return run_tyro(fit_options(base), argv)


def fit_options(base: Config) -> type:
    """A dataclass of all options of `fit`, for tyro, with `base` as the defaults."""
    import tyro

    def option(name: str, kind: Any, default: Any, doc: str, **arg: Any) -> Any:
        return name, Annotated[kind, tyro.conf.arg(help=doc, **arg)], default

    options = [
        option(
            "image",
            tyro.conf.Positional[str | None],
            None,
            "Picture to fit; left out: the sample cat.",
            metavar="IMAGE",
        ),
        option(
            "preset",
            Literal[tuple(PRESETS)] if base.preset in PRESETS else str,
            base.preset,
            "Named config that the other options change.",
        ),
        option("backend", Literal["jax", "torch"], "jax", "torch is the reference."),
        option(
            "size",
            str | None,
            None,
            "N: centre crop and resize to N x N; HxW: resize. Left out: as it is, "
            "224 for the sample.",
        ),
        option("out", str | None, None, "Folder of the run; left out: under runs/."),
        option("overwrite", bool, False, "Replace the run in --out."),
        option("resume", str | None, None, "Go on with the run in this folder."),
        option("config", str | None, None, "A config.json to take all fields from."),
        option("device", Literal["auto", "cpu", "gpu"], "auto", "Where to compute."),
        option(
            "checkpoint_seconds", float, 30.0, "Seconds between two checkpoints."
        ),
        option(
            "max_pixels", int, 50_000_000, "Refuse pictures of more pixels than this."
        ),
        option("quiet", bool, False, "Print nothing but errors."),
        option("debug", bool, False, "Print the traceback of an error."),
    ]
    options += [
        option(f.name, f.type, getattr(base, f.name), f.metadata["doc"]) for f in FIELDS
    ]
    return dataclasses.make_dataclass("FitOptions", options, frozen=True)


def run_tyro(options: type, argv: list[str]) -> Any:
    """Parse with tyro; its boxed errors become one line."""
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                options,
                args=argv,
                prog="fit.py",
                description="Fit a picture with a coordinate network.",
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
    raise ConfigError(*one_line(errors.getvalue()))


def one_line(box: str) -> tuple[str, str]:
    """Message and hint of tyro's boxed error: title, message, rule, suggestions."""
    lines = [line.strip(" │╭╮╰╯") for line in box.splitlines()]
    lines = [line for line in lines if line][1:]
    is_rule = [not line.strip("─-") for line in lines]
    if is_rule[0]:
        lines, is_rule = lines[1:], is_rule[1:]
    end = is_rule.index(True) if True in is_rule else len(lines)
    suggested = re.search(r"--[a-z][a-z-]*", " ".join(lines[end:]))
    near = suggested and "Perhaps" in lines[min(end + 1, len(lines) - 1)]
    hint = f"did you mean {suggested[0]}?" if suggested and near else "see --help"
    return " ".join(lines[:end]).rstrip("."), hint


def read_config(path: Path) -> Config:
    """The config in a JSON file."""
    try:
        return Config.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a JSON config ({error})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", error.hint) from error


def read_picture(options: Any, config: Config) -> Any:
    """The picture that the options name, checked against an explicit batch size."""
    from jax_inr.images import load_image, sample_image

    size = parse_size(options.size)
    if options.image is None:
        picture = sample_image(size=224 if size is None else size)
    else:
        picture = load_image(
            options.image, size=size, max_pixels=options.max_pixels
        )
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


def parse_size(text: str | None) -> int | tuple[int, int] | None:
    """`224` or `240x320` (height x width) as numbers; raises ConfigError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > 2:
        raise ConfigError(f"size is {text!r}; it must be N or HxW, as 224 or 240x320")
    numbers = [int(part) for part in parts]
    if not all(1 <= n <= 65_535 for n in numbers):
        raise ConfigError(f"size is {text}; each side must lie in 1 to 65535")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def free_folder(path: str, name: str) -> str:
    """A folder under runs/ that no run has yet: PICTURE-PRESET, then -2, -3, …"""
    stem = "sample" if path == "skimage.data.chelsea" else Path(path).stem
    base = Path("runs") / f"{stem[:100]}-{name}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return str(folder)
