"""TIFF files, by tifffile and imagecodecs: which image of a file, and its samples.

TIFF 6.0; libtiff, by Pillow, reads what they do not: fax, whose damage it alone
notices, and YCbCr that is not JPEG.
"""

import contextlib
import io
import itertools
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from jax_inr.errors import ImageError
from jax_inr.io import colour, jpeg, tifftags
from jax_inr.io.libtiff import errors_raised
from jax_inr.io.raster import Raster, check_pixels

FRAMES = "has several frames: only the first is used"
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HINT = "save it as an RGB or grey TIFF of 8 or 16 bits, or as PNG"
_RAW = "a raw photo of a camera (DNG or alike), whose full image is not read"
_RAW_HINT = "develop it to PNG, TIFF or JPEG first"

# Channels of colour by PhotometricInterpretation.
_MINISWHITE, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 3, 5, 6, 8, 9
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
_RAW_KINDS = (32803, 34892)  # a colour filter array, linear raw
_OTHERS = {4: "a mask", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
_FAX, _JPEG = (2, 3, 4), 7
# None, LZW, JPEG, deflate (twice), PackBits, LZMA, Zstandard: whose output is bounded.
# An image of its own in each strip (JPEG 2000, WebP) may claim any size.
_READ = (1, 5, _JPEG, 8, 32946, 32773, 34925, 50000)
_ORIENTATION, _INKS, _DNG_VERSION = 274, 332, 50706
_MAX_PAGES = 100
_BYTES_A_PIXEL = 16  # RGBA of floats


def read(data: bytes, max_pixels: int, notices: list[str]) -> Raster:
    """The samples of the first full image.

    Raises ImageError for a TIFF that is refused, ValueError and others for damage.
    """
    import tifffile

    tifftags.check_counts(data)
    with _quiet(), tifffile.TiffFile(io.BytesIO(data), is_ome=False) as file:
        if not len(data) > 8 or data[8:10] == b"CR":
            raise ImageError(_RAW, _RAW_HINT)
        number, page = _choose(file, notices)
        check_pixels(page.imagewidth, page.imagelength, max_pixels)
        kind = int(page.photometric)
        if kind in _RAW_KINDS:
            raise ImageError(_RAW, _RAW_HINT)
        if kind not in _COLOURS:
            name = _OTHERS.get(kind, f"colours of kind {kind}")
            raise ImageError(f"a TIFF of {name}, which is not read", _HINT)
        orientation = page.tags.valueof(_ORIENTATION, 1)
        page_profile = page.tags.valueof(34675)
        profile = bytes(page_profile) if page_profile is not None else b""
        if (
            page.compression in _FAX
            or (kind == _YCBCR and page.compression != _JPEG)
            or (page.compression == _JPEG and _is_lossless(page, data))
        ):
            raster = _by_libtiff(data, number)
        else:
            raster = _by_tifffile(page, data, max_pixels, notices)
        channels = raster.samples.shape[2]
        if raster.convert is None and not profile:
            raster.convert = tifftags.converter(page, channels, notices)
    if raster.convert is None and profile:
        raster.convert = colour.from_icc(profile, channels, notices)
    elif kind == _CMYK and raster.convert is None:
        raster.convert = colour.from_cmyk(notices)
    raster.orientation = orientation if orientation in range(2, 9) else 1
    return raster


def _choose(file: Any, notices: list[str]) -> tuple[int, Any]:
    """The first image that is no reduced copy and no mask, and its number."""
    pages = []
    # What is wrong behind the first image does not change it.
    with contextlib.suppress(Exception):
        pages.extend(itertools.islice(file.pages, _MAX_PAGES))
    first = pages[0] if pages else file.pages[0]
    subs = []
    if first.subifds:
        with contextlib.suppress(Exception):
            subs.extend(itertools.islice(first.pages, _MAX_PAGES))
    area = first.imagewidth * first.imagelength
    larger = any(sub.imagewidth * sub.imagelength > area for sub in subs)
    raw = any(page.photometric in _RAW_KINDS for page in (*pages, *subs))
    reduced = bool(first.subfiletype & 1)
    if _DNG_VERSION in first.tags or raw or larger or (reduced and first.subifds):
        raise ImageError(_RAW, _RAW_HINT)
    full = [(n, page) for n, page in enumerate(pages) if not page.subfiletype & 5]
    if len(full) > 1:
        notices.append(FRAMES)
    if reduced and full:
        notices.append("begins with a reduced copy: the full image behind it is used")
    return full[0] if full else (0, first)


def _by_tifffile(page: Any, data: bytes, max_pixels: int, notices: list[str]) -> Raster:
    kind, count = int(page.photometric), page.samplesperpixel
    bits = page.bitspersample
    _check(page, max_pixels)
    channels, alpha, premultiplied = _channels(kind, count, page.extrasamples, notices)
    levels = _assemble(
        page, data, [*channels, *([] if alpha is None else [alpha])], notices
    )
    if levels.dtype.kind == "f":
        white: float = 1
        # NaN and what is out of range is refused later.
        levels = levels.astype(np.float32, copy=False)
    else:
        levels = levels.astype(np.uint8) if levels.dtype == bool else levels
        white = 2 ** int(bits) - 1
    samples = levels[..., : len(channels)]
    opacity = None if alpha is None else levels[..., len(channels) :]
    if kind == _PALETTE:
        samples, scale = _look_up(page, samples[..., 0]), 255 / white
        if opacity is not None:
            opacity = (opacity * scale).astype(np.uint8)
        return Raster(samples, 255, None, opacity, premultiplied)
    if kind == _MINISWHITE and white == 1 and levels.dtype.kind == "f":
        return Raster(samples, 1, lambda unit: 1 - unit, opacity, premultiplied)
    if kind == _MINISWHITE:
        np.subtract(levels.dtype.type(white), samples, out=samples)
    if white in (3, 15, 1) and levels.dtype == np.uint8:
        levels *= np.uint8(255 // white)
        white = 255
    convert = _lab(samples, kind, notices) if kind in (_CIELAB, _ICCLAB) else None
    return Raster(samples, white, convert, opacity, premultiplied)


def _check(page: Any, max_pixels: int) -> None:
    """Raise ImageError for samples without an agreed white, and for huge segments."""
    if page.photometric == _CMYK and page.tags.valueof(_INKS, 1) != 1:
        raise ImageError("a TIFF of other inks than CMYK, which is not read", _HINT)
    if page.compression not in _READ:
        name = getattr(page.compression, "name", f"method {page.compression}")
        raise ImageError(f"a TIFF compressed by {name}, which is not read", _HINT)
    bits, dtype = page.bitspersample, page.dtype
    lab = page.photometric in (_CIELAB, _ICCLAB)
    if page.imagedepth > 1:
        raise ImageError("a TIFF of a volume, which is not read", _HINT)
    if isinstance(bits, tuple) or dtype is None or dtype.kind not in "buif":
        raise ImageError(f"a TIFF with {bits} bits per channel", _HINT)
    if (dtype.kind == "i" and not lab) or (dtype.kind in "iu" and bits > 16):
        reason = "signed or 32-bit integers have no agreed white"
        raise ImageError(reason, "save it with 8 or 16 bits per channel")
    if lab and (dtype.kind == "f" or bits not in (8, 16)):
        raise ImageError(f"a TIFF of Lab with {bits} bits per channel", _HINT)
    size = page.samplesperpixel * dtype.itemsize
    area = page.imagewidth * page.imagelength
    tile, tiles = area, 1
    if page.is_tiled:
        tile = page.tilewidth * page.tilelength
        tiles = -(-page.imagewidth // page.tilewidth)
        tiles *= -(-page.imagelength // page.tilelength)
    huge = tile > max(4 * area, 2**22) or tile * tiles > 4 * max(area, 2**26)
    if area * size > _BYTES_A_PIXEL * max_pixels or huge:
        raise ImageError("a TIFF with more samples than fit", "make it smaller")


def _channels(
    kind: int, count: int, extra: tuple[int, ...], notices: list[str]
) -> tuple[list[int], int | None, bool]:
    """The channels of colour, that of alpha, and whether it is premultiplied."""
    colours = _COLOURS[kind]
    if count < colours:
        raise ValueError(f"{count} samples a pixel are too few")
    # Writers that leave the tag out mean alpha by a fourth channel.
    kinds = tuple(map(int, extra)) or ((2,) if (kind, count) == (2, 4) else ())
    alpha = next((n for n, k in enumerate(kinds[: count - colours]) if k in (1, 2)), -1)
    others = count - colours - (alpha >= 0)
    if others:
        notices.append(f"has {others} more channels than its colours: not used")
    channels = list(range(colours))
    return (
        channels,
        colours + alpha if alpha >= 0 else None,
        kinds[alpha : alpha + 1] == (1,),
    )


def _assemble(
    page: Any, data: bytes, channels: list[int], notices: list[str]
) -> np.ndarray:
    """The samples (h, w, channels), segment by segment: a missing one is an error."""
    height, width = page.imagelength, page.imagewidth
    samples = np.empty((height, width, len(channels)), page.dtype)
    down = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
    across = page.tilewidth if page.is_tiled else width
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    a_plane = -(-height // down) * -(-width // across)
    offsets, sizes = page.dataoffsets, page.databytecounts
    if min(len(offsets), len(sizes)) < planes * a_plane:
        raise ValueError("strips are missing")
    whole = channels == list(range(page.samplesperpixel))
    for index in range(planes * a_plane):
        if planes > 1 and index // a_plane not in channels:
            continue
        start, end = offsets[index], offsets[index] + sizes[index]
        if page.compression == 1:
            end = min(end, len(data))  # what is read is known without a count
        if not 0 < start < end <= len(data):
            raise ValueError("a strip lies outside the file")
        if page.compression == _JPEG:
            damage = _check_jpeg(page, data[start:end], down, across)
            if damage and damage not in notices:
                notices.append(damage)
        segment, (plane, _, row, column, _), _ = page.decode(
            data[start:end], index, jpegtables=page.jpegtables
        )
        rows, columns = min(down, height - row), min(across, width - column)
        part = segment[0, :rows, :columns]
        if part.shape[:2] != (rows, columns):
            raise ValueError("rows are missing")
        target = samples[row : row + rows, column : column + columns]
        if planes > 1:
            target[..., channels.index(plane)] = part[..., 0]
        else:
            target[...] = part if whole else part[..., channels]
    return samples


def _is_lossless(page: Any, data: bytes) -> bool:
    if not page.dataoffsets:
        return False
    start = page.dataoffsets[0]
    return jpeg.markers(data[start : start + page.databytecounts[0]]).lossless


def _check_jpeg(page: Any, stream: bytes, height: int, width: int) -> str:
    """Refuse what imagecodecs would misread; give what is damaged."""
    stream = page.jpegtables[:-2] + stream[2:] if page.jpegtables else stream
    found = jpeg.markers(stream)
    fits = 0 < found.height <= height and 0 < found.width <= width
    # imagecodecs writes past the end of what is lossless.
    if found.lossless or not fits:
        raise ValueError("a JPEG strip of another kind or size")
    return jpeg.damage(found)


def _look_up(page: Any, indices: np.ndarray) -> np.ndarray:
    """The uint8 colours of indices; ValueError where the palette has none."""
    table = np.asarray(page.colormap)
    if indices.max() >= table.shape[1]:
        raise ValueError(f"palette index {indices.max()} of {table.shape[1]} colours")
    # Some writers store 8 bits where TIFF wants 16.
    levels = (table if table.max() < 256 else table >> 8).astype(np.uint8)
    return levels.T[indices]


def _lab(samples: np.ndarray, kind: int, notices: list[str]) -> colour.Convert:
    """Of CIE Lab (signed a and b) or ICC Lab; makes a and b offset by half in place."""
    half = 2 ** (8 * samples.itemsize - 1)
    if kind == _CIELAB:
        samples[..., 1:] ^= samples.dtype.type(half)
    deep = samples.dtype == np.uint16
    lightness = 100 * 65535 / 65280 if deep and kind == _ICCLAB else 100.0
    return colour.from_lab(lightness, 65535 / 256 if deep else 255, notices)


def _by_libtiff(data: bytes, number: int) -> Raster:
    with (
        errors_raised(),
        PillowImage.open(io.BytesIO(data), formats=["TIFF"]) as opened,
    ):
        opened.seek(number)
        # The orientation is applied elsewhere; Pillow would here.
        opened.getexif().pop(_ORIENTATION, None)
        opened.load()
        plain = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
        levels = np.asarray(plain)
    return Raster(levels.reshape(*levels.shape[:2], -1))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what tifffile logs in this thread from the program's log."""
    mine = threading.get_ident()

    def drop(record: logging.LogRecord) -> bool:
        return record.thread != mine

    logger = logging.getLogger("tifffile")
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)
