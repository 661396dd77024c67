"""Until the library has them: fit, fit_many and resume as they are to be.

They go on with what `out` holds, and are given a `stop` that returns a signal's name.
"""

import contextlib
import dataclasses
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jax_inr import cost, fitting
from jax_inr.config import Config
from jax_inr.errors import (
    CheckpointError,
    DivergedError,
    Interrupted,
    JaxInrError,
    OutputError,
)
from jax_inr.io.files import shown
from jax_inr.io.runs import RUN_FILES, RunFolder

MOST_AT_ONCE = 64  # fits of one program


class Done(NamedTuple):
    """A run that a folder holds already."""

    summary: dict[str, Any]


class Run(NamedTuple):
    """One fit of many: its folder's name, image and config."""

    name: str
    picture: Any
    config: Config


class FitMany(list):
    """The fits of many, without those that failed."""

    failures: dict[str, JaxInrError]


def fit(image: Any, config: Config, *, out: Path, overwrite: bool, **how: Any) -> Any:
    """Fit an image: begin, go on, or return what `out` holds."""
    del how["stop"]
    if overwrite or not (out / "config.json").exists():
        return fitting.fit(image, config, out=out, overwrite=overwrite, **how)
    with RunFolder.reopen(out) as folder:
        same = folder.read_json("config.json") == config.to_dict()
        with contextlib.suppress(CheckpointError):
            kept = fitting.identity(folder.load_picture())
            same = same and kept == fitting.identity(image)
        if not same:
            raise OutputError(
                f"{shown(out)} is not empty: it holds another run",
                "choose another folder, or --overwrite",
            )
        if folder.finished():
            return Done(folder.read_summary())
        begun = list((out / "checkpoints").glob("step_*"))
    if begun:
        return fitting.resume(out, **how)
    return fitting.fit(image, config, out=out, overwrite=True, **how)


def resume(out: Path, *, backend: str | None, **how: Any) -> Any:
    """Go on with a run; what is no keyword of `fit` changes its config."""
    del how["stop"]
    fields = [field.name for field in dataclasses.fields(Config)]
    changes = {name: how.pop(name) for name in fields if name in how}
    with RunFolder.reopen(out) as folder:
        if folder.finished() and not changes:
            return Done(folder.read_summary())
        config = Config.from_dict(folder.read_json("config.json"))
    # All fields: a config.json that is not the checkpoint's is then refused.
    changes = dataclasses.asdict(config) | changes
    return fitting.resume(out, changes=changes, backend=backend, **how)


def fit_many(
    images: Sequence[Any],
    configs: Sequence[Config],
    *,
    names: Sequence[str],
    out: Path,
    overwrite: bool,
    device: str,
    on_progress: Any,
    on_notice: Any,
    stop: Any,
) -> FitMany:
    """Fit all runs that `out` does not hold yet; a failed one stops no other."""
    from jax_inr.many import fit_many

    runs = [Run(*run) for run in zip(names, images, configs, strict=True)]
    fits: dict[str, Any] = {}
    failures: dict[str, JaxInrError] = {}

    def heard(progress: Any) -> None:
        on_progress(progress)
        if stop():
            raise Interrupted(f"stopped by {stop()}", signal.Signals[stop()])

    def opened(some: Iterable[Run]) -> Iterator[tuple[Run, RunFolder]]:
        for run in some:
            try:
                files, summary = _open_run(out / run.name, run, overwrite)
            except JaxInrError as error:
                failures[run.name] = error
                continue
            if summary is None:
                yield run, files
                continue
            files.close()
            fits[run.name] = Done(summary)

    todo = []
    for run, files in opened(runs):
        files.close()  # a process may not hold thousands of locks
        todo.append(run)
    for group in _groups(todo):
        with contextlib.ExitStack() as locks:
            held = [(run, locks.enter_context(files)) for run, files in opened(group)]
            if not held:
                continue

            def notice(index: int, text: str, held: list[Any] = held) -> None:
                on_notice(f"{held[index][0].name}: {text}")

            try:
                with cost.memory_errors():
                    found = fit_many(
                        [run.picture for run, _ in held],
                        [run.config for run, _ in held],
                        device=device,
                        on_progress=heard,
                        on_notice=notice,
                    )
            except JaxInrError as error:
                failures |= {run.name: error for run, _ in held}
                continue
            for (run, files), one in zip(held, found, strict=True):
                try:
                    _write_run(files, run, one)
                    fits[run.name] = one
                except JaxInrError as error:
                    failures[run.name] = error
    many = FitMany(fits[name] for name in names if name in fits)
    many.failures = {name: failures[name] for name in names if name in failures}
    return many


def _groups(runs: Iterable[Run]) -> Iterator[list[Run]]:
    from jax_inr.many import varying

    alike: dict[Any, list[Run]] = {}
    for run in runs:
        same = run.config.replace(
            **{name: getattr(Config(), name) for name in varying(run.config)}
        )
        alike.setdefault((run.picture.image.shape, same), []).append(run)
    for (shape, config), several in alike.items():
        one = cost.fit_bytes(config, *shape)
        most = min(max(cost.available_bytes() // (2 * one), 1), MOST_AT_ONCE)
        for start in range(0, len(several), most):
            yield several[start : start + most]


def _open_run(
    folder: Path, run: Run, overwrite: bool
) -> tuple[RunFolder, dict[str, Any] | None]:
    with contextlib.ExitStack() as undo:
        files = undo.enter_context(RunFolder.create(folder, overwrite=True))
        summary = None
        names = [p.name for p in folder.iterdir() if not p.name.startswith(".jax_inr")]
        if names and not overwrite:
            hint = "choose another folder, or --overwrite"
            same = "config.json" in names and (
                files.read_json("config.json") == run.config.to_dict()
            )
            if same and "summary.json" in names:
                summary = files.read_summary()
                height, width, _ = run.picture.image.shape
                about = summary["image"]
                made_of = about["sha256"], about["height"], about["width"]
                if made_of != (run.picture.sha256, height, width):
                    raise OutputError(f"{shown(folder)} is of another image", hint)
            elif not same or not {*names} <= {*RUN_FILES}:
                raise OutputError(f"{shown(folder)} is not empty", hint)
        undo.pop_all()
    return files, summary


def _write_run(files: RunFolder, run: Run, fit: Any) -> None:
    from jax_inr.io import summaries

    files.clear()
    files.write_json("config.json", run.config.to_dict())
    for row in fit.rows:
        files.append_metrics(row)
    files.save_field(fit.tensors, fit.header)
    summaries.write_reconstruction(files, fit.prediction, run.config)
    steps = fit.summary["steps"]
    summaries.write_figures(
        files, fit.prediction, run.picture, run.config, fit.tensors, steps
    )
    if fit.summary["stopped"] == "diverged":
        raise DivergedError(
            "the fit diverged: not finite; its last good state is kept",
            f"try --learning-rate {run.config.learning_rate / 10:g}, or a longer "
            "--warmup-steps",
        )
    files.write_json("summary.json", fit.summary)
