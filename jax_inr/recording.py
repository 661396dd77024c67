"""A run's folder as the loop's Recorder: what a fit was made of, and how it goes on.

Framework-free. Fits of equal identity are the same fit; a folder holds one.
"""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from jax_inr.config import Config
from jax_inr.conflicts import RESUMABLE_FIELDS
from jax_inr.draw import film
from jax_inr.errors import CheckpointError, ConfigError, ImageError, OutputError
from jax_inr.io import summaries
from jax_inr.io.images import Image
from jax_inr.io.runs import RunFolder
from jax_inr.io.text import is_other, shown
from jax_inr.lanes import Position, Recorder

# Objects that a caller may give in place of the config's.
PARTS = ("encoding", "network", "optimizer", "loss", "task")

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Identity:
    """The identity of a fit: measurements, config, back end, a caller's own objects."""

    pixels_sha256: str
    config: Config
    backend: str = "jax"
    parts: tuple[tuple[str, str], ...] = ()  # descriptions of a caller's objects

    def difference(self, other: "Identity") -> str:
        """How another identity differs, in words; nothing where a run can go on."""
        if other.backend != self.backend:
            return f"backend is {self.backend} there, and {other.backend} here"
        mine, theirs = dict(self.parts), dict(other.parts)
        for part in PARTS:
            there = mine.get(part, "the config's own")
            here = theirs.get(part, "the config's own")
            if is_other(there, here):
                return f"{part} is {there} there, and {here} here"
        for field in dataclasses.fields(Config):
            then, now = (getattr(i.config, field.name) for i in (self, other))
            if now != then and field.name not in ("preset", *RESUMABLE_FIELDS):
                return f"{field.name} is {then} there, and {now} here"
        steps, asked = self.config.steps, other.config.steps
        if steps != asked and self.config.schedule != "constant":
            return (
                f"steps is {steps} there, where the {self.config.schedule} schedule "
                f"ends, and {asked} here"
            )
        if other.pixels_sha256 != self.pixels_sha256:
            if "task" in mine:
                return "the task has other measurements, operator, loss or penalties"
            return "the image has other pixels"
        return ""

    def ends_like(self, other: "Identity") -> bool:
        """Whether runs of both end by the same rules."""
        rules = ("steps", "target_psnr", "max_seconds")
        return all(
            getattr(self.config, name) == getattr(other.config, name) for name in rules
        )

    def about(self) -> Json:
        """The identity but for the config, for a file's header."""
        return {
            "pixels_sha256": self.pixels_sha256,
            "backend": self.backend,
            "parts": dict(self.parts),
        }


def hash_arrays(*arrays: Any) -> str:
    """A hash of the shapes and bytes of arrays."""
    digest = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Found(NamedTuple):
    """The state of a run in a folder that has not ended, or can go on."""

    identity: Identity
    image: Image | None
    tensors: dict[str, np.ndarray] | None  # None: stopped before its first checkpoint
    position: Position
    notices: list[str]


def find(folder: RunFolder) -> Found:
    """The newest good checkpoint of a run, or its start where none was saved.

    Raises:
        CheckpointError: no file is good, or they are of different runs.
    """
    where = shown(folder.path)
    image, about = folder.load_original()
    checkpoint = folder.load_checkpoint()
    if checkpoint is None:
        header, tensors, notices = {"config": folder.read_json("config.json")}, None, []
        header = {**about, **header}
    else:
        tensors, header, notices = checkpoint
    backend, then = header.get("backend"), header.get("versions", {})
    known = tuple(summaries.PACKAGES)
    if backend not in known:
        raise CheckpointError(
            f"{where}: the checkpoint is of the back end {repr(backend)[:40]}; "
            f"known are {', '.join(known)}"
        )
    if not isinstance(then, dict):
        raise CheckpointError(f"{where}: the checkpoint's versions are damaged")
    try:
        config = Config.from_dict(header.get("config"))
    except ConfigError as error:
        raise CheckpointError(f"{where}: the checkpoint's {error}") from error
    parts = header.get("parts", {})
    if not isinstance(parts, dict):
        raise CheckpointError(f"{where}: the checkpoint's parts are damaged")
    identity = Identity(
        str(header.get("pixels_sha256")), config, backend, tuple(sorted(parts.items()))
    )
    given = folder.given_config()
    if given is not None:
        wanted = dataclasses.replace(identity, config=given)
        if difference := identity.difference(wanted):
            raise ConfigError(
                f"{where}: config.json is not the checkpoint's: {difference}",
                "put it back as it was, or begin a new run",
            )
        # A continuation that saved nothing has left its steps and rules there.
        identity = wanted
    kept = about.get("pixels_sha256")
    # A task's hash is of its measurements, which the caller gives again.
    if image is not None and "task" not in parts:
        kept = hash_arrays(image.image)
    if identity.pixels_sha256 != kept:
        raise CheckpointError(
            f"{where}: the image is not the one the checkpoint was made on"
        )
    now = summaries.versions(backend)
    changed = [
        f"{n} {then[n]} is now {now.get(n)}" for n in then if now.get(n) != then[n]
    ]
    if changed:
        changes = shown(", ".join(changed))
        notices.append(f"not bit for bit the same run: {changes}")
    position = Position()
    if tensors is not None:
        position = _position(header.get("position"), where)
    return Found(identity, image, tensors, position, notices)


