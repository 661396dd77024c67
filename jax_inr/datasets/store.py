"""The store of a set of fields: a Zarr v3 group, written chunk by chunk.

A chunk belongs to one writer. Its last array is `status`: a chunk without it is not
there, so that a writer that dies leaves nothing half done. Needs zarr and numpy alone.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import extras
from jax_inr.datasets.layout import Layout
from jax_inr.errors import CheckpointError, ConfigError, OutputError
from jax_inr.io.text import StrPath, shown

FORMAT = 1
MISSING, STEPS, TARGET, DIVERGED = range(4)
STATUS = {"steps": STEPS, "target_psnr": TARGET, "diverged": DIVERGED}
SPLITS = ("train", "val", "test")
# Arrays of a row for each field beside `params`: dtype and shape of an entry. `status`
# is written last.
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "psnr_db": ("float32", ()),
    "steps": ("int32", ()),
    "seed": ("uint32", ()),
    "size": ("int32", (2,)),
    "image_sha256": ("uint8", (32,)),
    "params_sha256": ("uint8", (32,)),
    "status": ("uint8", ()),
}
# What tells a set from another: all of it has to agree for a second run to go on.
IDENTITY = ("config", "init", "start_sha256", "source_sha256", "count", "dtype")
IDENTITY += ("chunk", "splits", "layout")


def zarr() -> Any:
    """The zarr module; ConfigError where it is not installed."""
    return extras.load("zarr", "sets of fields are stored by zarr", "sets")


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is known of a set before its first field."""

    about: dict[str, Any]  # JSON: IDENTITY, the format, versions, classes
    constants: Mapping[str, np.ndarray]
    names: Sequence[str]
    labels: np.ndarray | None  # (n,)
    split: np.ndarray  # (n,) of indices of SPLITS


