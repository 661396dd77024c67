"""The bytes of a picture file to levels (h, w, c), upright and without alpha.

What Pillow does silently is undone, refused or said: 16-bit colour cut to 8 bits,
hidden colours shown where the picture is transparent, colour profiles left aside,
rows that are missing left black. A PNG's gAMA chunk is ignored, as browsers do.
"""

import contextlib
import io
import math
import sys
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageCms
from PIL.ExifTags import Base as Tag

from jax_inr.errors import ImageError
from jax_inr.io.libtiff import errors_raised

# An allow-list: Pillow would start Ghostscript for an EPS file.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
HINT = f"use an undamaged {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"

_TURNED = "turned upright, as its EXIF orientation says"
_DEEP = "has more than 8 bits per channel: all are kept"
_CUT = "has more than 8 bits per channel: read with 8"
# The fine grid: the usual one is some levels off in dark greys.
_CMS_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC
# First row and column, steps down and across, of each pass of an interlaced PNG.
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
# Pillow unpacks 16-bit colour to its high bytes; the unpacker for the other byte
# order gives the low ones. libtiff's N is the machine's own order.
_NATIVE_LOW = "B" if sys.byteorder == "little" else "L"
_LOW_BYTES = {
    f"{bands};16{order}": f"{bands};16{low}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order, low in (("B", "L"), ("L", "B"), ("N", _NATIVE_LOW))
} | {"LA;16B": "RGBA"}

Levels = tuple[np.ndarray, np.ndarray | None]


