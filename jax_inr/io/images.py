"""Images from files and to files: float32 (h, w, c) in [0, 1], encoded as sRGB."""

import hashlib
import importlib.resources
import io
import math
import os
import stat
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from jax_inr.errors import ConfigError, DeviceError, ImageError, OutputError
from jax_inr.io.atomic import write_atomic
from jax_inr.io.formats import HINT, decode
from jax_inr.io.quiet import WARNINGS_IGNORED
from jax_inr.io.raster import to_unit
from jax_inr.io.reading import read_bounded
from jax_inr.io.text import StrPath, shown

MAX_FILE_BYTES = 2**30
MAX_PATH = 5000  # characters

_DAMAGED = "truncated or damaged"
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")


class Image(NamedTuple):
    """A image and where it came from.

    image: (h, w, c) float32 in [0, 1], c is 1 (grey) or 3 (sRGB); 8-bit levels are
    divided by 255, 16-bit ones by 65535. path: as given, escaped to printable text.
    sha256: of the file's bytes. notices: what was done that the user may not expect,
    a line each, to be read after the path.
    """

    image: np.ndarray
    path: str
    sha256: str
    notices: tuple[str, ...]


def load_image(
    path: StrPath,
    *,
    size: int | tuple[int, int] | None = None,
    max_pixels: int = 50_000_000,
) -> Image:
    """The image of a file: upright, its first frame, on white where transparent.

    size: one number crops the centre square and resizes it (Lanczos), (height, width)
    resizes the whole. Raises ConfigError for a wrong size, ImageError for everything
    that can be wrong with the file, DeviceError where memory ends. More than max_pixels
    are refused before decoding, and so is more than Pillow's own limit of 179 million.
    """
    _check_size(size, max_pixels)
    name = shown(path, MAX_PATH) or "''"
    data = _read(path, name)
    image, notices = _decoded(data, name, size, max_pixels)
    return Image(image, name, hashlib.sha256(data).hexdigest(), notices)


def from_pillow(image: Any, max_pixels: int = 50_000_000) -> Image:
    """The image of a Pillow image, as its file would give; raises as `load_image`.

    Levels are as deep as its mode; its colour profile and orientation are applied.
    """
    name = f"the Pillow image of mode {image.mode}"
    kept = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    try:
        if image.mode in ("La", "RGBa", "PA"):
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        elif image.mode in ("YCbCr", "HSV", "RGBX"):
            image = image.convert("RGB")
        elif image.mode.startswith("I;16"):
            image = PillowImage.fromarray(np.asarray(image).astype(np.uint16))
        about = {"exif": image.getexif(), "icc_profile": image.info.get("icc_profile")}
        buffer = io.BytesIO()
        form = {"format": "TIFF"}
        if image.mode in kept:
            form = {"format": "PNG", "compress_level": 1}
        image.save(buffer, **form, **about)
    except MemoryError as error:
        raise DeviceError(f"{name}: out of memory", "make it smaller") from error
    except Exception as error:  # of a file that Pillow reads only now, any kind
        reason = f"cannot be read: {shown(str(error), 200)}"
        raise ImageError(f"{name}: {reason}", HINT) from error
    array, notices = _decoded(buffer.getvalue(), name, None, max_pixels)
    return Image(array, "", hashlib.sha256(array.tobytes()).hexdigest(), notices)


# The caller's own wish to hear of an underflow makes no image a damaged one.
@np.errstate(all="ignore")
def _decoded(
    data: bytes, name: str, size: int | tuple[int, int] | None, max_pixels: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The pixels of a file's bytes, and the notices."""
    notices: list[str] = []
    try:
        with WARNINGS_IGNORED:
            levels = _resize(decode(data, max_pixels, notices), size)
            image = levels if levels.dtype == np.float32 else to_unit(levels)
    except ImageError as error:
        raise ImageError(f"{name}: {error}", error.hint) from error
    except UnidentifiedImageError as error:
        known = data.startswith(_MAGIC) or data[4:8] == b"ftyp"
        reason = "not in an image format that we read"
        reason = "truncated, damaged or of an unknown kind" if known else reason
        raise ImageError(f"{name}: {reason}", HINT) from error
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"{name}: too many pixels", "make it smaller") from error
    except MemoryError as error:
        raise DeviceError(f"{name}: out of memory", "make it smaller") from error
    except Exception as error:  # hostile bytes raise nearly every kind in Pillow
        # The words of other kinds are Python's, not of the file.
        said = isinstance(error, (OSError, ValueError, SyntaxError, RuntimeError))
        reason = f"truncated or damaged: {shown(str(error))}" if said else _DAMAGED
        raise ImageError(f"{name}: {reason}", HINT) from error
    return np.ascontiguousarray(image), tuple(notices)


