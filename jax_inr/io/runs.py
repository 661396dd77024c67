"""The run's folder: locked while open, every file in it whole, the summary last.

Imports neither JAX nor torch.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io import atomic, tensorfile, text
from jax_inr.io.atomic import output_errors
from jax_inr.io.images import Picture
from jax_inr.io.reading import reading
from jax_inr.io.tensorfile import Tensors
from jax_inr.io.text import StrPath, shown

# All that a run writes beside checkpoints/ and frames/, and with those all that
# `clear` removes.
# The summary comes first, so that a folder half cleared does not look finished.
_DATA = ("summary.json", "config.json", "metrics.jsonl", "field.safetensors")
_PICTURES = ("reconstruction.png", "comparison.png", "curves.png", "encoding.png")
_FILMS = ("film.webp", "film.mp4")
RUN_FILES = _DATA + _PICTURES + _FILMS
_LOCK = ".jax_inr.lock"


class RunFolder:
    """The folder of one run, locked while open; a context manager that closes it.

    The lock is the kernel's (flock), so a killed run leaves none. What writes raises
    OutputError, and what reads CheckpointError.
    """

    def __init__(self, path: StrPath) -> None:
        """Touches nothing: `create` and `reopen` open run folders."""
        self.path = Path(path).absolute()
        self._checkpoints = self.path / "checkpoints"
        self._frames = self.path / "frames"
        self._picture = self._checkpoints / "picture.safetensors"
        self._metrics = self.path / "metrics.jsonl"
        self._made: list[Path] = []
        self._good: Path | None = None  # the last checkpoint saved or loaded
        self._lock: int | None = None

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
            # Beside the lock there may be what a killed run was about to write.
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
            for temp in run._list_temporary():
                temp.unlink()
            undo.pop_all()
        return run

    def is_empty(self) -> bool:
        """Whether nothing is there but a lock and what a killed run left half made."""
        names = os.listdir(self.path)
        return all(name.startswith(".jax_inr") for name in names)

    def holds_a_run(self) -> bool:
        """Whether there is what a run can go on from, and nothing foreign."""
        names = {n for n in os.listdir(self.path) if not n.startswith(".jax_inr")}
        return self._picture.exists() and names <= {*RUN_FILES, "checkpoints", "frames"}

    def not_empty(self) -> OutputError:
        """The error for a folder in which something else stands."""
        hint = "choose another folder; or --overwrite, or --resume the run there"
        return OutputError(f"{shown(self.path)} is not empty", hint)

    def clear(self) -> None:
        """Remove the files of the run before, and no others.

        These are RUN_FILES and what is in checkpoints/ and frames/.

        A folder half cleared does not look finished.
        """
        self._check_lock()
        before = [*(self.path / name for name in RUN_FILES), self._picture]
        with output_errors(self.path):
            before += [*self._list_checkpoints(), *self.list_frames().values()]
            for path in before + self._list_temporary():
                path.unlink(missing_ok=True)

    def unfinish(self) -> None:
        """Remove the summary: a run that goes on must not look finished if killed."""
        self._check_lock()
        with output_errors(self.path / "summary.json"):
            (self.path / "summary.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Free the lock; folders that `create` made go if nothing was written."""
        with contextlib.suppress(OSError, OutputError):
            self._check_lock()
            (self.path / _LOCK).unlink()
        if self._lock is not None:
            os.close(self._lock)
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
        self.write(name, (text.to_json(value, indent=2) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read the JSON object in one of the run's files."""
        path = self.path / name
        with reading(path) as file:
            data = file.read()
        try:
            value = text.from_json(data)
        except ValueError as error:
            raise CheckpointError(f"{shown(path)} is damaged: {error}") from error
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
        return _with_floats(self.read_json("summary.json"))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl: an object of numbers with an integer "step"."""
        self._check_lock()
        line = (text.to_json(row) + "\n").encode()
        path = self._metrics
        with output_errors(path), open(path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                while line:
                    line = line[file.write(line) :]
            except BaseException:
                # A torn line is forgiven at the end only, and rows may follow.
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the rows of metrics.jsonl but a torn last one; inf and nan as floats."""
        return [_with_floats(row) for _, row in self._read_lines()]

    def truncate_metrics(self, step: int) -> None:
        """Keep the rows of metrics.jsonl up to and with `step`, byte for byte."""
        lines = [line for line, row in self._read_lines() if row["step"] <= step]
        self.write("metrics.jsonl", b"".join(line + b"\n" for line in lines))

    def _read_lines(self) -> list[tuple[bytes, dict[str, Any]]]:
        if not self._metrics.exists():
            return []
        with reading(self._metrics) as file:
            lines = file.read().removesuffix(b"\n").split(b"\n")
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = text.from_json(line)
                if type(row["step"]) is not int:
                    raise ValueError("step is not an integer")
            except (ValueError, LookupError, TypeError) as error:
                if number == len(lines):
                    break
                name = shown(self._metrics)
                raise CheckpointError(f"{name} is damaged at line {number}") from error
            rows.append((line, row))
        return rows

    def save_picture(self, picture: Picture | None, about: dict[str, Any]) -> None:
        """Keep the image that is fitted: resuming needs it, its file may change.

        about: what else the run is made of, for the header.
        """
        self._check_lock()
        header, tensors = {"about": about}, {}
        if picture is not None:
            header |= picture._asdict()
            tensors["image"] = header.pop("image")
        with output_errors(self._checkpoints):
            self._checkpoints.mkdir(exist_ok=True)
        tensorfile.save_tensors(self._picture, "picture", tensors, header)

    def load_picture(self) -> tuple[Picture | None, dict[str, Any]]:
        """Read what `save_picture` kept."""
        tensors, header = tensorfile.load_tensors(self._picture, "picture")
        about = header.pop("about", None)
        if not isinstance(about, dict):
            raise CheckpointError(f"{shown(self._picture)} has the wrong fields")
        if not tensors:
            return None, about
        kinds = {name: type(value) for name, value in {**header, **tensors}.items()}
        fields = dict(image=np.ndarray, path=str, sha256=str, notices=list)
        if kinds != fields or tensors["image"].dtype != np.float32:
            raise CheckpointError(f"{shown(self._picture)} has the wrong fields")
        fields = {**header, **tensors, "notices": tuple(header["notices"])}
        return Picture(**fields), about

    def save_field(self, tensors: Tensors, header: dict) -> None:
        """Save the field file."""
        self._check_lock()
        tensorfile.save_tensors(
            self.path / "field.safetensors", "field", tensors, header
        )

    def save_checkpoint(self, step: int, tensors: Tensors, header: dict) -> None:
        """Save what resuming at `step` needs; keep the last good checkpoint beside it.

        The header gains "step". When saving fails, the checkpoints before stay.
        """
        self._check_lock()
        path = self._checkpoints / f"step_{step:09d}.safetensors"
        with output_errors(path):
            self._checkpoints.mkdir(exist_ok=True)
            # Whatever the power does, the log must not be behind the checkpoint.
            if self._metrics.exists():
                atomic.sync(self._metrics)
            tensorfile.save_tensors(
                path, "checkpoint", tensors, {**header, "step": step}
            )
            atomic.sync(self.path)
            # A step saved again (a resumed run, stopped at once) ages nothing.
            before = self._list_checkpoints() if path != self._good else []
            for old in before:
                if old not in (path, self._good):
                    old.unlink()
        self._good = path

    def load_checkpoint(self) -> tuple[Tensors, dict[str, Any], list[str]] | None:
        """Read (tensors, header, notices) of the newest checkpoint that is good.

        None where none was saved. A notice names each newer one that is not, and why.
        With no good one, the CheckpointError does.
        """
        bad = []
        for path in reversed(self._list_checkpoints()):
            try:
                tensors, header = tensorfile.load_tensors(path, "checkpoint")
            except CheckpointError as error:
                bad.append(str(error))
                continue
            self._good = path
            return tensors, header, [f"{problem}; using {path.name}" for problem in bad]
        if not bad:
            return None
        problems = "; ".join(bad)
        raise CheckpointError(
            f"no good checkpoint in {shown(self.path)}: {problems}",
            "begin again with --overwrite",
        )

    def save_frame(self, step: int, data: bytes) -> None:
        """Keep a frame of the film, a PNG."""
        self._check_lock()
        with output_errors(self._frames):
            self._frames.mkdir(exist_ok=True)
        atomic.write_atomic(self._frames / f"step_{step:09d}.png", data)

    def list_frames(self) -> dict[int, Path]:
        """The film's frames by step, first to last."""
        found = {path.stem[5:]: path for path in self._frames.glob("step_*.png")}
        return {int(step): found[step] for step in sorted(found) if step.isdecimal()}

    def _list_checkpoints(self) -> list[Path]:
        """Paths of the checkpoints, oldest step first."""
        found = self._checkpoints.glob("step_*.safetensors")
        paths = [path for path in found if path.stem[5:].isdecimal()]
        return sorted(paths, key=lambda path: int(path.stem[5:]))

    def _list_temporary(self) -> list[Path]:
        folders = (self.path, self._checkpoints, self._frames)
        return [temp for f in folders for temp in f.glob(atomic.TEMP_PATTERN)]

    def _acquire(self) -> None:
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            reason = f"is locked by pid {shown(pid)}: another run is writing there"
            hint = "wait for it to end, or choose another folder"
            raise OutputError(f"{shown(self.path)} {reason}", hint) from error
        self._lock = lock
        # Whoever closes removes the lock file first and frees the lock then, so a lock
        # counts only if its file is still there.
        self._check_lock()
        # This also shows that the folder can be written to.
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        os.fsync(lock)

    def _check_lock(self) -> None:
        path, lock = self.path / _LOCK, self._lock
        with contextlib.suppress(OSError):
            if lock is not None and os.path.samestat(os.fstat(lock), os.stat(path)):
                return
        hint = "was the folder removed or replaced?"
        raise OutputError(f"{shown(self.path)} is no longer this run's", hint)


def _with_floats(row: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON made of inf and nan."""
    return {k: float(v) if v in ("inf", "-inf", "nan") else v for k, v in row.items()}