def decode(data: bytes, max_pixels: int, notices: list[str]) -> np.ndarray:
    """The levels (h, w, c) of a file, c 1 or 3: uint8, or float32 in [0, 1].

    Transparent pixels are composited on white; what was done beyond plain decoding is
    appended to notices. Raises ImageError for a picture that we refuse, and whatever
    Pillow raises for bytes that it cannot read.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        _check_pixels(picture, max_pixels)
        if picture.format == "PNG":
            _check_png(data)
        if picture.format == "GIF" and not data.rstrip(b"\0").endswith(b";"):
            raise ImageError("truncated: the end mark is missing", HINT)
        if getattr(picture, "is_animated", False):
            notices.append("has several frames: only the first is used")
        heard = errors_raised if picture.format == "TIFF" else contextlib.nullcontext
        with heard():
            levels, alpha = _levels(picture, data, notices)
        _check_pixels(picture, max_pixels)  # a frame may exceed what its file said
        orientation = _orientation(picture, notices)
    if alpha is not None and alpha.min() < 1:
        notices.append("is transparent: composited on white")
        levels = to_unit(levels) * alpha + (1 - alpha)
    if orientation in range(2, 9):
        notices.append(_TURNED)
        levels = levels.swapaxes(0, 1) if orientation >= 5 else levels
        levels = levels[::-1] if orientation in (3, 4, 7, 8) else levels
        levels = levels[:, ::-1] if orientation in (2, 3, 6, 7) else levels
    return levels


def to_unit(levels: np.ndarray, white: int = 255) -> np.ndarray:
    """Integer levels as float32 in [0, 1]; float32 levels as they are."""
    if levels.dtype == np.float32:
        return levels
    return levels.astype(np.float32) / np.float32(white)


def _check_pixels(picture: Image.Image, max_pixels: int) -> None:
    if math.prod(picture.size) > max_pixels:
        reason = "{}x{} is more than {} pixels".format(*picture.size, max_pixels)
        raise ImageError(reason, "make it smaller, or raise max_pixels")


def _check_png(data: bytes) -> None:
    """Raise ValueError unless all checksums hold and all rows are there.

    Pillow skips the checksums of IDAT and IEND, and leaves rows black where the
    compressed stream ends early.
    """
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    bits = data[24] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[data[25]]
    missing = 0
    for top, left, down, across in _ADAM7 if data[28] else ((0, 0, 1, 1),):
        rows, columns = -((top - height) // down), -((left - width) // across)
        missing += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    view, position, name, stream = memoryview(data), 8, b"", zlib.decompressobj()
    while name != b"IEND":
        end = position + 8 + int.from_bytes(data[position : position + 4])
        name, checksum = data[position + 4 : position + 8], data[end : end + 4]
        if len(checksum) < 4:
            raise ValueError("the file ends early")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(checksum):
            raise ValueError(f"wrong checksum in chunk {name.decode('latin-1')}")
        pending = view[position + 8 : end] if name == b"IDAT" else b""
        while pending and missing > 0:
            missing -= len(stream.decompress(pending, 2**20))
            pending = stream.unconsumed_tail
        position = end + 4
    if missing > 0 and missing > len(stream.flush()):
        raise ValueError("rows are missing")


def _levels(picture: Any, data: bytes, notices: list[str]) -> Levels:
    """Levels, uint8 or float32 in [0, 1], and alpha (h, w, 1) float32 or None."""
    tile: Any = picture.tile[0] if picture.tile else None
    codec, args = tile and tile.codec_name, tile and tile.args
    rawmode = str(args[0] if isinstance(args, tuple) and args else args)
    tags = picture.tag_v2 if picture.format == "TIFF" else {}
    if tags.get(Tag.Orientation) in range(2, 9):
        notices.append(_TURNED)
    planes = tags.get(Tag.PlanarConfiguration) == 2
    if planes and codec == "raw" and max(tags[Tag.BitsPerSample]) > 8:
        # Pillow would take each byte of such a plane for a pixel.
        raise ImageError("a TIFF with 16-bit planes", "interleave them, or use PNG")
    if codec == "ppm" and args[1] > 255:
        # Pillow would scale in Python, sample by sample, and colour to 8 bits.
        shape = (*picture.size[::-1], 3 if rawmode == "RGB" else 1)
        raw = np.frombuffer(data, ">u2", math.prod(shape), tile.offset)
        notices.append(_DEEP)
        return to_unit(np.minimum(raw, args[1]).reshape(shape), args[1]), None
    picture.load()
    if picture.mode == "F" or picture.mode.startswith("I"):
        if "icc_profile" in picture.info:
            notices.append("has a colour profile: not applied to deep grey")
        notices.append(_DEEP)
        return _deep_grey(picture, rawmode, tags)
    if rawmode in _LOW_BYTES and not planes:
        return _colour(picture, _deep_colour(picture, data, rawmode), 16, notices)
    av1c = data.find(b"av1C") if picture.format == "AVIF" else -1
    if (
        (tags and ";16" in rawmode)
        or (codec == "ppm_plain" and rawmode == "RGB" and args[1] > 255)
        or (av1c >= 0 and data[av1c + 6] & 0x40)  # AVIF of 10 or 12 bits
    ):
        notices.append(_CUT)
    return _colour(picture, None, {"L;2": 2, "L;4": 4}.get(rawmode, 8), notices)


def _deep_grey(picture: Any, rawmode: str, tags: Any) -> Levels:
    """`_levels` of a loaded grey picture of more than 8 bits, or of floats."""
    raw, white = np.asarray(picture)[..., None], 4095 if rawmode == "I;12" else 65535
    if picture.mode == "F":
        white, low, high = 1, raw.min(), raw.max()
        if not (low >= 0 and high <= 1):
            reason = f"float values from {low:g} to {high:g} are not in [0, 1]"
            raise ImageError(reason, "scale them to [0, 1] and save again")
    elif picture.mode == "I" and picture.format != "PPM":
        reason = "signed or 32-bit integers have no agreed white"
        raise ImageError(reason, "save it with 8 or 16 bits per channel")
    if tags.get(Tag.PhotometricInterpretation) == 0:
        raw = white - raw  # white is zero: Pillow heeds it at 8 bits only
    return to_unit(raw, white), _keyed_alpha(picture, raw, 16)


def _deep_colour(picture: Any, data: bytes, rawmode: str) -> np.ndarray:
    """uint16 levels (h, w, c), alpha included, of a loaded 16-bit PNG or TIFF."""
    again: Any
    with Image.open(io.BytesIO(data), formats=FORMATS) as again:
        low = _LOW_BYTES[rawmode]
        again.tile = [
            tile._replace(args=low if tile.args == rawmode else (low, *tile.args[1:]))
            for tile in again.tile
        ]
        again.load()
        if rawmode == "LA;16B":
            return np.asarray(again).view(">u2")
        return np.asarray(picture) * np.uint16(256) + np.asarray(again)


def _colour(picture: Any, deep: Any, bits: int, notices: list[str]) -> Levels:
    """`_levels` of a loaded 8-bit picture, or of its 16-bit levels `deep`."""
    if picture.mode in ("1", "P", "PA", "La", "RGBa"):
        picture = picture.convert({"1": "L", "La": "LA"}.get(picture.mode, "RGBA"))
    srgb, converted = _to_srgb(picture, notices)
    raw, white = (_array(picture), 255) if deep is None else (deep, 65535)
    if picture.mode in ("LA", "RGBA"):
        raw, alpha = raw[..., :-1], to_unit(raw[..., -1:], white)
    else:
        alpha = _keyed_alpha(picture, raw, bits)
    if deep is None:
        return _array(srgb), alpha
    # ImageCms converts 8-bit colour only.
    notices.append(_CUT if converted else _DEEP)
    return _array(srgb) if converted else to_unit(raw, white), alpha


def _keyed_alpha(picture: Any, raw: np.ndarray, bits: int) -> np.ndarray | None:
    """Alpha (h, w, 1): 0 where a pixel has the one colour that is transparent."""
    key = picture.info.get("transparency")
    if key is None:
        return None
    # The key counts in the file's bits, Pillow's levels of 2 and 4 bits go to 255.
    key = np.asarray(key) % 2**bits * (np.iinfo(raw.dtype).max // (2**bits - 1))
    return (raw != key).any(-1, keepdims=True).astype(np.float32)


def _to_srgb(picture: Any, notices: list[str]) -> tuple[Any, bool]:
    """The picture as L or RGB without alpha, and whether its profile changed it."""
    srgb = ImageCms.createProfile("sRGB")
    if picture.mode == "LAB":
        notices.append("converted from Lab to sRGB")
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB"), True
    grey, cmyk = picture.mode in ("L", "LA"), picture.mode == "CMYK"
    plain = picture.convert("L" if grey else "RGB")
    source = picture if cmyk else plain
    if "icc_profile" in picture.info:
        try:
            embedded: Any = ImageCms.ImageCmsProfile(
                io.BytesIO(picture.info["icc_profile"])
            )
            if grey and embedded.profile.xcolor_space == "RGB ":
                source = plain.convert("RGB")
            result: Any = ImageCms.profileToProfile(
                *(source, embedded, srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"),
                flags=_CMS_FLAGS,
            )
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notices.append("has a broken colour profile: ignored")
        else:
            result = result.getchannel("G") if grey else result
            # Within one level, the profile is sRGB under another name.
            if np.max(ImageChops.difference(plain, result).getextrema()) <= 1:
                return plain, False
            notices.append("converted from its colour profile to sRGB")
            return result, True
    if cmyk:
        notices.append("CMYK without a colour profile: colours are approximate")
    return plain, False


def _orientation(picture: Image.Image, notices: list[str]) -> Any:
    """The EXIF orientation that is left to apply: Pillow has turned a TIFF itself."""
    try:
        return picture.getexif().get(Tag.Orientation, 1)
    except Exception:  # as many kinds as in decoding
        notices.append("has broken EXIF data: ignored")
        return 1


def _array(picture: Image.Image) -> np.ndarray:
    """An 8-bit Pillow picture as (h, w, c)."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)
