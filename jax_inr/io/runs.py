"""The run's folder: locked while open, every file in it whole, the summary last.

Imports neither JAX nor torch.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError, OutputError
from jax_inr.io import atomic
from jax_inr.io.atomic import output_errors
from jax_inr.io.checkpoints import Checkpoints
from jax_inr.io.images import Image
from jax_inr.io.lock import FolderLock
from jax_inr.io.log import MetricsLog, with_floats
from jax_inr.io.original import load_original, save_original
from jax_inr.io.reading import read_json, refuse_link
from jax_inr.io.tensorfile import (
    Tensors,
    save_tensors,
)
from jax_inr.io.text import StrPath, shown, to_json

# All that a run writes beside checkpoints/ and frames/, and with those all that
# `clear` removes.
# The summary comes first, so that a folder half cleared does not look finished.
_DATA = ("summary.json", "config.json", "metrics.jsonl", "field.safetensors")
_IMAGES = ("reconstruction.png", "comparison.png", "curves.png", "encoding.png")
_FILMS = ("film.webp", "film.mp4")
RUN_FILES = _DATA + _IMAGES + _FILMS


class RunFolder:
    """The folder of one run, locked while open; a context manager that closes it.

    The folder may be a stranger's: no link in it is followed. What writes raises
    OutputError, and what reads CheckpointError. `notices` is for the user.
    """

    def __init__(self, path: StrPath) -> None:
        """Touches nothing: `create` and `reopen` open run folders."""
        self.path = Path(os.path.expanduser(path)).absolute()
        self.notices: list[str] = []
        self._checkpoints = Checkpoints(self.path / "checkpoints")
        self._frames = self.path / "frames"
        self._original = self._checkpoints.path / "picture.safetensors"
        self._log = MetricsLog(self.path / "metrics.jsonl")
        self._made: list[Path] = []
        self._lock: FolderLock | None = None

    @classmethod
    def create(cls, path: StrPath, *, overwrite: bool = False) -> "RunFolder":
        """Make (with parents) and lock the folder of a new run.

        A folder with anything in it is refused, unless `overwrite`: then `clear` is to
        remove the run before, once nothing else stands in the way of the new one.
        """
        run = cls(path)
        with contextlib.ExitStack() as undo, output_errors(run.path):
            undo.callback(run.close)
            parents = (run.path, *run.path.parents)
            run._made = [folder for folder in parents if not folder.exists()]
            run.path.mkdir(parents=True, exist_ok=True)
            run._acquire()
            run._remove_temporary()
            names = [n for n in os.listdir(run.path) if not n.startswith(".jax_inr")]
            if names and not overwrite:
                raise run.not_empty()
            undo.pop_all()
        return run

    @classmethod
    def reopen(cls, path: StrPath) -> "RunFolder":
        """Lock the folder of an earlier run and remove what a kill left half made."""
        run = cls(path)
        with contextlib.ExitStack() as undo, output_errors(run.path):
            undo.callback(run.close)
            run._acquire()
            if not {"checkpoints", *RUN_FILES}.intersection(os.listdir(run.path)):
                raise OutputError(f"{shown(run.path)} holds no run", "check the path")
            run._remove_temporary()
            undo.pop_all()
        return run

    def is_empty(self) -> bool:
        """Whether nothing is there but a lock and what a run killed early left.

        That is what it was about to write, and the image without a config.
        """
        names = {n for n in os.listdir(self.path) if not n.startswith(".jax_inr")}
        if names != {"checkpoints"}:
            return not names
        kept = {path.name for path in self._checkpoints.path.iterdir()}
        return all(n.startswith(".jax_inr") for n in kept - {self._original.name})

    def holds_a_run(self) -> bool:
        """Whether there is what a run can go on from, and nothing foreign."""
        names = {n for n in os.listdir(self.path) if not n.startswith(".jax_inr")}
        return self._original.exists() and names <= {
            *RUN_FILES,
            "checkpoints",
            "frames",
        }

    def not_empty(self) -> OutputError:
        """The error for a folder in which something else stands."""
        hint = "choose another folder; or overwrite=True, or resume the run there"
        return OutputError(f"{shown(self.path)} is not empty", hint)

    def given_config(self) -> Config | None:
        """The config in config.json; None where the file is absent or damaged."""
        try:
            return Config.from_dict(self.read_json("config.json"))
        except (CheckpointError, ConfigError):
            return None

    def clear(self) -> None:
        """Remove the files of the run before, and no others.

        These are RUN_FILES and what is in checkpoints/ and frames/.

        A folder half cleared does not look finished.
        """
        self._check_lock()
        before = [*(self.path / name for name in RUN_FILES), self._original]
        before += [*self._checkpoints.paths(), *self.list_frames().values()]
        for path in before + self._list_temporary():
            with output_errors(path):
                path.unlink(missing_ok=True)

    def unfinish(self) -> None:
        """Remove the summary: a run that goes on must not look finished if killed."""
        self._check_lock()
        with output_errors(self.path / "summary.json"):
            (self.path / "summary.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Free the lock; folders that `create` made go if nothing was written."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, name: str, data: bytes) -> None:
        """Write one of RUN_FILES atomically."""
        if name not in RUN_FILES:
            raise ValueError(f"{name!r} is not in RUN_FILES")
        self._check_lock()
        atomic.write_atomic(self.path / name, data)

    def write_json(self, name: str, value: Any) -> None:
        """Write one of RUN_FILES as `to_json` does: inf and nan become strings."""
        self.write(name, (to_json(value, indent=2) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read the JSON object in one of the run's files."""
        path = self.path / name
        value = read_json(path, follow=False)
        if not isinstance(value, dict):
            raise CheckpointError(f"{shown(path)} is damaged: not a JSON object")
        return value

    def finished(self) -> bool:
        """Whether the summary, which is written last, is there and valid."""
        try:
            return bool(self.read_json("summary.json"))
        except CheckpointError:
            return False

    def read_summary(self) -> dict[str, Any]:
        """Read summary.json; inf and nan as floats."""
        return with_floats(self.read_json("summary.json"))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl: an object of numbers with an integer "step"."""
        self._check_lock()
        self._log.append(row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the rows of metrics.jsonl but a torn last one; inf and nan as floats."""
        return self._log.rows()

    def truncate_metrics(self, step: int) -> None:
        """Keep the rows of metrics.jsonl up to and with `step`, byte for byte."""
        self._check_lock()
        self._log.truncate(step)

    def save_original(self, image: Image | None, about: dict[str, Any]) -> None:
        """Keep the image that is fitted: resuming needs it, its file may change.

        about: what else the run is made of, for the header.
        """
        self._check_lock()
        self._make(self._checkpoints.path)
        save_original(self._original, image, about)

    def load_original(self) -> tuple[Image | None, dict[str, Any]]:
        """Read what `save_original` kept."""
        refuse_link(self._checkpoints.path, CheckpointError)
        return load_original(self._original)

    def save_field(self, tensors: Tensors, header: dict) -> None:
        """Save the field file."""
        self._check_lock()
        path = self.path / "field.safetensors"
        save_tensors(path, "field", tensors, header)

    def save_checkpoint(self, step: int, tensors: Tensors, header: dict) -> None:
        """Save what resuming at `step` needs; keep the last good checkpoint beside it.

        The header gains "step". When saving fails, the checkpoints before stay.
        """
        self._check_lock()
        self._make(self._checkpoints.path)
        self._checkpoints.save(step, tensors, header, log=self._log.path)

    def load_checkpoint(self) -> tuple[Tensors, dict[str, Any], list[str]] | None:
        """Read (tensors, header, notices) of the newest checkpoint that is good.

        None where none was saved: the run has taken no step that is kept. A notice
        names the newer ones that are not good, and why. With no good one, the
        CheckpointError does.
        """
        return self._checkpoints.load()

    def save_frame(self, step: int, data: bytes) -> None:
        """Keep a frame of the film, a PNG."""
        self._check_lock()
        self._make(self._frames)
        path = self._frames / f"step_{step:09d}.png"
        atomic.write_atomic(path, data)

    def list_frames(self) -> dict[int, Path]:
        """The film's frames by step, first to last."""
        refuse_link(self._frames, OutputError)
        found = {path.stem[5:]: path for path in self._frames.glob("step_*.png")}
        return {int(step): found[step] for step in sorted(found) if step.isdecimal()}

    def _list_temporary(self) -> list[Path]:
        folders = (self.path, self._checkpoints.path, self._frames)
        found = [temp for f in folders for temp in f.glob(atomic.TEMP_PATTERN)]
        # A folder of this name is nobody's temporary file.
        return [temp for temp in found if temp.is_symlink() or not temp.is_dir()]

    def _remove_temporary(self) -> None:
        """Remove what a killed run was about to write."""
        for temp in self._list_temporary():
            with output_errors(temp):
                temp.unlink()

    def _acquire(self) -> None:
        folders = (self._checkpoints.path, self._frames)
        for path in (*(self.path / name for name in RUN_FILES), *folders):
            refuse_link(path, OutputError)
        kept = (
            self._original,
            *self._checkpoints.paths(),
            *self.list_frames().values(),
        )
        for path in kept:
            refuse_link(path, OutputError)
        self._lock = FolderLock(self.path)
        self.notices += filter(None, [self._lock.notice])

    def _make(self, folder: Path) -> None:
        refuse_link(folder, OutputError)
        with output_errors(folder):
            folder.mkdir(exist_ok=True)

    def _check_lock(self) -> None:
        if self._lock is None:
            raise OutputError(f"{shown(self.path)} is closed", "open the run again")
        self._lock.check()
