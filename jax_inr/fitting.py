"""fit(): a picture and a config in, a field and its history out."""

import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jax_inr import files, reports
from jax_inr.config import Config
from jax_inr.errors import (
    CheckpointError,
    ConfigError,
    ImageError,
    Interrupted,
)
from jax_inr.images import Picture
from jax_inr.loop import Outcome, Position, Progress, Trainer, run
from jax_inr.metrics import bits_per_pixel
from jax_inr.presets import preset
from jax_inr.runs import RunFolder
from jax_inr.signals import SignalGuard

if TYPE_CHECKING:
    from jax_inr.field import ImageField

# What a resumed run may change: none of it alters a step that was taken.
PICTURE = "checkpoints/picture.safetensors"
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


def fit(
    image: Picture | np.ndarray,
    config: Config | None = None,
    *,
    backend: str = "jax",
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    save_every_seconds: float = 30.0,
) -> Fit:
    """Fit a picture.

    Args:
        image: (h, w, c) floats in [0, 1], or what `load_image` gives.
        config: preset("default") where left out.
        backend: "jax", or "torch" for the reference.
        device: "auto", "cpu" or "gpu".
        out: folder for the run's files; nothing is written where left out.
        overwrite: replace the run that `out` holds.
        on_progress: called after each chunk of steps.
        save_every_seconds: time between checkpoints.

    Raises:
        ImageError: the picture is not (h, w, 1 or 3) floats in [0, 1].
        DivergedError: the loss is not finite; the last good state is saved.
        Interrupted: a signal came (a KeyboardInterrupt); the state is saved.
        OutputError, DeviceError: as their names say.
    """
    config = preset("default") if config is None else config
    picture = _picture(image)
    options = (backend, device, on_progress, save_every_seconds)
    if out is None:
        return _fit(None, picture, config, None, *options)
    with RunFolder.create(out, overwrite=overwrite) as folder:
        folder.write_json("config.json", config.to_dict())
        _save_picture(folder, picture)
        return _fit(folder, picture, config, None, *options)


def resume(
    out: str | os.PathLike[str],
    *,
    changes: dict[str, Any] | None = None,
    device: str = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda notice: None,
    save_every_seconds: float = 30.0,
) -> Fit:
    """Go on with the run in a folder, bit for bit as if it had not stopped.

    Args:
        out: the run's folder.
        changes: fields of its config to change; RESUMABLE_FIELDS only.
        device, on_progress, save_every_seconds: as for `fit`.
        on_notice: told of a damaged checkpoint and the older one used instead, and
            of versions that differ from those that began the run.

    Raises:
        OutputError: the folder holds no run, or another process has it.
        CheckpointError: no checkpoint is good.
        ConfigError: a change that would alter steps already taken.
        As `fit`.
    """
    with RunFolder.reopen(out) as folder:
        tensors, header, notices = folder.load_checkpoint()
        picture = _load_picture(folder)
        config = Config.from_dict(header["config"])
        wanted = config.replace(**(changes or {}))
        for field in dataclasses.fields(Config):
            now, then = getattr(wanted, field.name), getattr(config, field.name)
            if now != then and field.name not in RESUMABLE_FIELDS:
                raise ConfigError(
                    f"{field.name} was {then} in this run and cannot become {now}",
                    f"a resumed run may change {', '.join(RESUMABLE_FIELDS)}",
                )
        if header["picture"] != _identity(picture):
            raise CheckpointError(
                f"{folder.path}: the picture is not the one the checkpoint was made on"
            )
        backend = header["backend"]
        now = reports.versions(backend)
        changed = [
            f"{name} {then} is now {now.get(name)}"
            for name, then in header["versions"].items()
            if now.get(name) != then
        ]
        if changed:
            notices.append(f"not bit for bit the same run: {', '.join(changed)}")
        for notice in notices:
            on_notice(notice)
        options = (backend, device, on_progress, save_every_seconds)
        folder.write_json("config.json", wanted.to_dict())
        return _fit(folder, picture, wanted, (tensors, header), *options)


