"""fit(), fit_many(), resume(): an image or a task and a config in, fields out."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

from jax_inr.config import Config
from jax_inr.conflicts import RESUMABLE_FIELDS
from jax_inr.errors import CheckpointError, ConfigError, Interrupted
from jax_inr.inputs import as_config, as_image, is_single, paired
from jax_inr.io.images import Image
from jax_inr.io.runs import RunFolder
from jax_inr.keywords import suggests
from jax_inr.lanes import Progress
from jax_inr.recording import find
from jax_inr.results import Fit, FitMany
from jax_inr.run import grouped, make_run
from jax_inr.running import Options, carry_out, probe

Device = Literal["auto", "cpu", "gpu"]
Backend = Literal["jax", "torch"]
StrPath = str | os.PathLike[str]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


@suggests
def fit(
    image: Any,
    config: Config | str | dict[str, Any] | None = None,
    *,
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    backend: Backend = "jax",
    out: StrPath | None = None,
    overwrite: bool = False,
    device: Device = "auto",
    progress: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = _warn,
    save_every_seconds: float = 30.0,
    film: bool = False,
    max_memory_bytes: int | None = None,
    stop: Callable[[], str] = lambda: "",
) -> Fit:
    """Fit an image, or a task's measurements of one.

    Args:
        image: (h, w, c) floats in [0, 1], what `load_image` gives, a path, a Pillow
            image, 8-bit levels; or a `Task`.
        config: a Config, a preset's name, or fields that differ from preset "default".
        encoding, network: the caller's own in place of the config's; see
            `encodings.Encoding` and `adapters.as_network`.
        optimizer: an `optax.GradientTransformation` in place of the config's.
        loss: of one measurement's prediction and value, a number or an array whose
            mean is minimised; the squared error where left out.
        backend: "jax", or "torch" for the reference.
        out: folder for the run's files; nothing is written where left out. A run of
            the same measurements and config that stopped there goes on, bit for bit as
            if it had not; one that has ended is given back.
        overwrite: replace the run that `out` holds.
        device: a GPU that is asked for is never replaced.
        progress: show a bar.
        on_progress: called after each chunk of steps.
        on_notice: called with one line on what the user may not expect.
        save_every_seconds: time between checkpoints.
        film: record film.webp, and film.mp4 where imageio-ffmpeg is installed.
        max_memory_bytes: refuse a fit that needs more; left out, what is left.
        stop: asked after each chunk; a signal's name ends the fit, to be resumed.

    Equal seeds give equal starts: B, weights and batches.

    Raises:
        ImageError: the image is not (h, w, 1 or 3) floats in [0, 1].
        DivergedError: a number is not finite; the last good state is saved.
        Interrupted: a KeyboardInterrupt or `stop` came; it carries the fit so far.
        ConfigError, OutputError, DeviceError: as their names say.
    """
    options = Options(
        device,
        progress,
        on_progress,
        on_notice,
        save_every_seconds,
        film,
        max_memory_bytes,
        stop,
    )
    parts = {"encoding": encoding, "network": network, "optimizer": optimizer}
    if film and out is None:
        raise ConfigError("a film is kept in a run's folder", "name it with out")
    config = as_config(config)
    if out is not None:
        # A folder that cannot be is known before anything slow begins.
        probe(Path(out).expanduser(), overwrite)
    run = make_run(
        image, config, **parts, loss=loss, backend=backend, out=out, device=device
    )
    carry_out([run], options, overwrite)
    return run.result()


@suggests
def resume(
    out: StrPath,
    *,
    steps: int | EllipsisType = ...,
    eval_every: int | EllipsisType = ...,
    target_psnr: float | EllipsisType | None = ...,
    max_seconds: float | EllipsisType | None = ...,
    task: Any = None,
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    backend: Backend | None = None,
    device: Device = "auto",
    progress: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = _warn,
    save_every_seconds: float = 30.0,
    film: bool = False,
    max_memory_bytes: int | None = None,
    stop: Callable[[], str] = lambda: "",
) -> Fit:
    """Go on with the run in a folder, bit for bit as if it had not stopped.

    Args:
        out: the run's folder.
        steps, eval_every, target_psnr, max_seconds: of the config, as they were where
            left out; another number of steps goes with a constant schedule alone.
        task, encoding, network, optimizer, loss: what the run was begun with, where it
            was the caller's own.
        backend: refuse a run of the other one.
        others: see `fit`; notices tell of a damaged checkpoint and the older one used
            instead, and of versions that differ from those that began the run.

    Raises:
        OutputError: the folder holds no run, or another process has it.
        CheckpointError: no checkpoint is good, or the objects are not the run's.
        ConfigError: a change that would alter steps already taken.
        As `fit`.
    """
    values = (steps, eval_every, target_psnr, max_seconds)
    changes = {
        name: value
        for name, value in zip(RESUMABLE_FIELDS, values, strict=True)
        if value is not ...
    }
    with RunFolder.reopen(out) as folder:
        found = find(folder)
    there = found.identity
    if backend not in (None, there.backend):
        raise CheckpointError(
            f"{folder.path}: the run is of the {there.backend} back end and cannot go "
            f"on with {backend}",
            f"leave backend out, or begin a new run with {backend}",
        )
    given: dict[str, Any] = {"encoding": encoding, "network": network}
    given |= {"optimizer": optimizer, "loss": loss, "task": task}
    for part, description in there.parts:
        if given.get(part) is None:
            raise CheckpointError(
                f"{folder.path}: the run has {part} {description}, which is not one of "
                "ours",
                f"give that object, as {part}=…",
            )
    wanted = there.config.replace(**changes)
    if wanted.steps != there.config.steps and wanted.schedule != "constant":
        raise ConfigError(
            f"steps was {there.config.steps} and cannot become {wanted.steps}: the "
            f"{wanted.schedule} schedule of the steps already taken ends there",
            "begin a new run",
        )
    image = given.pop("task")
    run = make_run(
        found.image if image is None else image,
        wanted,
        **given,
        backend=there.backend,
        out=out,
        device=device,
    )
    options = Options(
        device,
        progress,
        on_progress,
        on_notice,
        save_every_seconds,
        film,
        max_memory_bytes,
        stop,
    )
    carry_out([run], options, overwrite=False)
    return run.result()


@suggests
def fit_many(
    images: Any,
    configs: Any = None,
    *,
    names: Sequence[str] | None = None,
    encoding: Any = None,
    network: Any = None,
    optimizer: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
    device: Device = "auto",
    progress: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = _warn,
    on_done: Callable[[str, Fit], None] = lambda name, fit: None,
    save_every_seconds: float = 30.0,
    film: bool = False,
    max_memory_bytes: int | None = None,
    stop: Callable[[], str] = lambda: "",
) -> FitMany:
    """Fit many images, or one under many configs, many at once.

    Fits of one structure share a compiled program and all devices of a kind; others
    follow one another. Each result is that of a single `fit`, within float32 rounding.
    A fit whose numbers are not finite keeps its last good state, and its failure is a
    DivergedError; the others go on. A fit that has reached its target costs no more
    time. On CPUs `machine.devices_for_cores()`, called before JAX computes anything,
    makes a device of each core, which is the fastest way.

    Args:
        images: what `fit` takes, one for all configs or one each.
        configs: what `fit` takes, one for all images or one each.
        names: of the fits, in messages and as folders; their numbers where left out.
        out: folder in which each fit gets a run's folder of its own name. The same
            call again does what is missing there: it goes on in the middle.
        on_done: given each fit when it has ended, or was found done.
        others: see `fit`.

    Returns:
        A sequence of `Fit`; their seconds are those of all together.

    Raises:
        ConfigError: no image, or numbers of images and configs that do not go together.
        Interrupted: carries the fits so far.
    """
    images = [images] if is_single(images) else list(images)
    if isinstance(configs, Config | str | dict) or configs is None:
        configs = [configs]
    images, configs = paired(images, list(configs))
    names = [str(i) for i in range(len(images))] if names is None else list(names)
    if len(names) != len(images) or len({*names}) < len(names):
        raise ConfigError(
            f"{len(names)} names, {len({*names})} different, do not go with "
            f"{len(images)} fits",
            "give each a name of its own",
        )
    shared: dict[int, Image] = {}
    for image in images:
        if id(image) not in shared and not hasattr(image, "predict"):
            shared[id(image)] = as_image(image)
    parts = {"encoding": encoding, "network": network, "optimizer": optimizer}
    runs = [
        make_run(
            shared.get(id(image), image),
            as_config(config),
            **parts,
            loss=loss,
            name=name,
            out=None if out is None else Path(out) / name,
            device=device,
        )
        for name, image, config in zip(names, images, configs, strict=True)
    ]
    if film and out is None:
        raise ConfigError("a film is kept in a run's folder", "name it with out")
    options = Options(
        device,
        progress,
        on_progress,
        on_notice,
        save_every_seconds,
        film,
        max_memory_bytes,
        stop,
        on_done,
    )
    try:
        for group in grouped(runs, max_memory_bytes):
            carry_out(group, options, overwrite)
    except Interrupted as error:
        error.fits = tuple(run.fit for run in runs if run.fit is not None)
        raise
    return FitMany(runs)
