"""Sources of images for a set: folders, arrays in files, arrays, iterables.

Imports no JAX.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jax_inr.errors import CheckpointError, ConfigError, DeviceError, ImageError
from jax_inr.io.formats import SUFFIXES
from jax_inr.io.reading import reading
from jax_inr.io.text import shown

ARRAYS = (".npy", ".npz")
# Names under which an .npz holds its images, and its labels.
IMAGES, LABELS = ("images", "x", "x_train", "data", "arr_0"), ("labels", "y", "y_train")


@dataclasses.dataclass(frozen=True)
class Entry:
    """An image of a source, in any form that `fit` takes; its name and label."""

    image: Any
    name: str = ""
    label: int | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """Images in order. count: how many; None where only the end will tell.

    get: entry i, where any can be had without those before it.
    entries: all in order, where not. classes: the labels' names, of folders in a
    folder.
    """

    count: int | None
    get: Callable[[int], Entry] | None = None
    entries: Iterable[Entry] | None = None
    classes: tuple[str, ...] = ()
    # All names, and all labels or None, where they are known before the images.
    names: Callable[[], list[str]] | None = None
    labels: Any = None

    def __iter__(self) -> Iterator[Entry]:
        if self.get is not None and self.count is not None:
            return map(self.get, range(self.count))
        assert self.entries is not None
        return iter(self.entries)

    def names_and_labels(self) -> tuple[list[str], list[int] | None]:
        """All names and labels of a source with a known end."""
        assert self.count is not None
        names = self.names() if self.names else [str(i) for i in range(self.count)]
        labels = None if self.labels is None else [int(x) for x in self.labels]
        return names, labels

    def part(self, start: int, stop: int) -> "Source":
        """Entries start to stop, of a source that can be had in parts."""
        assert self.get is not None
        get = self.get
        return dataclasses.replace(
            self, count=stop - start, get=lambda i: get(start + i)
        )


def sourced(images: Any, labels: Any = None) -> Source:
    """The source of images in any form; see `fit_stream`.

    Raises:
        ConfigError: labels of another number than the images.
        ImageError: there is no image.
    """
    if isinstance(images, Source):
        return images
    if isinstance(images, str | os.PathLike):
        return _of_path(Path(images).expanduser(), labels)
    if isinstance(images, np.ndarray):
        return _of_array(images, labels)
    if hasattr(images, "__len__") and hasattr(images, "__getitem__"):
        labels = _checked_labels(labels, len(images))
        return Source(
            len(images),
            lambda i: Entry(images[i], _name(images[i], i), _label(labels, i)),
            names=lambda: [_name(x, i) for i, x in enumerate(images)],
            labels=labels,
        )
    stream = iter(images)
    if labels is None:
        return Source(
            None, entries=(Entry(x, _name(x, i)) for i, x in enumerate(stream))
        )
    pairs = zip(itertools.count(), stream, labels, strict=False)
    return Source(
        None,
        entries=(Entry(x, _name(x, i), int(label)) for i, x, label in pairs),
    )


def _name(image: Any, index: int) -> str:
    return shown(image) if isinstance(image, str | os.PathLike) else str(index)


def _label(labels: Any, index: int) -> int | None:
    return None if labels is None else int(labels[index])


def _checked_labels(labels: Any, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        labels = _read_array(Path(labels).expanduser(), LABELS)
    labels = np.asarray(labels).reshape(-1)
    if len(labels) != count:
        raise ConfigError(
            f"{len(labels)} labels do not go with {count} images",
            "give one label for each image, in the images' order",
        )
    if labels.dtype.kind not in "iub":
        raise ConfigError(
            f"the labels are {labels.dtype}; they must be whole numbers",
            "number the classes from 0",
        )
    return labels.astype(np.int64)


def _of_array(images: np.ndarray, labels: Any, name: str = "the images") -> Source:
    if images.ndim == 3 and images.shape[-1] not in (1, 3):
        images = images[..., None]  # n grey images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ImageError(
            f"{name} have shape {images.shape}, not (n, height, width, 1 or 3)",
            "put channels last",
        )
    if images.dtype.kind not in "biuf":
        raise ImageError(
            f"{name} are {images.dtype}; they must be numbers", "save them as uint8"
        )
    labels = _checked_labels(labels, len(images))
    return Source(
        len(images),
        lambda i: Entry(np.asarray(images[i]), str(i), _label(labels, i)),
        labels=labels,
    )


def _of_path(path: Path, labels: Any) -> Source:
    if path.is_dir():
        return _of_folder(path, labels)
    if path.suffix.lower() not in ARRAYS:
        raise ImageError(
            f"{shown(path)} is neither a folder nor an .npy or .npz file",
            "check the path",
        )
    if path.suffix.lower() == ".npz" and labels is None:
        labels = _labels_inside(path)
    images = _read_array(path, IMAGES)
    return _of_array(images, labels, f"{shown(path)}: the images")


def _read_array(path: Path, names: tuple[str, ...]) -> np.ndarray:
    """The array of a file; an .npy is mapped, not read. Never a pickle."""
    if path.suffix.lower() == ".npy":
        with _reading(path):
            # numpy opens it anew: it maps no file but by its name.
            return np.load(path, mmap_mode="r", allow_pickle=False)
    with _reading(path) as file, np.load(file, allow_pickle=False) as found:
        there = [name for name in names if name in found.files]
        if there or len(found.files) == 1:
            return _member(found, (there or found.files)[0])
    raise ImageError(
        f"{shown(path)} holds {', '.join(found.files[:8]) or 'nothing'}, and none of "
        f"{', '.join(names)}",
        f"name the array {names[0]}",
    )


def _labels_inside(path: Path) -> np.ndarray | None:
    with _reading(path) as file, np.load(file, allow_pickle=False) as found:
        there = [name for name in LABELS if name in found.files]
        return _member(found, there[0]) if there else None


def _member(found: Any, name: str) -> np.ndarray:
    array = found[name]
    # numpy gives the bytes of what is no array.
    if not isinstance(array, np.ndarray):
        raise ValueError("no array")
    return array


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """Turns what reading a file's arrays raises into an ImageError that names it."""
    try:
        with reading(path) as file:
            try:
                yield file
            except OSError as error:
                if error.errno is not None:
                    raise
                raise _damaged(path) from error
            except MemoryError as error:
                raise DeviceError(
                    f"{shown(path)}: out of memory", "use an .npy, which is mapped"
                ) from error
            # Of hostile bytes numpy, zipfile and Python's own parser raise most kinds,
            # whose words advise to trust the file.
            except Exception as error:
                raise _damaged(path) from error
    except CheckpointError as error:
        raise ImageError(str(error), "check it") from error


def _damaged(path: Path) -> ImageError:
    kind = path.suffix.lower()
    return ImageError(
        f"{shown(path)} is damaged, or no {kind} file of numbers", "save it anew"
    )


def _of_folder(path: Path, labels: Any) -> Source:
    """Images in a folder; in folders of it, whose names are then the classes."""
    inside = [
        file.relative_to(path)
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file()
    ]
    if not inside:
        raise ImageError(f"{shown(path)} holds no image", f"as {', '.join(SUFFIXES)}")
    classes: tuple[str, ...] = ()
    if labels is None and all(len(file.parts) > 1 for file in inside):
        classes = tuple(sorted({file.parts[0] for file in inside}))
        labels = np.array([classes.index(file.parts[0]) for file in inside])
    labels = _checked_labels(labels, len(inside))
    return Source(
        len(inside),
        lambda i: Entry(path / inside[i], inside[i].as_posix(), _label(labels, i)),
        classes=classes,
        names=lambda: [file.as_posix() for file in inside],
        labels=labels,
    )