def _fit(
    folder: RunFolder | None,
    picture: Picture,
    config: Config,
    checkpoint: tuple[dict[str, np.ndarray], dict[str, Any]] | None,
    backend: str,
    device: str,
    on_progress: Callable[[Progress], None],
    save_every_seconds: float,
) -> Fit:
    start = time.perf_counter()
    image = picture.image
    height, width, channels = image.shape
    target = image * np.float32(255 / config.rgb_max)
    versions = reports.versions(backend)
    position = Position()
    with SignalGuard() as guard:
        trainer = make_trainer(backend, config, target, device)
        if checkpoint is not None:
            tensors, header = checkpoint
            trainer.load_state(tensors)
            position = Position(**header["position"])
            assert folder is not None
            folder.truncate_metrics(position.last_row)
        trainer.compile()
        compile_seconds = time.perf_counter() - start

        def save(at: Position) -> None:
            if folder is not None:
                header = {
                    "config": config.to_dict(),
                    "backend": backend,
                    "position": dataclasses.asdict(at),
                    "picture": _identity(picture),
                    "versions": versions,
                }
                folder.save_checkpoint(at.step, trainer.state(), header)

        outcome = run(
            trainer,
            config,
            target,
            guard,
            position=position,
            on_row=folder.append_metrics if folder else lambda row: None,
            on_progress=on_progress,
            save=save,
            save_every_seconds=save_every_seconds,
        )
        tensors = trainer.parameters()
        num_params = sum(
            leaf.size for name, leaf in tensors.items() if name.startswith("params/")
        )
        summary = {
            **reports.quality(outcome.prediction, image, config.rgb_max),
            "steps": outcome.position.step,
            "num_params": num_params,
            "bits_per_pixel": bits_per_pixel(num_params, height, width),
            "seconds": {
                "compile": compile_seconds,
                "fit": outcome.position.seconds,
                "total": 0.0,
            },
            "backend": backend,
            "preset": config.preset,
            "device": str(trainer.device),
            "matmul_precision": config.matmul_precision,
            "versions": versions,
            "seed": config.seed,
            "image": {
                "path": picture.path,
                "sha256": picture.sha256,
                "height": height,
                "width": width,
            },
            "stopped": outcome.stopped,
        }
        field_header = {
            "config": config.to_dict(),
            "height": height,
            "width": width,
            "channels": channels,
            "step": outcome.position.step,
            "backend": backend,
        }
        if folder is not None:
            path = folder.path / "field.safetensors"
            files.save_tensors(path, "field", tensors, field_header)
            caption = (
                f"{picture.path or 'picture'} · {config.preset} · "
                f"step {outcome.position.step}"
            )
            reports.write_pictures(
                folder, outcome.prediction, image, config, tensors, caption
            )
        summary["seconds"]["total"] = time.perf_counter() - start
        if outcome.interrupted:
            raise _interrupted(guard, folder, outcome)
        if folder is not None:
            folder.write_json("summary.json", summary)
    return Fit(summary, outcome.rows, outcome.prediction, tensors, field_header)


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
                'pip install "jax-inr[torch]"',
            ) from None
        from torch_ref.training import make_trainer

        return make_trainer(config, target, device=device)
    from jax_inr.training import JaxTrainer

    return JaxTrainer(config, target, device)


def _interrupted(
    guard: SignalGuard, folder: RunFolder | None, outcome: Outcome
) -> Interrupted:
    number = guard.received
    assert number is not None
    kept = f"; go on with --resume {folder.path}" if folder is not None else ""
    step = outcome.position.step
    return Interrupted(f"stopped by {number.name} after step {step}{kept}", number)


def _picture(image: Picture | np.ndarray) -> Picture:
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


def _save_picture(folder: RunFolder, picture: Picture) -> None:
    """Keep the picture as it is fitted, so that resuming needs no other file."""
    about = {"path": picture.path, "sha256": picture.sha256}
    path = folder.path / PICTURE
    path.parent.mkdir(exist_ok=True)
    files.save_tensors(path, "picture", {"image": picture.image}, about)


def _load_picture(folder: RunFolder) -> Picture:
    tensors, about = files.load_tensors(folder.path / PICTURE, "picture")
    return Picture(tensors["image"], about["path"], about["sha256"], ())


def _identity(picture: Picture) -> dict[str, Any]:
    """What tells a run's picture from any other: its pixels, not its file."""
    pixels = np.ascontiguousarray(picture.image)
    return {
        "shape": list(pixels.shape),
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
    }
