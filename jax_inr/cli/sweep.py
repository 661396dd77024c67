"""Many runs by one command: several pictures, a sweep over a config's numbers, or both.

Runs that can share a program do; each gets a folder of its own, as a single run's. A
bad picture stops no other, and a run that a folder already holds is not done again.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jax_inr import cost
from jax_inr.config import Config
from jax_inr.errors import ConfigError, DivergedError, JaxInrError, OutputError
from jax_inr.io.images import Picture
from jax_inr.io.reading import refuse_link
from jax_inr.io.runs import RUN_FILES, RunFolder
from jax_inr.io.text import shown
from jax_inr.lanes import Progress

MOST_AT_ONCE = 64  # fits of one program
MOST_RUNS = 10_000


class Run(NamedTuple):
    """One fit of many: its folder's name, picture and config."""

    name: str
    picture: Picture
    config: Config


class Failure(NamedTuple):
    """A picture or a run that could not be done, and why."""

    name: str
    error: JaxInrError


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
        kind = kinds[name]
        if kind not in (int, float):
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


def configs_of(config: Config, sweep: dict[str, list[Any]]) -> dict[str, Config]:
    """A config for each point of the sweep's grid, by name: `sigma=3,seed=0`."""
    points = {}
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        name = ",".join(f"{key}={_short(value)}" for key, value in chosen.items())
        points[name] = config.replace(**chosen)
    return points


def _short(value: float) -> str:
    """A number as briefly as can be without becoming another one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def name_pictures(paths: Sequence[str]) -> list[str]:
    """A name for each picture: its file's, told apart by -2, -3, … where equal.

    None is that of a file beside the runs' folders, and none begins with a dot.
    """
    names = ["summary.json", "sweep.png", "config.json"]
    taken = len(names)
    for path in paths:
        stem = Path(path).stem[:60].lstrip(".") or "picture"
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names[taken:]


def groups(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """Runs that can share a program, no more of them at once than memory holds."""
    from jax_inr.many import varying

    alike: dict[Any, list[Run]] = {}
    for run in runs:
        same = run.config.replace(
            **{name: getattr(Config(), name) for name in varying(run.config)}
        )
        alike.setdefault((run.picture.image.shape, same), []).append(run)
    for (shape, config), several in alike.items():
        height, width, channels = shape
        one = cost.fit_bytes(config, height, width, channels)
        most = min(max(cost.available_bytes() // (2 * one), 1), MOST_AT_ONCE)
        for start in range(0, len(several), most):
            yield several[start : start + most]


def open_whole(out: Path) -> RunFolder:
    """The locked folder of many runs; OutputError where it is that of a single one."""
    with contextlib.ExitStack() as undo:
        whole = undo.enter_context(RunFolder.create(out, overwrite=True))
        if (whole.path / "config.json").exists():
            hint = "choose another folder for several"
            raise OutputError(f"{shown(out)} holds a single run", hint)
        undo.pop_all()
    return whole


def open_run(
    folder: Path, run: Run, overwrite: bool
) -> tuple[RunFolder, dict[str, Any] | None]:
    """The locked folder of a run, and its summary if this very run ended there.

    Raises:
        OutputError: it cannot be written or locked; or something else is in it than
            what this very run has left, and `overwrite` does not allow that.
        CheckpointError: a file there is damaged.
    """
    # Of the folders below that of all runs, none is a link either.
    for each in (folder, *folder.parents)[: len(Path(run.name).parts)]:
        refuse_link(each, OutputError)
    with contextlib.ExitStack() as undo:
        files = undo.enter_context(RunFolder.create(folder, overwrite=True))
        summary = None
        names = [n for n in os.listdir(folder) if not n.startswith(".jax_inr")]
        if names and not overwrite:
            same = "config.json" in names and (
                files.read_json("config.json") == run.config.to_dict()
            )
            if same and "summary.json" in names:
                summary = files.read_summary()
                if summary["image"]["sha256"] != run.picture.sha256:
                    hint = "choose another folder, or --overwrite"
                    raise OutputError(f"{shown(folder)} is of another picture", hint)
            # A run of many keeps no checkpoints: those are of one to be resumed.
            elif not same or not {*names} <= {*RUN_FILES}:
                hint = "choose another folder, or --overwrite"
                raise OutputError(f"{shown(folder)} is not empty", hint)
        undo.pop_all()
    return files, summary


def fit_all(
    runs: Sequence[Run],
    out: Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_done: Callable[[str, dict[str, Any]], None] = lambda name, summary: None,
    on_notice: Callable[[str], None] = print,
) -> tuple[dict[str, dict[str, Any]], list[Failure]]:
    """Fit all runs that `out` does not hold yet; their summaries and the failures.

    `out/NAME` becomes the folder of a run; it is written when its group has ended.
    What stands in a run's way there is that run's failure, before anything is fitted.
    """
    from jax_inr.many import fit_many

    summaries: dict[str, dict[str, Any]] = {}
    failures: list[Failure] = []

    def opened(some: Iterable[Run]) -> Iterator[tuple[Run, RunFolder]]:
        """The runs that are to be fitted, each with its folder."""
        for run in some:
            try:
                files, summary = open_run(out / run.name, run, overwrite)
            except JaxInrError as error:
                failures.append(Failure(run.name, error))
                continue
            if summary is None:
                yield run, files
                continue
            files.close()
            summaries[run.name] = summary
            on_done(run.name, summary)

    todo = []
    for run, files in opened(runs):
        files.close()  # a process may not hold thousands of locks
        todo.append(run)
    for group in groups(todo):
        with contextlib.ExitStack() as locks:
            held = []
            for run, files in opened(group):
                held.append((run, locks.enter_context(files)))
            if not held:
                continue

            def notice(index: int, text: str, held: list[Any] = held) -> None:
                on_notice(f"{held[index][0].name}: {text}")

            try:
                with cost.memory_errors():
                    fits = fit_many(
                        [run.picture for run, _ in held],
                        [run.config for run, _ in held],
                        device=device,
                        on_progress=on_progress,
                        on_notice=notice,
                    )
            except JaxInrError as error:
                failures += [Failure(run.name, error) for run, _ in held]
                continue
            for (run, files), fit in zip(held, fits, strict=True):
                try:
                    write_run(files, run, fit)
                except JaxInrError as error:
                    failures.append(Failure(run.name, error))
                else:
                    summaries[run.name] = fit.summary
                    on_done(run.name, fit.summary)
    order = {run.name: i for i, run in enumerate(runs)}
    return dict(sorted(summaries.items(), key=lambda one: order[one[0]])), failures


def write_run(files: RunFolder, run: Run, fit: Any) -> None:
    """The files of a single run's folder, but for checkpoints; the summary last.

    Raises:
        OutputError: something cannot be written.
        DivergedError: the fit has diverged, and gets no summary: it is not finished.
    """
    from jax_inr.draw import run_images

    files.clear()
    files.write_json("config.json", run.config.to_dict())
    for row in fit.rows:
        files.append_metrics(row)
    files.save_field(fit.tensors, fit.header)
    run_images.write_reconstruction(files, fit.prediction, run.config)
    steps = fit.summary["steps"]
    run_images.write_figures(
        files, fit.prediction, run.picture, run.config, fit.tensors, steps
    )
    if fit.summary["stopped"] == "diverged":
        raise DivergedError(
            "the fit diverged: not finite; its last good state is kept",
            f"try --learning-rate {run.config.learning_rate / 10:g}, or a longer "
            "--warmup-steps",
        )
    files.write_json("summary.json", fit.summary)
