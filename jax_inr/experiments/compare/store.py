"""A folder of images to work on, and a folder that keeps what was made of them.

Framework-free.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.errors import CheckpointError, ImageError
from jax_inr.experiments.report import Json, keep
from jax_inr.io.atomic import output_errors, write_atomic
from jax_inr.io.images import Image, encode_png, load_image
from jax_inr.io.reading import read_json
from jax_inr.io.text import shown


def read_images(
    folder: str,
    size: int | tuple[int, int] | None,
    crop: int | None,
    max_pixels: int,
    say: Callable[[str], None],
    out: str | None = None,
) -> list[Image]:
    """The images of a folder's files, in the order of their names.

    What cannot be read, or has no pixel to test on, is said and left out.

    Args:
        crop: side in pixels of the square at the centre to take, or what there is.
        out: where the comparison is written; in that folder its own files are passed
            over.

    Raises:
        ImageError: the folder is none, or holds no image that can be used.
    """
    path = Path(folder)
    try:
        found = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{shown(folder)}: {reason}", "name a folder") from error
    if out is not None and Path(out).resolve() == path.resolve():
        found = [p for p in found if not _is_report(p)]
    images = []
    for file in found:
        try:
            image = load_image(file, size=size, max_pixels=max_pixels)
            image = image._replace(image=_cropped(image.image, crop))
            height, width, _ = image.image.shape
            if min(height, width) < 2:
                raise ImageError(
                    f"{image.path}: {height}x{width} has no odd row and column"
                )
        except ImageError as error:
            say(f"{error}; left out")
            continue
        for text in image.notices:
            say(f"{image.path}: {text}")
        images.append(image)
    if not images:
        raise ImageError(
            f"{shown(folder)}: no image in it can be used", "name another folder"
        )
    return images


def _is_report(path: Path) -> bool:
    """Whether a comparison writes a file of this name; its figure lies in a folder."""
    return path.name.startswith("compare-") and path.suffix in (".md", ".json")


def _cropped(image: np.ndarray, side: int | None) -> np.ndarray:
    if side is None:
        return image
    top, left = (max(length - side, 0) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def by_shape(images: Sequence[Image], say: Callable[[str], None]) -> list[list[Image]]:
    """The images in groups of one shape; says so where there are several."""
    groups: dict[tuple[int, ...], list[Image]] = {}
    for image in images:
        groups.setdefault(image.image.shape, []).append(image)
    names = {shape: "x".join(map(str, shape)) for shape in groups}
    if len(groups) > 1:
        parts = (f"{len(groups[shape])} of {names[shape]}" for shape in groups)
        say(f"images of {len(groups)} shapes, a program each: {', '.join(parts)}")
    for shape in groups:
        if shape[0] % 2 or shape[1] % 2:
            say(
                f"images of {names[shape]} have an odd side: their last row or "
                "column is trained on, and has no neighbour to test"
            )
    return list(groups.values())


class Store:
    """The finished fits of a folder: a JSON and a PNG file for each."""

    def __init__(self, out: str, rows: Iterable[str], overwrite: bool) -> None:
        self.path = Path(out)
        self._overwrite = overwrite
        with output_errors(self.path):
            for row in rows:
                (self.path / "fits" / row).mkdir(parents=True, exist_ok=True)

    def read(self, row: str, image: Image, recipe: Json) -> Any:
        """The record of a fit by this very recipe, or None."""
        path = self._stem(row, image).with_suffix(".json")
        if self._overwrite or not path.exists():
            return None
        try:
            record = read_json(path)
            is_same = record["recipe"] == recipe
            # JSON has infinity as text.
            numbers = {k: float(v) for k, v in record.items() if k.endswith("_db")}
        except (CheckpointError, ValueError, TypeError, LookupError, AttributeError):
            return None
        return {**record, **numbers} if is_same else None

    def write(
        self, row: str, image: Image, record: Any, prediction: np.ndarray
    ) -> None:
        """Keep a fit: the image first, for the record says that all is there."""
        stem = self._stem(row, image)
        write_atomic(stem.with_suffix(".png"), encode_png(prediction))
        keep(stem.with_suffix(".json"), record)

    def prediction(self, row: str, image: Image) -> np.ndarray:
        """The 8-bit image of a fit."""
        return load_image(self._stem(row, image).with_suffix(".png")).image

    def _stem(self, row: str, image: Image) -> Path:
        stem = Path(image.path).stem.encode("ascii", "replace").decode()
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)[:60]
        return self.path / "fits" / row / f"{stem}-{pixels_hash(image)[:8]}"


def pixels_hash(image: Image) -> str:
    """What tells an image, after --size, from any other."""
    pixels = np.ascontiguousarray(image.image)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    return digest.hexdigest()
