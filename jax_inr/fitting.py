"""fit(): a picture and a config in, a field and its history out."""

import dataclasses
import functools
import hashlib
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

import numpy as np

from jax_inr import cost
from jax_inr.cli.signals import SignalGuard
from jax_inr.config import Config
from jax_inr.draw import film
from jax_inr.errors import (
    CheckpointError,
    ConfigError,
    ImageError,
    Interrupted,
    printable,
)
from jax_inr.io import summaries
from jax_inr.io.images import Picture
from jax_inr.io.runs import RunFolder
from jax_inr.io.text import shown
from jax_inr.loop import Outcome, Position, Progress, Trainer, run, worse_notice
from jax_inr.presets import preset

if TYPE_CHECKING:
    from jax_inr.field import ImageField

# What a resumed run may change: none of it alters a step that was taken.
RESUMABLE_FIELDS = ("steps", "eval_every", "target_psnr", "max_seconds")


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """What `fit` gives."""

    summary: dict[str, Any]  # what summary.json says
    rows: list[dict[str, Any]]  # the evaluations: step, seconds, loss, psnr_db, …
    prediction: np.ndarray  # (h, w, c), the network's own output; 1 is rgb_max
    tensors: dict[str, np.ndarray]  # parameters and constants, by name
    header: dict[str, Any]  # of the field file

    @functools.cached_property
    def field(self) -> "ImageField":
        """The fitted picture as a function; with the torch back end, JAX's twin."""
        from jax_inr.field import ImageField

        return ImageField.from_tensors(self.tensors, self.header)


class How(TypedDict, total=False):
    """How a fit is carried out; none of it changes a number.

    device: "auto", "cpu" or "gpu". on_progress: called after each chunk of steps.
    on_notice: told, in one line, what the user may not expect. save_every_seconds:
    time between checkpoints. film: record film.webp, and film.mp4 where imageio-ffmpeg
    is installed; a resumed run goes on with its film. max_memory_bytes: refuse a fit
    that needs more; left out, what the machine has left.
    """

    device: str
    on_progress: Callable[[Progress], None]
    on_notice: Callable[[str], None]
    save_every_seconds: float
    film: bool
    max_memory_bytes: int | None


def fit(
    image: Picture | np.ndarray,
    config: Config | None = None,
    *,
    backend: str = "jax",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **how: Unpack[How],
) -> Fit:
    """Fit a picture.

    Args:
        image: (h, w, c) floats in [0, 1], or what `load_image` gives.
        config: preset("default") where left out.
        backend: "jax", or "torch" for the reference.
        out: folder for the run's files; nothing is written where left out.
        overwrite: replace the run that `out` holds.
        how: see `How`.

    Raises:
        ImageError: the picture is not (h, w, 1 or 3) floats in [0, 1].
        DivergedError: the loss is not finite; the last good state is saved.
        Interrupted: a signal came (a KeyboardInterrupt); the state is saved.
        OutputError, DeviceError: as their names say.
    """
    config = preset("default") if config is None else config
    picture = checked_picture(image)
    if out is None:
        return _fit(None, picture, config, backend, None, how)
    with RunFolder.create(out, overwrite=overwrite) as folder:
        for notice in folder.notices:
            how.get("on_notice", print)(notice)
        return _fit(folder, picture, config, backend, None, how)


def resume(
    out: str | os.PathLike[str],
    *,
    changes: dict[str, Any] | None = None,
    backend: str | None = None,
    **how: Unpack[How],
) -> Fit:
    """Go on with the run in a folder, bit for bit as if it had not stopped.

    Args:
        out: the run's folder.
        changes: fields of its config to change; RESUMABLE_FIELDS only.
        backend: refuse a run of the other one; left out, whichever it is.
        how: see `How`; notices tell of a damaged checkpoint and the older one used
            instead, and of versions that differ from those that began the run.

    Raises:
        OutputError: the folder holds no run, or another process has it.
        CheckpointError: no checkpoint is good, or it is of another back end.
        ConfigError: a change that would alter steps already taken.
        As `fit`.
    """
    with RunFolder.reopen(out) as folder:
        checkpoint, picture, notices = read_checkpoint(folder)
        if backend not in (None, checkpoint.backend):
            raise CheckpointError(
                f"{shown(folder.path)}: the checkpoint is of the {checkpoint.backend} "
                f"back end and cannot go on with {backend}",
                f"leave --backend out, or begin a new run with {backend}",
            )
        wanted = checkpoint.config.replace(**(changes or {}))
        _check_changes(checkpoint.config, wanted)
        for notice in (*folder.notices, *notices):
            how.get("on_notice", print)(notice)
        return _fit(folder, picture, wanted, checkpoint.backend, checkpoint, how)


