"""Carry out runs: one group of fits, of one program, at a time."""

import contextlib
import dataclasses
import importlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jax_inr import cost
from jax_inr.endings import diverged, interrupted
from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io import summaries
from jax_inr.io.reading import refuse_link
from jax_inr.io.runs import RunFolder
from jax_inr.io.text import shown
from jax_inr.lanes import Lane, Progress, Recorder, Trainer, failing
from jax_inr.loop import run as run_loop
from jax_inr.recording import RunRecorder, find, finished, refuse_other
from jax_inr.results import Fit
from jax_inr.run import Run


@dataclasses.dataclass(frozen=True)
class Options:
    """Execution options; none changes the result. `fitting.fit` explains them."""

    device: str = "auto"
    progress: bool = False
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_notice: Callable[[str], None] = lambda text: None
    save_every_seconds: float = 30.0
    film: bool = False
    max_memory_bytes: int | None = None
    stop: Callable[[], str] = lambda: ""
    on_done: Callable[[str, Fit], None] = lambda name, fit: None


def carry_out(runs: Sequence[Run], options: Options, overwrite: bool) -> None:
    """Fit the runs of one program; their results and errors are written into them.

    Raises:
        Interrupted: a signal came; what there is of the fits is in the runs.
    """
    start = time.perf_counter()
    with contextlib.ExitStack() as folders:
        if runs[0].job is not None:
            # Imported late: the torch back end does without JAX.
            from jax_inr.tensors import float32

            folders.enter_context(float32())
        for run in runs:
            with failing(run):
                _open(run, folders, overwrite)
                if run.fit is not None:
                    options.on_done(run.name, run.fit)
        todo = [run for run in runs if run.fit is None and run.error is None]
        if not todo:
            return
        if options.progress:
            # Imported late: few fits are watched.
            from jax_inr.progress import shown_beside

            both = folders.enter_context(shown_beside(options.on_progress))
            options = dataclasses.replace(options, on_progress=both)
        try:
            with cost.memory_errors():
                _fit(runs, todo, options, start)
        except Exception as error:
            # The error belongs to this group; other groups go on.
            for run in todo:
                if run.fit is None and run.error is None:
                    run.error = error


def probe(out: Path, overwrite: bool) -> None:
    """Refuse a folder that no run can have, before anything slow begins.

    Raises:
        OutputError: it cannot be written or locked, or something else is in it.
    """
    with RunFolder.create(out, overwrite=True) as folder:
        if overwrite or folder.is_empty() or finished(folder) is not None:
            return
        if not folder.holds_a_run():
            raise folder.not_empty()


def _open(run: Run, folders: contextlib.ExitStack, overwrite: bool) -> None:
    """Lock the run's folder; find out whether the run begins, goes on or is done."""
    if run.out is None:
        return
    # No folder between that of all runs and this run's may be a link.
    for folder in (run.out, *run.out.parents)[: len(Path(run.name).parts)]:
        refuse_link(folder, OutputError)
    folder = folders.enter_context(RunFolder.create(run.out, overwrite=True))
    if folder.is_empty() or overwrite:
        run.folder = folder
        return
    there = finished(folder)
    if there is not None:
        if difference := there.difference(run.identity):
            raise refuse_other(folder, difference)
        if there.ends_like(run.identity):
            model = run.job.model if run.job else None
            run.fit = Fit.load(folder, model)
            return
    if not folder.holds_a_run():
        raise folder.not_empty()
    found = find(folder)
    if difference := found.identity.difference(run.identity):
        raise refuse_other(folder, difference)
    run.folder, run.found = folder, found


def _fit(
    runs: Sequence[Run], todo: Sequence[Run], options: Options, start: float
) -> None:
    first = todo[0]
    if first.job is not None:
        cost.check(
            sum(cost.job_bytes(run.job) for run in todo if run.job),
            options.max_memory_bytes,
        )
    if any(run.folder is not None for run in todo):
        _import_soon("jax_inr.draw.plots")
    trainer = _make_trainer(runs, options)
    lanes = []
    for index, run in enumerate(runs):
        recorder = Recorder()
        if run in todo:
            with failing(run):
                _load(trainer, index, run)
                notices = [*run.notices, *(run.folder.notices if run.folder else [])]
                for notice in notices + (run.found.notices if run.found else []):
                    options.on_notice(_named(run, notice))
                # Nothing is written before the device and the state are known.
                if run.folder is not None:
                    films = options.film or bool(run.folder.list_frames())
                    if run.found is None:
                        films = options.film
                    recorder = RunRecorder(run.folder, run.identity, run.image, films)
                    recorder.begin(run.found)
        lane = Lane(run.rules, recorder)
        if run not in todo or run.error is not None:
            lane.stopped = "done"
        elif run.found is not None:
            lane.position = run.found.position
        lanes.append(lane)
    if first.job is not None and first.folder is not None:
        from jax_inr.draw.encoding import compile_features

        compile_features(first.job.model, trainer.parameters(0), *first.shape[:2])
    trainer.compile()
    cost.check_compiled(trainer, options.max_memory_bytes)
    compile_seconds = time.perf_counter() - start
    run_loop(
        trainer,
        lanes,
        stop=options.stop,
        on_progress=options.on_progress,
        save_every_seconds=options.save_every_seconds,
    )
    for index, (run, lane) in enumerate(zip(runs, lanes, strict=True)):
        if lane.stopped == "done":
            continue
        with failing(run):
            _finish(trainer, index, run, lane, options, compile_seconds, start)
    signals = [lane.stopped for lane in lanes if lane.is_interrupted]
    # A signal may come too late to end the loop; the caller has to know of it.
    if name := (signals[0] if signals else options.stop()):
        raise interrupted(name, runs, lanes)


