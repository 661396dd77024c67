"""Many runs by one command: several images, a sweep over a config's numbers, or both.

Each run gets a folder of its own, as a single run's. A bad image stops no other, and
a run that a folder already holds is not done again.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import traceback
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from jax_inr.cli import process
from jax_inr.cli.inputs import free_folder, keywords_of, read_image, sized
from jax_inr.cli.options import RunOptions
from jax_inr.cli.outcome import report_silently
from jax_inr.cli.overview import FILES, Result, results_table, write_overview
from jax_inr.config import Config
from jax_inr.errors import (
    CheckpointError,
    ConfigError,
    Interrupted,
    JaxInrError,
    OutputError,
)
from jax_inr.io.reading import read_json
from jax_inr.io.runs import RunFolder
from jax_inr.io.text import shown

MOST_RUNS = 10_000


class Run(NamedTuple):
    """One fit of many."""

    name: str  # of its folder: that of its image, and the point of the sweep
    image_name: str
    image: Any
    point: dict[str, Any]  # the values of the swept fields
    config: Config


def fit_all(options: RunOptions, config: Config) -> int:
    """Fit several images, or with a sweep, into one folder; returns the exit code."""
    from jax_inr import fitting
    from jax_inr.cli import progress
    from jax_inr.progress import Display

    varied = parse_sweep(options.sweep, config)
    from jax_inr import machine

    machine.devices_for_cores()
    out = options.out or free_folder("many", options.preset)
    console = progress.console()
    silent = options.quiet or options.json
    # Held to the end: the overview is that of one command.
    with open_whole(out):
        runs, failures = read_runs(options, config, varied, out)
        results: list[Result] = []
        if runs:
            with (
                process.SignalGuard() as guard,
                Display(console, silent) as display,
                _going_on(out),
            ):
                fits = fitting.fit_many(
                    [run.image for run in runs],
                    [run.config for run in runs],
                    names=[run.name for run in runs],
                    out=out,
                    overwrite=options.overwrite,
                    **keywords_of(options, display, guard),
                )
            for name, error in fits.failures.items():
                if options.debug:
                    process.say("".join(traceback.format_exception(error)))
                process.say(f"error: {name}: {process.explain(error)[0]}")
            failures |= fits.failures
            results = [
                Result(run.name, run.image_name, run.point, fits.done[run.name].summary)
                for run in runs
                if run.name in fits.done
            ]
        summary = write_overview(out, results, failures, varied)
    if silent:
        report_silently(options, out, summary)
    else:
        console.print(results_table(results, varied))
        console.print(f"written to {out}", highlight=False, markup=False)
    return max((process.explain(e)[1] for e in [*failures.values()][:1]), default=0)


def read_runs(
    options: RunOptions, config: Config, varied: dict[str, list[Any]], out: Path
) -> tuple[list[Run], dict[str, Exception]]:
    """A run for each image and point; a failure, also printed, for each bad image."""
    runs: list[Run] = []
    failures: dict[str, Exception] = {}
    points = configs_of(config, varied)
    named: dict[str, Path | None] = dict(name_images(options.image, out)) or {"": None}
    for name, path in named.items():
        try:
            image = read_image(path, options, config)
        except JaxInrError as error:
            process.say(f"error: {process.explain(error)[0]}")
            failures[name or "sample"] = error
            continue
        for point, (values, point_config) in points.items():
            folder = "/".join(filter(None, (name, point)))
            chosen = sized(point_config, options, image)
            runs.append(Run(folder, name, image, values, chosen))
    return runs, failures


def parse_sweep(words: Sequence[str], config: Config) -> dict[str, list[Any]]:
    """`sigma=1,3,10 seed=0,1` as names and values.

    Raises:
        ConfigError: a word is not NAME=VALUE,…; a field is unknown, twice there or
            not numeric; a value cannot be read, or lies outside its range.
    """
    sweep: dict[str, list[Any]] = {}
    kinds = {field.name: field.type for field in dataclasses.fields(Config)}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.replace("-", "_")
        if not equals or not text:
            raise ConfigError(f"sweep {word!r} is not NAME=VALUE,VALUE,…")
        if name not in kinds:
            config.replace(**{name: None})  # raises, and knows the near names
        kind = next((k for k in (int, float) if k in _kinds(kinds[name])), None)
        if kind is None:
            raise ConfigError(
                f"a sweep varies numbers, and {name} is none",
                "begin one run for each value",
            )
        if name in sweep:
            raise ConfigError(f"the sweep names {name} twice")
        try:
            values = [kind(value) for value in text.split(",")]
        except ValueError:
            raise ConfigError(
                f"sweep {word!r} has a value that is no "
                f"{'whole number' if kind is int else 'number'}"
            ) from None
        for value in values:
            config.replace(**{name: value})
        sweep[name] = list(dict.fromkeys(values))
    count = len(list(itertools.product(*sweep.values())))
    if count > MOST_RUNS:
        raise ConfigError(f"the sweep has {count} runs, more than {MOST_RUNS}")
    return sweep


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a field that holds one value, or None or `auto` beside it."""
    union = get_args(annotation)
    return union if {int, float} & {*union} and ... not in union else (annotation,)