def sample_image(size: int | tuple[int, int] | None = 224) -> Image:
    """The sample cat, scikit-image's `chelsea` (CC0, 300x451 RGB), as `load_image`."""
    with importlib.resources.as_file(importlib.resources.files("skimage")) as folder:
        image = load_image(folder / "data" / "chelsea.png", size=size)
    return image._replace(path="skimage.data.chelsea")


def save_image(path: StrPath, image: np.ndarray) -> None:
    """Write an (h, w, 1 or 3) image in [0, 1] as 8-bit PNG.

    Raises OutputError for another suffix or a failed write, else as `encode_png`.
    """
    if not os.fspath(path).lower().endswith(".png"):
        raise OutputError(f"cannot write {shown(path)}: not a .png", "name it so")
    try:
        data = encode_png(image)
    except ImageError as error:
        text = f"cannot write {shown(path)}: {error}"
        raise ImageError(text, error.hint) from error
    write_atomic(path, data, follow=True)


def encode_png(image: np.ndarray) -> bytes:
    """The bytes of an 8-bit PNG of an (h, w, 1 or 3) image; raises as `to_uint8`."""
    levels = to_uint8(image)
    if levels.ndim != 3 or levels.shape[2] not in (1, 3):
        raise ValueError(f"shape {levels.shape} is not (h, w, 1) or (h, w, 3)")
    buffer = io.BytesIO()
    _pillow(levels).save(buffer, "PNG")
    return buffer.getvalue()


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1], any shape, as 0..255: clipped, then rounded half up.

    Raises ImageError when a value is not finite, TypeError for integers.
    """
    return _levels(image, 255).astype(np.uint8)


def to_uint16(image: np.ndarray) -> np.ndarray:
    """As `to_uint8`, 0..65535."""
    return _levels(image, 65535).astype(np.uint16)


@np.errstate(all="ignore")
def _levels(image: np.ndarray, white: int) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype.kind in "biu":
        raise TypeError(f"the image is {image.dtype}; it must be floats in [0, 1]")
    image = image.astype(np.float32, copy=False)
    if not np.isfinite(image).all():
        raise ImageError("the image has values that are not finite")
    return np.clip(image, 0, 1) * white + np.float32(0.5)


def _check_size(size: Any, max_pixels: int) -> None:
    if size is None:
        return
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
        raise ConfigError(f"size is {size!r}; it must be N or (HEIGHT, WIDTH), from 1")
    if math.prod(sides) > max_pixels:
        raise ConfigError(f"size is {size!r}; more than {max_pixels} pixels")


def _read(path: StrPath, name: str) -> bytes:
    try:
        path = os.path.expanduser(path)
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            hint = "name the images in it, as in DIR/*.png"
            raise ImageError(f"{name}: is a directory", hint)
        if not stat.S_ISREG(status.st_mode):
            hint = "save the image to a file first"
            raise ImageError(f"{name}: is a device or a pipe, not a file", hint)
        data = b""
        if status.st_size <= MAX_FILE_BYTES:
            with open(path, "rb") as file:
                data = read_bounded(file, MAX_FILE_BYTES)
    except MemoryError as error:
        raise DeviceError(f"{name}: out of memory", "make it smaller") from error
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        if isinstance(error, FileNotFoundError) and os.path.islink(path):
            reason = "the link points to nothing"
        raise ImageError(f"{name}: {reason}", "check the path") from error
    if max(len(data), status.st_size) > MAX_FILE_BYTES:
        raise ImageError(f"{name}: larger than {MAX_FILE_BYTES} bytes", HINT)
    if not data:
        raise ImageError(f"{name}: the file is empty", HINT)
    return data


def _resize(levels: np.ndarray, size: int | tuple[int, int] | None) -> np.ndarray:
    if size is None:
        return levels
    if isinstance(size, int):
        height, width = levels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        levels = levels[top : top + side, left : left + side]
        size = (size, size)
    height, width = size
    lanczos = PillowImage.Resampling.LANCZOS
    if levels.dtype == np.uint8:
        # Pillow's own 8-bit resize: as other 8-bit data sets were made.
        resized = _pillow(levels).resize((width, height), lanczos)
        return np.asarray(resized).reshape(height, width, -1)
    channels = [
        np.asarray(PillowImage.fromarray(channel).resize((width, height), lanczos))
        for channel in np.moveaxis(levels, -1, 0)
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 1)


def _pillow(levels: np.ndarray) -> PillowImage.Image:
    """uint8 levels (h, w, 1 or 3) as a Pillow image."""
    return PillowImage.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
