"""BMP files whose pixels Pillow misreads or refuses: runs of pixels, masks of bits."""

import struct

import numpy as np

from jax_inr.io import colour
from jax_inr.io.raster import Convert, Raster, check_pixels

# They are drawn one by one: more would take more than ten seconds.
MAX_RUNS = 4_000_000
_RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 1, 2, 3, 6


def read(data: bytes, max_pixels: int, notices: list[str]) -> Raster | None:
    """The samples of such a BMP; None for one that Pillow reads well.

    Raises ValueError for damage: pixels outside the image, or an early end.
    """
    start, size = struct.unpack_from("<I4x", data, 10)[0], _number(data, 14)
    if size < 40 or len(data) < 54:
        return None
    width, height = struct.unpack_from("<ii", data, 18)
    check_pixels(width, abs(height), max_pixels)
    bits, compression = struct.unpack_from("<HI", data, 28)
    if compression in (_RLE8, _RLE4) and bits in (8, 4):
        indices, drawn, damaged = _runs(
            data[start:], width, abs(height), compression == _RLE4
        )
        if damaged:
            notices.append("is damaged (runs outside the image): parts may be wrong")
        if height < 0:
            indices, drawn = indices[::-1], drawn[::-1]
        count = min(_number(data, 46) or 2**bits, 2**bits)
        table = np.frombuffer(data, np.uint8, 4 * count, 14 + size)
        palette = table.reshape(-1, 4)[:, 2::-1]
        if indices.max() >= count:
            raise ValueError(f"palette index {indices.max()} of {count} colours")
        grey = (palette == np.arange(count)[:, None]).all()
        # What no run has drawn is transparent, as browsers show it.
        alpha = None if drawn.all() else drawn[..., None]
        return Raster(palette[indices][..., : 1 if grey else 3], alpha=alpha)
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS) and bits in (16, 32):
        return _masked(data, start, size, bits, compression)
    return None


def converter(data: bytes, channels: int, notices: list[str]) -> Convert | None:
    """By the profile in a header of version 5; what is not applied is a notice."""
    size = _number(data, 14)
    if size < 108 or len(data) < 14 + size:
        return None
    space = data[70:74]
    if space == b"KNIL":
        notices.append("has a colour profile in another file: not applied")
    if space == b"DEBM" and size >= 124:
        start, length = 14 + _number(data, 126), _number(data, 130)
        return colour.from_icc(data[start : start + length], channels, notices)
    if space == bytes(4) and not _is_like_srgb(data):
        notices.append("has primaries or a gamma of its own: not applied")
    return None


def _is_like_srgb(data: bytes) -> bool:
    """Whether the calibrated RGB of a header is about sRGB, or nothing but zeros.

    Not applied otherwise: writers disagree on the scale, the white and the gamma.
    """
    corners = np.frombuffer(data, "<i4", 9, 74).reshape(3, 3).astype(float)
    gamma = np.frombuffer(data, "<u4", 3, 110) / 2**16
    gamma = np.where(gamma > 1, gamma, 1 / np.where(gamma > 0, gamma, 1 / 2.2))
    sums = corners.sum(1, keepdims=True)
    xy = (corners / np.where(sums == 0, 1, sums))[:, :2].ravel()
    alike = np.allclose(xy, colour.SRGB_XY, atol=0.03) or not corners.any()
    return bool(alike and np.allclose(gamma, 2.2, atol=0.2))


def _masked(data: bytes, start: int, size: int, bits: int, compression: int) -> Raster:
    width, height = struct.unpack_from("<ii", data, 18)
    if width < 1 or height == 0:
        raise ValueError("no size of an image")
    rows, kind = abs(height), f"<u{bits // 8}"
    stride = -(-width * bits // 32) * 32 // bits
    count = 4 if size >= 56 or compression == _ALPHA_BITFIELDS else 3
    masks = struct.unpack_from(f"<{count}I", data, 54)
    # The last row may lack its padding.
    pixels = np.frombuffer(data, kind, stride * (rows - 1) + width, start)
    pixels = np.concatenate([pixels, np.zeros(stride - width, kind)])
    pixels = pixels.reshape(rows, stride)[:: -1 if height > 0 else 1, :width]
    channels = [_channel(pixels, mask) for mask in masks if mask]
    if not all(masks[:3]):
        raise ValueError("a mask without bits")
    alpha = channels[3][..., None] if len(channels) == 4 else None
    return Raster(np.stack(channels[:3], -1), alpha=alpha)


def _channel(pixels: np.ndarray, mask: int) -> np.ndarray:
    """The 8-bit levels that the bits of a mask hold."""
    shift = (mask & -mask).bit_length() - 1
    white = mask >> shift
    if white & (white + 1):
        raise ValueError("a mask with gaps")
    levels = (
        pixels & pixels.dtype.type(mask & (2 ** (8 * pixels.itemsize) - 1))
    ) >> shift
    return ((levels.astype(np.uint64) * 510 + white) // (2 * white)).astype(np.uint8)


def _runs(
    data: bytes, width: int, height: int, nibbles: bool
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The palette indices (h, w) that runs draw, where, and whether they leave rows."""
    if width < 1 or height < 1:
        raise ValueError("no size of an image")
    padded, damaged = -(-width // 8) * 8 if nibbles else -(-width // 4) * 4, False
    indices = np.zeros((height, width), np.uint8)
    drawn = np.zeros((height, width), bool)
    row, column, position, runs = height - 1, 0, 0, 0
    while True:
        pair = data[position : position + 2]
        position += 2
        if len(pair) < 2:
            raise ValueError("the runs end early")
        count, value = pair
        if count == 0 and value == 1:
            break
        runs += 1
        if row < -1 or runs > MAX_RUNS:
            raise ValueError(f"rows outside the image, or more than {MAX_RUNS} runs")
        if count == 0 and value == 0:
            row, column = row - 1, 0
            continue
        if count == 0 and value == 2:
            step = data[position : position + 2]
            if len(step) < 2:
                raise ValueError("the runs end early")
            row, column, position = row - step[1], column + step[0], position + 2
            continue
        if count:
            levels = [value >> 4, value & 15] * -(-count // 2) if nibbles else [value]
            levels = np.array(levels[:count], np.uint8)
        else:
            count, size = value, -(-value // 2) if nibbles else value
            raw = np.frombuffer(data[position : position + size], np.uint8)
            if len(raw) < size:
                raise ValueError("the runs end early")
            levels = np.stack([raw >> 4, raw & 15], 1).ravel() if nibbles else raw
            levels, position = levels[:count], position + size + size % 2
        if row < 0:
            raise ValueError("a run outside the image")
        # Some writers pad rows to 4 bytes, with runs of what is no pixel.
        damaged |= column + count > padded
        count = max(0, min(count, width - column))
        levels = levels[:count]
        indices[row, column : column + count] = levels
        drawn[row, column : column + count] = True
        column += count
    return indices, drawn, damaged


def _number(data: bytes, offset: int) -> int:
    return struct.unpack_from("<I", data, offset)[0]