class Checkpoint(NamedTuple):
    """What a run goes on from."""

    tensors: dict[str, np.ndarray]
    config: Config
    backend: str
    position: Position


def read_checkpoint(folder: RunFolder) -> tuple[Checkpoint, Picture, list[str]]:
    """The newest good checkpoint of a run, its picture, and notices for the user.

    Raises:
        CheckpointError: none is good, or it is another run's; what differs is named.
    """
    where, found = shown(folder.path), folder.load_checkpoint()
    if found is None:
        raise CheckpointError(
            f"no good checkpoint in {where}: none was saved",
            "begin again with --overwrite",
        )
    (tensors, header, notices), picture = found, folder.load_picture()
    backend, then = header.get("backend"), header.get("versions")
    known = tuple(summaries.PACKAGES)
    if backend not in known:
        raise CheckpointError(
            f"{where}: the checkpoint is of the back end {repr(backend)[:40]}; "
            f"known are {', '.join(known)}"
        )
    if not isinstance(then, dict):
        raise CheckpointError(f"{where}: the checkpoint's versions are damaged")
    try:
        picture, config = (
            checked_picture(picture),
            Config.from_dict(header.get("config")),
        )
    except (ConfigError, ImageError) as error:
        raise CheckpointError(f"{where}: the checkpoint's {error}") from error
    if header.get("picture") != identity(picture):
        raise CheckpointError(
            f"{where}: the picture is not the one the checkpoint was made on"
        )
    now = summaries.versions(backend)
    changed = [
        f"{n} {then[n]} is now {now.get(n)}" for n in then if now.get(n) != then[n]
    ]
    if changed:
        changes = printable(", ".join(changed))
        notices.append(f"not bit for bit the same run: {changes}")
    position = _position(header.get("position"), where)
    return Checkpoint(tensors, config, backend, position), picture, notices


def _position(fields: Any, where: str) -> Position:
    kinds = {field.name: field.type for field in dataclasses.fields(Position)}
    found = fields if isinstance(fields, dict) else {}
    # Written so that nan fails.
    if {k: type(v) for k, v in found.items()} != kinds or not all(
        v >= 0 for v in found.values()
    ):
        raise CheckpointError(f"{where}: the checkpoint's position is damaged")
    return Position(**found)


def _check_changes(config: Config, wanted: Config) -> None:
    for field in dataclasses.fields(Config):
        then, now = getattr(config, field.name), getattr(wanted, field.name)
        if now != then and field.name not in RESUMABLE_FIELDS:
            raise ConfigError(
                f"{field.name} was {then} in this run and cannot become {now}",
                f"a resumed run may change {', '.join(RESUMABLE_FIELDS)}",
            )
    if wanted.steps != config.steps and config.schedule != "constant":
        raise ConfigError(
            f"steps was {config.steps} and cannot become {wanted.steps}: the "
            f"{config.schedule} schedule of the steps already taken ends there",
            "begin a new run",
        )


