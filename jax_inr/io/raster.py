"""What a decoder gives, and what becomes of it: upright sRGB levels on white."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jax_inr.errors import ImageError

DEEP = "has more than 8 bits per channel: all are kept"
WHITE = "is transparent: composited on white"

# Floats (rows, w, c) in [0, 1] to sRGB or grey, (rows, w, 3 or 1).
Convert = Callable[[np.ndarray], np.ndarray]

_STRIP_PIXELS = 2**18


@dataclass
class Raster:
    """The samples of an image as its file stores them.

    samples: (h, w, c), unsigned integers, or floats in [0, 1]. white: the sample that
    is full, 1 for floats. convert: to sRGB; None where the samples are grey or sRGB.
    alpha: (h, w, 1) like samples, or bool; premultiplied: whether the samples have
    been multiplied by it. orientation: as EXIF counts, 1 to 8.
    """

    samples: np.ndarray
    white: float = 255
    convert: Convert | None = None
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    orientation: int = 1


def finish(raster: Raster, notices: list[str]) -> np.ndarray:
    """The image (h, w, 1 or 3): uint8 where the file says no more, float32 in [0, 1].

    Works on strips of rows, so that beside the samples and the image little memory is
    needed. Raises ImageError for floats outside [0, 1], alpha too.
    """
    samples, alpha = turned(raster.samples, raster.orientation), raster.alpha
    for part in (samples, alpha):
        if part is not None and part.dtype.kind == "f":
            _check_floats(part, "alpha" if part is alpha else "values")
    if samples.dtype != np.uint8:
        notices.append(DEEP)
    if alpha is not None:
        alpha = turned(alpha, raster.orientation)
        alpha = None if alpha.min() >= _full(alpha, raster.white) else alpha
    if alpha is not None:
        notices.append(WHITE)
    simple = alpha is None and raster.convert is None
    if simple and samples.dtype == np.uint8 and raster.white == 255:
        return samples
    height, width = samples.shape[:2]
    rows = max(1, _STRIP_PIXELS // width)
    image = None
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        colour = to_unit(samples[strip], raster.white)
        if raster.premultiplied and raster.alpha is not None and alpha is not None:
            opacity = to_unit(alpha[strip], _full(alpha, raster.white))
            colour = np.minimum(colour / np.maximum(opacity, 1e-6), 1)
        if raster.convert is not None:
            colour = raster.convert(colour)
        if alpha is not None:
            opacity = to_unit(alpha[strip], _full(alpha, raster.white))
            colour = colour * opacity + (1 - opacity)
        if image is None:
            image = np.empty((height, width, colour.shape[2]), np.float32)
        image[strip] = colour
    assert image is not None
    return image


def _check_floats(samples: np.ndarray, what: str) -> None:
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= 1):
        # Nine digits tell each float32 from 1.
        reason = f"float {what} from {low:.9g} to {high:.9g} are not in [0, 1]"
        raise ImageError(reason, "scale them to [0, 1] and save again")


def turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (h, w, c) samples, upright by EXIF 2.32, tag 274."""
    samples = samples.swapaxes(0, 1) if orientation >= 5 else samples
    samples = samples[::-1] if orientation in (3, 4, 7, 8) else samples
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def to_unit(levels: np.ndarray, white: float = 255) -> np.ndarray:
    """Levels as float32 in [0, 1], above white as white; C order."""
    if levels.dtype == np.float32 and white == 1:
        return levels
    unit = levels.astype(np.float32, order="C")
    unit /= np.float32(white)
    return np.minimum(unit, 1, out=unit)


def _full(alpha: np.ndarray, white: float) -> float:
    return 1 if alpha.dtype == bool else white


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for more than max_pixels."""
    if width * height > max_pixels:
        reason = f"{width}x{height} is more than {max_pixels} pixels"
        raise ImageError(reason, "make it smaller, or raise max_pixels")
