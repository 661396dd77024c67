"""The tags of a TIFF: too many numbers are refused before they are read; its colours.

TIFF 6.0, sections 2 and 20.
"""

import math
from typing import Any

import numpy as np

from jax_inr.errors import ImageError
from jax_inr.io import colour
from jax_inr.io.raster import Convert

# Of strips or tiles: more would take tens of seconds, and as many Python numbers.
MAX_NUMBERS = 2**18
_MAX_FOLDERS, _MAX_TAGS = 200, 4096
_BYTES, _RATIONAL = (1, 2, 6, 7), 5
# Of linear light: a power of 2.2, which writers mean as sRGB, is nearer.
_CURVE_TOLERANCE = 0.02
_SUB_IFDS, _TRANSFER, _WHITE_POINT, _PRIMARIES = 330, 301, 318, 319
_HINT = "save it with larger strips, or as PNG"


def check_counts(data: bytes) -> None:
    """Raise ImageError for a tag of more than MAX_NUMBERS, as of that many strips."""
    order = "little" if data[:2] == b"II" else "big"
    wide = 43 in data[2:4]
    offset_bytes, count_bytes, tag_bytes = (8, 8, 20) if wide else (4, 2, 12)

    def number(position: int, size: int) -> int:
        return int.from_bytes(data[position : position + size], order)

    pending, seen = [number(8 if wide else 4, offset_bytes)], {0}
    while pending and len(seen) <= _MAX_FOLDERS:
        folder = pending.pop()
        if folder in seen:
            continue
        seen.add(folder)
        start, tags = folder + count_bytes, number(folder, count_bytes)
        end = start + tag_bytes * min(tags, _MAX_TAGS)
        for tag in range(start, end, tag_bytes):
            code, kind = number(tag, 2), number(tag + 2, 2)
            count, value = number(tag + 4, offset_bytes), tag + 4 + offset_bytes
            if count > MAX_NUMBERS and kind not in _BYTES:
                reason = f"a TIFF with {count} strips or other numbers in a tag"
                raise ImageError(f"{reason}, more than {MAX_NUMBERS}", _HINT)
            if code == _SUB_IFDS:
                inside = value if count == 1 else number(value, offset_bytes)
                size = 8 if kind in (16, 17, 18) else 4
                subs = range(inside, inside + size * min(count, _MAX_FOLDERS), size)
                pending += [number(sub, size) for sub in subs]
        pending.append(number(end, offset_bytes))


def converter(page: Any, channels: int, notices: list[str]) -> Convert | None:
    """By the chromaticities of a page of RGB; another curve than sRGB's is a notice."""
    curve = page.tags.valueof(_TRANSFER)
    if curve is not None and not _is_srgb(curve):
        notices.append("has a transfer function of its own: not applied")
    xy = [*_ratios(page, _PRIMARIES), *_ratios(page, _WHITE_POINT)]
    xy += colour.D65 if len(xy) == 6 else ()
    # Zeros over zeros say nothing.
    if channels != 3 or len(xy) != 8 or all(map(math.isinf, xy[:6])):
        return None
    try:
        return colour.from_gamma(None, tuple(xy), channels, notices)
    except ImageError:
        notices.append("has primaries that are no colours: ignored")
        return None


def _is_srgb(curve: Any) -> bool:
    """Whether one curve or three, of any length, are nearly that of sRGB."""
    try:
        numbers = np.asarray(curve, np.float64).ravel()
    except (TypeError, ValueError):
        return False
    three = numbers.size % 3 == 0  # no power of two is
    curves = numbers.reshape(3 if three else 1, -1) / 65535
    if curves.shape[1] < 2:
        return False
    expected = colour.srgb_decode(np.linspace(0, 1, curves.shape[1]))
    return bool(np.abs(curves - expected).max() <= _CURVE_TOLERANCE)


def _ratios(page: Any, code: int) -> list[float]:
    """The numbers of a tag of rationals, which tifffile gives as pairs in a row."""
    tag = page.tags.get(code)
    if tag is None or tag.dtype != _RATIONAL:
        return []
    pairs = np.reshape(tag.value, (-1, 2)).tolist()
    return [above / below if below else math.inf for above, below in pairs]