def _fit(
    folder: RunFolder | None,
    picture: Picture,
    config: Config,
    backend: str,
    checkpoint: Checkpoint | None,
    how: How,
) -> Fit:
    start = time.perf_counter()
    image = picture.image
    height, width, channels = image.shape
    target = image * np.float32(255 / config.rgb_max)
    needed = cost.fit_bytes(config, height, width, channels, backend)
    cost.check(needed, how.get("max_memory_bytes"))
    about = {"config": config.to_dict(), "backend": backend}
    versions = summaries.versions(backend)
    position = Position()
    if how.get("film") and folder is None:
        raise ConfigError("a film is kept in a run's folder", "name it with out")
    films = folder is not None and bool(how.get("film"))
    if folder is not None and checkpoint is not None:
        films = films or bool(folder.list_frames())
    with SignalGuard() as guard, cost.memory_errors():
        trainer = make_trainer(backend, config, target, how.get("device", "auto"))
        if folder is not None and checkpoint is not None:
            try:
                trainer.load_state(checkpoint.tensors)
            except CheckpointError as error:
                raise CheckpointError(
                    f"{shown(folder.path)}: the checkpoint is no state of this fit in "
                    f"the {backend} back end: {error}"
                ) from error
            position = checkpoint.position
            if trainer.step != position.step:
                raise CheckpointError(
                    f"the checkpoint's state is of step {trainer.step}, its position "
                    f"of step {position.step}"
                )
        # Nothing is written before the device and the state are known to be there.
        if folder is not None:
            if checkpoint is None:
                folder.clear()
            folder.unfinish()
            folder.write_json("config.json", config.to_dict())
            if checkpoint is None:
                folder.save_picture(picture)
            folder.truncate_metrics(position.last_row)
        trainer.compile()
        compile_seconds = time.perf_counter() - start

        def save(at: Position) -> None:
            if folder is not None:
                header = {
                    **about,
                    "position": dataclasses.asdict(at),
                    "picture": identity(picture),
                    "versions": versions,
                }
                folder.save_checkpoint(at.step, trainer.state(), header)

        def on_frame(step: int, prediction: np.ndarray) -> None:
            if folder is not None:
                shown = summaries.to_white(prediction, config.rgb_max)
                folder.save_frame(step, film.encode_frame(step, shown, image))

        outcome = run(
            trainer,
            config,
            target,
            guard,
            position=position,
            on_row=folder.append_metrics if folder else lambda row: None,
            on_progress=how.get("on_progress", lambda progress: None),
            on_frame=on_frame if films else None,
            save=save,
            save_every_seconds=how.get("save_every_seconds", 30.0),
        )
        worse = worse_notice(outcome.position)
        if worse and not outcome.interrupted:
            how.get("on_notice", print)(worse)
        tensors, step = trainer.parameters(), outcome.position.step
        size = {"height": height, "width": width}
        header = {**about, **size, "channels": channels, "step": step}
        summary = summarise(
            config,
            picture,
            outcome.prediction,
            tensors,
            backend=backend,
            device=str(trainer.device),
            step=step,
            stopped=outcome.stopped,
            seconds={"compile": compile_seconds, "fit": outcome.position.seconds},
        )
        if folder is not None:
            folder.save_field(tensors, header)
            summaries.write_reconstruction(folder, outcome.prediction, config)
            if not outcome.interrupted:
                summaries.write_figures(
                    folder, outcome.prediction, picture, config, tensors, step
                )
                if films:
                    summaries.write_film(folder, picture, config, step)
        summary["seconds"]["total"] = time.perf_counter() - start
        if folder is not None and not outcome.interrupted:
            folder.write_json("summary.json", summary)
        # Also one that came too late to end the loop: the caller has to know.
        if guard.received:
            raise _interrupted(guard.received, folder, outcome)
    return Fit(summary, outcome.rows, outcome.prediction, tensors, header)


def summarise(
    config: Config,
    picture: Picture,
    prediction: np.ndarray,
    tensors: dict[str, np.ndarray],
    *,
    backend: str,
    device: str,
    step: int,
    stopped: str,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What summary.json says of a fit."""
    height, width, _ = picture.image.shape
    return {
        **summaries.quality(prediction, picture.image, config.rgb_max),
        **summaries.split_quality(prediction, picture.image, config),
        "steps": step,
        **summaries.sizes(tensors, height, width),
        "seconds": seconds,
        "backend": backend,
        "preset": config.preset,
        "device": device,
        "matmul_precision": config.matmul_precision,
        "versions": summaries.versions(backend),
        "seed": config.seed,
        "image": {
            "path": picture.path,
            "sha256": picture.sha256,
            "height": height,
            "width": width,
        },
        "stopped": stopped,
    }


def make_trainer(
    backend: str, config: Config, target: np.ndarray, device: str
) -> Trainer:
    """The trainer of a back end, on a device."""
    if backend == "torch":
        try:
            import torch  # noqa: F401
        except ImportError:
            raise ConfigError(
                "the torch back end needs torch, which is not installed",
                'pip install -e ".[torch]"',
            ) from None
        from torch_ref.training import make_trainer

        return make_trainer(config, target, device=device)
    from jax_inr.trainer import JaxTrainer

    return JaxTrainer(config, target, device)


def _interrupted(
    number: signal.Signals, folder: RunFolder | None, outcome: Outcome
) -> Interrupted:
    kept = ""
    if folder is not None and outcome.interrupted:
        kept = f"; go on with --resume {folder.path}"
    step = outcome.position.step
    return Interrupted(f"stopped by {number.name} after step {step}{kept}", number)


def checked_picture(image: Picture | np.ndarray) -> Picture:
    """A checked picture; arrays are hashed by their values."""
    if not isinstance(image, Picture):
        array = np.ascontiguousarray(image, dtype=np.float32)
        image = Picture(array, "", hashlib.sha256(array.tobytes()).hexdigest(), ())
    array = image.image
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or not array.size:
        raise ImageError(
            f"a picture of shape {array.shape} is not (height, width, 1 or 3)"
        )
    # Written so that NaN fails.
    if not ((array >= 0) & (array <= 1)).all():
        raise ImageError(
            "the picture has values outside [0, 1], or not finite",
            "divide 8-bit values by 255",
        )
    return image


def identity(picture: Picture) -> dict[str, Any]:
    """What tells a run's picture from any other: its pixels, not its file."""
    pixels = np.ascontiguousarray(picture.image)
    return {
        "shape": list(pixels.shape),
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
    }