class Store:
    """An open store; `read_only` ones write nothing."""

    def __init__(self, path: StrPath, *, read_only: bool = False) -> None:
        self.path = Path(path).expanduser()
        if not (self.path / "zarr.json").is_file():
            raise CheckpointError(f"{shown(self.path)} is no set of fields")
        library, mode = zarr(), "r" if read_only else "r+"
        try:
            _check_files(self.path)
            self.group = library.open_group(self.path, mode=mode, zarr_format=3)
            self.about: dict[str, Any] = dict(self.group.attrs)["jax_inr"]
            version = self.about["format"]
        except (LookupError, ValueError, TypeError, OSError) as error:
            reason = shown(f"{type(error).__name__}: {error}", 200)
            raise CheckpointError(
                f"{shown(self.path)} is no set of fields, or damaged ({reason})"
            ) from error
        if version != FORMAT:
            raise CheckpointError(
                f"{shown(self.path)} is a set of format {version}, and this version "
                f"reads format {FORMAT}",
                "upgrade jax_inr, or take another --out",
            )
        self.layout = Layout.from_json(self.about["layout"])
        self.count, self.chunk = self.about["count"], self.about["chunk"]

    @classmethod
    def create(cls, path: StrPath, meta: Meta) -> "Store":
        """A new store, or the one that is there if it is of the same set.

        It appears whole: it is made beside its place and renamed.

        Raises:
            OutputError: something else is there; nothing is overwritten.
        """
        path = Path(path).expanduser()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            store = cls(path)
            store.check_same(meta.about)
            return store
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            cls._write_new(beside, meta)
            os.rename(beside, path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {shown(path)}: {reason}") from error
        return cls(path)

    @classmethod
    def _write_new(cls, path: Path, meta: Meta) -> None:
        count, chunk = meta.about["count"], meta.about["chunk"]
        size = Layout.from_json(meta.about["layout"]).size
        group = zarr().create_group(
            path,
            overwrite=True,
            zarr_format=3,
            attributes={"jax_inr": {"format": FORMAT, **meta.about}},
        )

        def array(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
            # Not compressed: weights do not shrink, and numpy can map a chunk's file.
            return group.create_array(
                name,
                shape=(count, *shape),
                chunks=(chunk, *shape),
                dtype=dtype,
                fill_value=0,
                compressors=None,
            )

        array("params", meta.about["dtype"], (size,))
        for name, (dtype, shape) in COLUMNS.items():
            array(name, dtype, shape)
        array("split", "uint8", ())[:] = meta.split
        if meta.labels is not None:
            array("label", "int64", ())[:] = meta.labels
        coded = [name.encode()[:1024] for name in meta.names]
        width = max(map(len, coded), default=1) or 1
        table = np.frombuffer(
            b"".join(name.ljust(width, b"\0") for name in coded), np.uint8
        )
        array("name", "uint8", (width,))[:] = table.reshape(count, width)
        constants = group.create_group("constants")
        for name, value in meta.constants.items():
            value = np.asarray(value)
            constants.create_array(name.replace("/", "."), data=value, compressors=None)

    def check_same(self, about: Mapping[str, Any]) -> None:
        """Refuse to go on with a set of something else.

        Raises:
            OutputError: names what differs; nothing was written.
        """
        for name in IDENTITY:
            there, wanted = self.about.get(name), about[name]
            if there == wanted:
                continue
            if isinstance(there, dict) and isinstance(wanted, dict):
                keys = [k for k in {**there, **wanted} if there.get(k) != wanted.get(k)]
                name = f"{name}'s {keys[0]}"
                there, wanted = there.get(keys[0]), wanted.get(keys[0])
            raise OutputError(
                f"{shown(self.path)} is another set: its {name} is "
                f"{shown(str(there), 80)}, not {shown(str(wanted), 80)}",
                "take another --out, or remove that set yourself",
            )

    @property
    def num_chunks(self) -> int:
        """Chunks of the whole set."""
        return -(-self.count // self.chunk)

    def rows(self, chunk: int) -> slice:
        """The fields of a chunk."""
        start = chunk * self.chunk
        return slice(start, min(start + self.chunk, self.count))

    def missing(self) -> list[int]:
        """The chunks that are not there, in order."""
        status = self.group["status"][:]
        return [c for c in range(self.num_chunks) if not status[self.rows(c)].all()]

    def write(self, chunk: int, params: np.ndarray, columns: dict[str, Any]) -> None:
        """Write the fields of a chunk.

        Raises:
            OutputError: it cannot be written; the chunk is not there then.
        """
        rows = self.rows(chunk)
        params = np.ascontiguousarray(params, self.about["dtype"])
        columns = {**columns, "params_sha256": np.stack([digest(p) for p in params])}
        try:
            self.group["params"][rows] = params
            for name, (dtype, _) in COLUMNS.items():
                self.group[name][rows] = np.asarray(columns[name], dtype)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {shown(self.path)}: {reason}") from error

    def finish(self) -> None:
        """Add the means and deviations over all fields, once all are there."""
        size = self.layout.size
        total, squares, count = np.zeros(size), np.zeros(size), 0
        for chunk in range(self.num_chunks):
            rows = self.rows(chunk)
            sound = self.group["status"][rows] != DIVERGED
            params = self.group["params"][rows][sound].astype(np.float64)
            total += params.sum(0)
            squares += (params**2).sum(0)
            count += len(params)
        mean, square = total / max(count, 1), squares / max(count, 1)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        for name, value in (("mean", mean), ("deviation", deviation)):
            data = value.astype(np.float32)
            self.group.create_array(name, data=data, overwrite=True, compressors=None)
        self.about["statistics"] = self.layout.statistics(mean, square)
        self.group.attrs["jax_inr"] = self.about


def _check_files(folder: Path) -> None:
    """Raise a CheckpointError unless all in a set's folder are files and folders.

    The set may be a stranger's: zarr would follow its links and wait for its FIFOs.
    """
    pending = [os.fspath(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                # A file that another writer has renamed meanwhile is no more.
                elif not entry.is_file(follow_symlinks=False) and os.path.lexists(
                    entry.path
                ):
                    problem = "is a link or no regular file"
                    raise CheckpointError(
                        f"{shown(entry.path)} {problem}", "remove it from the set"
                    )


def digest(array: np.ndarray) -> np.ndarray:
    """The sha256 of an array's bytes, (32,) uint8."""
    data = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
    return np.frombuffer(data, np.uint8)


def splits_of(count: int, shares: Sequence[float], seed: int = 0) -> np.ndarray:
    """The split of each field, drawn; shares: of SPLITS, that sum to 1.

    Raises:
        ConfigError: they do not.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"the split is {list(shares)}; it must be the shares of "
            f"{', '.join(SPLITS)}, which sum to 1"
        )
    ends = np.round(np.cumsum(shares) * count).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    split = np.zeros(count, np.uint8)
    for index, (start, end) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
        split[order[start:end]] = index
    return split