def configs_of(
    config: Config, sweep: dict[str, list[Any]]
) -> dict[str, tuple[dict[str, Any], Config]]:
    """Values and config for each point of the sweep's grid, by name: `sigma=3,seed=0`.

    A field that is not swept has one point, whose name is empty.
    """
    points = {}
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        name = ",".join(f"{key}={_short(value)}" for key, value in chosen.items())
        points[name] = chosen, config.replace(**chosen)
    return points


def _short(value: float) -> str:
    """A number as briefly as can be without becoming another one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def name_images(paths: Sequence[Path], out: Path) -> dict[str, Path]:
    """A folder's name for each image, once each: that of its file.

    That is the stem; where stems meet, the file's whole name; where these meet too,
    with its folder's, or a hash of its path. Names meet without regard to case and
    Unicode form, as they do on some file systems. An image keeps the name under which
    `out` holds it already, so that another beside it changes nothing.
    """
    paths = list(dict.fromkeys(paths))
    forms = [_forms(path) for path in paths]
    levels, kept = [0] * len(paths), [False] * len(paths)
    for index, path in enumerate(paths):
        for level, name in enumerate(forms[index]):
            if _is_of(out / name, path):
                levels[index], kept[index] = level, True
                break
    while True:
        keys = [_key(form[level]) for form, level in zip(forms, levels, strict=True)]
        met = Counter([*keys, *map(_key, FILES)])
        again = [
            index
            for index, key in enumerate(keys)
            if met[key] > 1 and not kept[index] and levels[index] < 3
        ]
        if not again:
            break
        for index in again:
            levels[index] += 1
    names = [form[level] for form, level in zip(forms, levels, strict=True)]
    return dict(zip(names, paths, strict=True))


def _forms(path: Path) -> list[str]:
    """The names that an image may have, from the one wanted to the one nobody has."""
    digest = hashlib.sha256(bytes(path)).hexdigest()[:12]
    stem, name, parent = path.stem[:60], path.name, path.absolute().parent.name[:60]
    forms = [stem, name[-120:], f"{parent}-{name[-60:]}", f"{stem[:40]}-{digest}"]
    # None begins with a dot: those are files at work.
    plain = [unicodedata.normalize("NFC", form).lstrip(".") for form in forms]
    return [form or f"image-{digest}" for form in plain]


def _key(name: str) -> str:
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", folded)


def _is_of(folder: Path, path: Path) -> bool:
    """Whether the finished run in a folder, or one of its points, is of this file."""
    for summary in (*folder.glob("summary.json"), *folder.glob("*/summary.json")):
        with contextlib.suppress(CheckpointError, LookupError, TypeError):
            return read_json(summary, follow=False)["image"]["path"] == shown(path)
    return False


def open_whole(out: Path) -> RunFolder:
    """The locked folder of many runs; OutputError where it is that of a single one."""
    with contextlib.ExitStack() as undo:
        whole = undo.enter_context(RunFolder.create(out, overwrite=True))
        if (out / "config.json").exists():
            hint = "choose another folder for several"
            raise OutputError(f"{shown(out)} holds a single run", hint)
        undo.pop_all()
    return whole


@contextlib.contextmanager
def _going_on(out: Path) -> Iterator[None]:
    """Say of an interruption how all runs go on: --resume would be of one of them."""
    try:
        yield
    except Interrupted as error:
        what, _, _ = str(error).partition("; ")
        text = f"{what}; the same command with --out {shown(out)} goes on"
        raise Interrupted(text, error.exit_code - 128) from error
