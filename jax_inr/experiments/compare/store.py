"""A folder of pictures to work on, and a folder that keeps what was made of them.

Framework-free.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr.errors import CheckpointError, ImageError
from jax_inr.io.atomic import output_errors, write_atomic
from jax_inr.io.images import Picture, encode_png, load_image
from jax_inr.io.reading import read_json
from jax_inr.io.text import shown, to_json


def read_pictures(
    folder: str,
    size: int | tuple[int, int] | None,
    crop: int | None,
    max_pixels: int,
    say: Callable[[str], None],
) -> list[Picture]:
    """The pictures of a folder's files, in the order of their names.

    `crop` takes the square of so many pixels at the centre, or what there is of it.
    What cannot be read, or has no pixel to test on, is said and left out.

    Raises:
        ImageError: the folder is none, or holds no picture that can be used.
    """
    path = Path(folder)
    try:
        found = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{shown(folder)}: {reason}", "name a folder") from error
    pictures = []
    for file in found:
        try:
            picture = load_image(file, size=size, max_pixels=max_pixels)
            picture = picture._replace(image=_cropped(picture.image, crop))
            height, width, _ = picture.image.shape
            if min(height, width) < 2:
                raise ImageError(
                    f"{picture.path}: {height}x{width} has no odd row and column"
                )
        except ImageError as error:
            say(f"{error}; left out")
            continue
        for text in picture.notices:
            say(f"{picture.path}: {text}")
        pictures.append(picture)
    if not pictures:
        raise ImageError(
            f"{shown(folder)}: no picture in it can be used", "name another folder"
        )
    return pictures


def _cropped(image: np.ndarray, side: int | None) -> np.ndarray:
    if side is None:
        return image
    top, left = (max(length - side, 0) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def by_shape(
    pictures: Sequence[Picture], say: Callable[[str], None]
) -> list[list[Picture]]:
    """The pictures in groups of one shape; says so where there are several."""
    groups: dict[tuple[int, ...], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.image.shape, []).append(picture)
    names = {shape: "x".join(map(str, shape)) for shape in groups}
    if len(groups) > 1:
        parts = (f"{len(groups[shape])} of {names[shape]}" for shape in groups)
        say(f"pictures of {len(groups)} shapes, a program each: {', '.join(parts)}")
    for shape in groups:
        if shape[0] % 2 or shape[1] % 2:
            say(
                f"pictures of {names[shape]} have an odd side: their last row or "
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

    def read(self, row: str, picture: Picture, recipe: dict[str, Any]) -> Any:
        """The record of a fit by this very recipe, or None."""
        path = self._stem(row, picture).with_suffix(".json")
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
        self, row: str, picture: Picture, record: Any, prediction: np.ndarray
    ) -> None:
        """Keep a fit: the picture first, for the record says that all is there."""
        stem = self._stem(row, picture)
        write_atomic(stem.with_suffix(".png"), encode_png(prediction))
        write_atomic(
            stem.with_suffix(".json"), (to_json(record, indent=1) + "\n").encode()
        )

    def prediction(self, row: str, picture: Picture) -> np.ndarray:
        """The 8-bit picture of a fit."""
        return load_image(self._stem(row, picture).with_suffix(".png")).image

    def _stem(self, row: str, picture: Picture) -> Path:
        stem = Path(picture.path).stem.encode("ascii", "replace").decode()
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)[:60]
        return self.path / "fits" / row / f"{stem}-{pixels_hash(picture)[:8]}"


def pixels_hash(picture: Picture) -> str:
    """What tells a picture, after --size, from any other."""
    image = np.ascontiguousarray(picture.image)
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes())
    return digest.hexdigest()