def _position(fields: Any, where: str) -> Position:
    kinds = {field.name: field.type for field in dataclasses.fields(Position)}
    found = fields if isinstance(fields, dict) else {}
    # NaN fails: comparisons with it are false.
    if {k: type(v) for k, v in found.items()} != kinds or not all(
        v >= 0 for v in found.values()
    ):
        raise CheckpointError(f"{where}: the checkpoint's position is damaged")
    return Position(**found)


def finished(folder: RunFolder) -> Identity | None:
    """The identity of the run that ended in a folder; None where none has."""
    if not folder.finished():
        return None
    summary = folder.read_summary()
    image, backend = summary.get("image"), summary.get("backend")
    parts = summary.get("parts", {})
    if not isinstance(image, dict) or not isinstance(parts, dict):
        return None
    try:
        config = Config.from_dict(folder.read_json("config.json"))
    except (ConfigError, CheckpointError):
        return None
    pixels = str(image.get("pixels_sha256"))
    return Identity(pixels, config, str(backend), tuple(sorted(parts.items())))


class RunRecorder(Recorder):
    """A recorder that writes evaluations, frames and checkpoints into a folder."""

    def __init__(
        self,
        folder: RunFolder,
        identity: Identity,
        image: Image | None,
        films: bool = False,
    ) -> None:
        self.folder, self.identity, self.image = folder, identity, image
        self.films = films

    def begin(self, found: Found | None) -> None:
        """Write the files of a new run, or cut the log back to the checkpoint."""
        folder = self.folder
        if found is None:
            folder.clear()
        folder.unfinish()
        # The config comes last: a run that was killed before begins again.
        if found is None:
            folder.save_original(self.image, self.identity.about())
        folder.write_json("config.json", self.identity.config.to_dict())
        folder.truncate_metrics(found.position.last_row if found else 0)

    def next_frame(self, step: int) -> float:
        return film.next_frame(step) if self.films else float("inf")

    def row(self, row: Json) -> None:
        self.folder.append_metrics(row)

    def frame(self, step: int, prediction: np.ndarray) -> None:
        assert self.image is not None
        drawn = summaries.to_image(prediction, self.identity.config.rgb_max)
        self.folder.save_frame(step, film.encode_frame(step, drawn, self.image.image))

    def save(self, position: Position, state: dict[str, np.ndarray]) -> None:
        header = {
            **self.identity.about(),
            "config": self.identity.config.to_dict(),
            "position": dataclasses.asdict(position),
            "versions": summaries.versions(self.identity.backend),
        }
        self.folder.save_checkpoint(position.step, state, header)


def refuse_other(folder: RunFolder, difference: str) -> OutputError:
    """The error for a folder that holds another run."""
    return OutputError(
        f"{shown(folder.path)} holds another run: {difference}",
        "choose another folder, or overwrite=True",
    )


def checked_pixels(image: np.ndarray) -> None:
    """Refuse an array that is no image.

    Raises:
        ImageError: it is not (height, width, 1 or 3) floats in [0, 1].
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or not image.size:
        raise ImageError(
            f"an image of shape {image.shape} is not (height, width, 1 or 3)"
        )
    # NaN fails: comparisons with it are false.
    if not ((image >= 0) & (image <= 1)).all():
        raise ImageError(
            "the image has values outside [0, 1], or not finite",
            "divide 8-bit values by 255",
        )