def _import_soon(module: str) -> None:
    """Import a module in a thread: matplotlib's half second passes in compiling's."""

    def attempt() -> None:
        # What cannot be imported is told where it is needed.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)

    threading.Thread(target=attempt).start()


def _make_trainer(runs: Sequence[Run], options: Options) -> Trainer:
    """The trainer of a back end, on a device."""
    first = runs[0]
    if first.backend == "torch":
        from jax_inr.torch_lane import make_trainer

        assert first.image is not None
        target = first.image.image * np.float32(255 / first.config.rgb_max)
        return make_trainer(first.config, target, options.device)
    from jax_inr.trainer import JaxTrainer

    jobs = [run.job for run in runs if run.job is not None]
    return JaxTrainer(jobs, options.device)


def _load(trainer: Trainer, index: int, run: Run) -> None:
    """Load the state of a run that goes on into the trainer."""
    if run.found is None or run.found.tensors is None:
        return
    where = "" if run.out is None else f"{shown(run.out)}: "
    try:
        trainer.load_state(index, run.found.tensors)
    except CheckpointError as error:
        raise CheckpointError(
            f"{where}the checkpoint is no state of this fit in the {run.backend} back "
            f"end: {error}"
        ) from error
    step, position = trainer.steps[index], run.found.position
    if position.step > run.config.steps:
        raise CheckpointError(
            f"{where}the run has taken {position.step} steps, more than the "
            f"{run.config.steps} asked for",
            f"ask for {position.step} steps or more, or begin a new run",
        )
    if step != position.step:
        raise CheckpointError(
            f"{where}the checkpoint's state is of step {step}, its position of step "
            f"{position.step}"
        )


def _finish(
    trainer: Trainer,
    index: int,
    run: Run,
    lane: Lane,
    options: Options,
    compile_seconds: float,
    start: float,
) -> None:
    """Make the Fit of a lane that has ended, and write it."""
    if lane.error is not None:
        raise lane.error
    position, config = lane.position, run.config
    if lane.worse and not lane.is_interrupted and not lane.diverged:
        options.on_notice(_named(run, lane.worse))
    prediction, tensors = trainer.predict(index), trainer.parameters(index)
    height, width, channels = run.shape
    header = {"config": config.to_dict(), "backend": run.backend}
    header |= {
        "height": height,
        "width": width,
        "channels": channels,
        "step": position.step,
    }
    if run.job is not None:
        # Imported late: the torch back end does without JAX.
        from jax_inr.adapters import foreign_parts

        model = run.job.model
        header |= foreign_parts(encoding=model.encoding, network=model.network)
    summary = summaries.summarise(
        config,
        run.image,
        prediction,
        tensors,
        backend=run.backend,
        pixels_sha256=run.identity.pixels_sha256,
        measured_psnr_db=lane.psnr_db,
        parts=dict(run.identity.parts),
        device=str(trainer.device),
        step=position.step,
        stopped=lane.stopped,
        seconds={"compile": compile_seconds, "fit": position.seconds},
    )
    model = run.job.model if run.job else None
    rows = lane.rows
    if run.folder is not None:  # also those of sessions before
        rows = [
            row for row in run.folder.read_metrics() if row["step"] <= position.last_row
        ]
    run.fit = Fit(summary, rows, tensors, header, model, prediction)
    if run.folder is not None:
        from jax_inr import run_images

        run.folder.save_field(tensors, header)
        run_images.write_reconstruction(run.folder, prediction, config)
        if not lane.is_interrupted and run.image is not None:
            run_images.write_figures(run.folder, run.fit, run.image)
            if isinstance(lane.recorder, RunRecorder) and lane.recorder.films:
                run_images.write_film(run.folder, run.image, config, position.step)
    summary["seconds"]["total"] = time.perf_counter() - start
    if lane.diverged is not None:
        raise diverged(lane)
    if run.folder is not None and not lane.is_interrupted:
        run.folder.write_json("summary.json", summary)
    if not lane.is_interrupted:
        options.on_done(run.name, run.fit)


def _named(run: Run, text: str) -> str:
    return f"{run.name}: {text}" if run.name else text
