"""Images of any size to files, strip by strip: PNG, 16-bit PNG, float TIFF, NPY.

The file appears whole or not at all. Imports neither JAX nor torch.
"""

import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jax_inr.errors import ConfigError, ImageError, OutputError
from jax_inr.io import atomic
from jax_inr.io.images import to_uint8, to_uint16
from jax_inr.io.text import StrPath, shown

SUFFIXES = {
    ".png": "8-bit PNG",
    ".16.png": "16-bit PNG",
    ".tif": "TIFF of floats",
    ".tiff": "TIFF of floats",
    ".npy": "NPY of floats",
}

_COLOUR_TYPES = {1: 0, 3: 2}  # of PNG, by channels

Strips = Iterable[np.ndarray]


def suffix_of(path: StrPath) -> str:
    """The one of SUFFIXES that a path ends with; ConfigError for any other."""
    name = os.fspath(path).lower()
    # Longest first: every .16.png is a .png too.
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    known = ", ".join(f"{suffix} ({kind})" for suffix, kind in SUFFIXES.items())
    raise ConfigError(f"cannot write {shown(path)}: unknown suffix", f"known: {known}")


def is_float(path: StrPath) -> bool:
    """Whether the format of a path keeps numbers as they are, beyond [0, 1] too."""
    return not suffix_of(path).endswith("png")


def check_space(path: StrPath, height: int, width: int, channels: int) -> None:
    """Refuse a float file that its disk cannot hold.

    Raises:
        OutputError: the disk has less room, or the folder is not there.
    """
    folder = Path(path).absolute().parent
    with atomic.output_errors(path):
        disk = shutil.disk_usage(folder)
    needed = 4 * height * width * channels
    # Some mounts know no size, and say that it is 0.
    if is_float(path) and disk.total and needed > disk.free:
        raise OutputError(
            f"cannot write {shown(path)}: it takes {_in_units(needed)}, and the "
            f"disk has {_in_units(disk.free)} left",
            "choose a smaller size or another folder",
        )


def _in_units(count: int) -> str:
    """Bytes in the largest unit of which there is one."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.2f} {unit}"
    return f"{count} bytes"


def write_image(
    path: StrPath, strips: Strips, height: int, width: int, channels: int
) -> None:
    """Write an image that comes in strips of whole rows, from top to bottom.

    Args:
        path: its suffix, one of SUFFIXES, is the format.
        strips: (rows, width, channels) floats; in [0, 1], or clipped to it, for PNG,
            which has 1 or 3 channels.

    Raises:
        ConfigError: the suffix is unknown, or its format has not so many channels.
        OutputError: the file cannot be written; an older one is left as it was, as it
            is when the strips themselves raise.
        ImageError: a value is not finite.
    """
    shape = (height, width, channels)
    if not is_float(path) and channels not in _COLOUR_TYPES:
        text = f"cannot write {shown(path)}: a PNG of {channels} channels"
        raise ConfigError(text, "give 1 or 3 channels, or name it .tif or .npy")
    write = {".png": _write_png8, ".16.png": _write_png16, ".npy": _write_npy}
    try:
        with atomic.atomic_file(path, follow=True) as file:
            write.get(suffix_of(path), _write_tiff)(file, strips, shape)
    except ImageError as error:
        text = f"cannot write {shown(path)}: {error}"
        raise ImageError(text, error.hint) from error


def _write_npy(file: BinaryIO, strips: Strips, shape: tuple[int, int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for strip in strips:
        file.write(np.ascontiguousarray(strip, "<f4").data)


def _write_tiff(file: BinaryIO, strips: Strips, shape: tuple[int, int, int]) -> None:
    import tifffile

    channels = shape[2]
    # tifffile takes a last axis of length 1 for the width of many pages.
    axes = shape if channels > 1 else shape[:2]
    # Bytes: of arrays tifffile calls tofile, which passes over a disk that is full.
    rows = (
        np.ascontiguousarray(row, "<f4").tobytes() for strip in strips for row in strip
    )
    tifffile.imwrite(
        file,
        rows,
        shape=axes,
        dtype=np.float32,
        byteorder="<",
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        rowsperstrip=1,
        # Offsets of 32 bits end at 4 GiB.
        bigtiff=4 * int(np.prod(shape)) + (1 << 20) > 1 << 32,
        metadata=None,
    )


def _write_png8(file: BinaryIO, strips: Strips, shape: tuple[int, int, int]) -> None:
    _write_png(file, (to_uint8(strip) for strip in strips), shape, 8)


def _write_png16(file: BinaryIO, strips: Strips, shape: tuple[int, int, int]) -> None:
    levels = (to_uint16(strip).astype(">u2") for strip in strips)
    _write_png(file, levels, shape, 16)


def _write_png(
    file: BinaryIO, levels: Iterator[np.ndarray], shape: tuple[int, int, int], bits: int
) -> None:
    """PNG, third edition of the W3C's specification: every row filtered by "Up"."""
    height, width, channels = shape
    colour_type = _COLOUR_TYPES[channels]
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    _write_chunk(file, b"IHDR", header)
    stream = zlib.compressobj(6)
    above = np.zeros((1, width * channels * bits // 8), np.uint8)
    for strip in levels:
        rows = np.ascontiguousarray(strip).view(np.uint8).reshape(len(strip), -1)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 2
        # Differences modulo 256, as the filter wants them.
        filtered[:, 1:] = rows - np.concatenate([above, rows[:-1]])
        above = rows[-1:]
        if data := stream.compress(filtered.data):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", stream.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
