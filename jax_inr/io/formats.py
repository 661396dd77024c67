"""The bytes of an image file to levels (h, w, c): upright, sRGB, and on white.

What decoders do silently is undone, refused or said: 16-bit colour cut to 8 bits,
hidden colours shown where the image is transparent, colour signals left aside, damage
passed over. Colour profiles, PNG's cICP, gAMA and cHRM, and the nclx signal of AVIF are
applied, as browsers do.
"""

import contextlib
import io
import math
import re
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFile
from PIL.ExifTags import Base as Tag

from jax_inr.errors import ImageError
from jax_inr.io import bmff, bmp, colour, heic, jpeg, png, tiff
from jax_inr.io.raster import Raster, check_pixels, finish

# An allow-list: Pillow would start Ghostscript for an EPS file.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
# Of the files in those formats, and of HEIC.
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp"),
    *(".tif", ".tiff", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
    *(".avif", ".heic", ".heif", ".hif"),
)
HINT = f"use an undamaged {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"

_CONVERT = "convert it to PNG, TIFF or JPEG first"
_CUT = "has more than 8 bits per channel: read with 8"
# What files begin with that are sound and not read; the first that fits counts.
_UNREAD = {
    b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI": "a PNG as Apple's tools change it (CgBI)",
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL ": "a JPEG XL file",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file",
    b"\x76\x2f\x31\x01": "an OpenEXR file",
    b"#?RADIANCE": "a Radiance HDR file",
    b"#?RGBE": "a Radiance HDR file",
    b"II\xbc": "a JPEG XR file",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF file",
    b"%!PS": "a PostScript file",
    b"\xc5\xd0\xd3\xc6": "a PostScript file",
    b"qoif": "a QOI file",
    b"DDS ": "a DDS file",
    b"SIMPLE  =": "a FITS file",
    b"\0\0\1\0": "an icon",
    b"P7\n": "a PAM file",
    b"PF\n": "a PFM file of colours",
    b"FUJIFILMCCD-RAW": "a raw photo of a camera (RAF)",
    b"IIRO": "a raw photo of a camera (ORF)",
    b"IIU\0": "a raw photo of a camera (RW2)",
    b"FOVb": "a raw photo of a camera (X3F)",
}
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE.*?>)*+<svg\b",
    re.DOTALL | re.IGNORECASE,
)
_LOCK, _waiting, _wished = threading.Lock(), 0, False  # Pillow's switch is global


def decode(data: bytes, max_pixels: int, notices: list[str]) -> np.ndarray:
    """The levels (h, w, c) of a file, c 1 or 3: uint8, or float32 in [0, 1].

    Transparent pixels are composited on white; what was done beyond plain decoding is
    appended to notices. Raises ImageError for an image that we refuse, and whatever
    decoders raise for bytes that they cannot read.
    """
    with _truncation_refused():
        raster = _raster(data, max_pixels, notices)
    if raster.orientation > 1:
        boxes = data[4:8] == b"ftyp" and b"Exif" not in data
        reason = "its irot and imir boxes say" if boxes else "its EXIF orientation says"
        notices.append(f"turned upright, as {reason}")
    return finish(raster, notices)


def _raster(data: bytes, max_pixels: int, notices: list[str]) -> Raster:
    if data.startswith(tiff.MAGIC):
        return tiff.read(data, max_pixels, notices)
    if data.startswith(b"BM") and (raster := bmp.read(data, max_pixels, notices)):
        raster.convert = bmp.converter(data, raster.samples.shape[2], notices)
        return raster
    if bmff.kind(data) == "HEIC":
        return heic.read(data, max_pixels, notices)
    _refuse_unread(data)
    if data.startswith(b"\x89PNG"):
        return _png(data, max_pixels, notices)
    with PillowImage.open(io.BytesIO(data), formats=FORMATS) as opened:
        check_pixels(*opened.size, max_pixels)
        if opened.format == "GIF":
            _check_gif(data)
        if opened.format in ("JPEG", "MPO"):
            damage = jpeg.damage(jpeg.markers(data))
            notices.extend([damage] if damage else [])
        if getattr(opened, "is_animated", False):
            notices.append(tiff.FRAMES)
        if raster := _deep_netpbm(opened, data):
            return raster
        tile: Any = opened.tile[0] if opened.tile else None
        frame = tile and tile.extents
        cut = tile and tile.codec_name == "ppm_plain" and tile.args[0] == "RGB"
        cut = cut and tile.args[1] > 255
        opened.load()
        check_pixels(*opened.size, max_pixels)  # a frame may exceed its file's size
        code = bmff.nclx(data) if opened.format == "AVIF" else None
        info = opened.info
        # Pillow gives None for a profile whose parts are out of order.
        profile = (info["icc_profile"] or b"") if "icc_profile" in info else None
        if opened.format == "AVIF" and profile is None and code is None:
            notices.append(bmff.UNTOLD)
        raster = _of_pillow(opened, profile, code, notices)
        if opened.format == "BMP":
            raster.convert = bmp.converter(data, raster.samples.shape[2], notices)
        if opened.format == "GIF" and frame:
            if opened.size != struct.unpack_from("<HH", data, 6):
                notices.append("has a frame beyond its canvas: shown whole")
            _clear_outside(raster, frame, notices)
        av1c = data.find(b"av1C") if opened.format == "AVIF" else -1
        if cut or (av1c >= 0 and data[av1c + 6] & 0x40):  # an AVIF of 10 or 12 bits
            notices.append(_CUT)
        raster.orientation = _orientation(opened.info.get("exif"), notices)
        return raster


def _png(data: bytes, max_pixels: int, notices: list[str]) -> Raster:
    size = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    check_pixels(*size, max_pixels)
    chunks = png.read(data)
    if int.from_bytes(chunks.ancillary.get(b"acTL", b"")[:4]) > 1:
        notices.append(tiff.FRAMES)
    convert = png.converter(chunks, notices)
    if chunks.depth == 16:
        samples, alpha = png.deep_samples(chunks)
        raster = Raster(samples, 65535, convert, alpha)
    else:
        with PillowImage.open(io.BytesIO(chunks.decodable), formats=["PNG"]) as opened:
            opened.load()
            bits = chunks.depth if chunks.colour_type == 0 else 8
            raster = _of_pillow(opened, None, None, notices, bits)
        raster.convert = convert
    raster.orientation = _orientation(png.exif(chunks), notices)
    return raster


def _of_pillow(
    opened: Any,
    profile: bytes | None,
    code: tuple[int, int] | None,
    notices: list[str],
    bits: int = 8,
) -> Raster:
    """The samples of a loaded image; a key of transparency has so many bits."""
    if opened.mode == "F" or opened.mode.startswith("I"):
        return _deep_grey(opened, profile, notices)
    if opened.mode == "P":
        colours = len(opened.palette.palette) // len(opened.palette.mode)
        highest = opened.getextrema()[1]
        if highest >= colours:
            raise ValueError(f"palette index {highest} of {colours} colours")
    if opened.mode in ("1", "P", "PA", "La", "RGBa"):
        opaque = opened.mode == "P" and "transparency" not in opened.info
        modes = {"1": "L", "La": "LA", "P": "RGB" if opaque else "RGBA"}
        opened = opened.convert(modes.get(opened.mode, "RGBA"))
    if opened.mode == "RGBX":
        opened = opened.convert("RGB")
    levels = np.asarray(opened).reshape(opened.height, opened.width, -1)
    alpha = None
    if opened.mode in ("LA", "RGBA"):
        levels, alpha = levels[..., :-1], levels[..., -1:]
    elif (key := opened.info.get("transparency")) is not None:
        # The key counts in the file's bits, Pillow's levels of 2 and 4 bits go to 255.
        key = np.asarray(key) % 2**bits * (255 // (2**bits - 1))
        alpha = (levels != key).any(-1, keepdims=True)
    channels = levels.shape[2]
    convert = None
    if profile is not None:
        convert = colour.from_icc(profile, channels, notices)
    elif channels == 4:
        convert = colour.from_cmyk(notices)
    elif code:
        convert = colour.from_code(*code, channels, notices)
    return Raster(levels, 255, convert, alpha)


def _deep_grey(opened: Any, profile: bytes | None, notices: list[str]) -> Raster:
    """The samples of a loaded grey image of more than 8 bits, or of floats."""
    levels = np.asarray(opened)[..., None]
    if opened.mode == "I":  # a plain Netpbm, which Pillow has scaled
        levels = levels.astype(np.uint16)
    convert = colour.from_icc(profile, 1, notices) if profile else None
    return Raster(levels, 1 if opened.mode == "F" else 65535, convert)


def _deep_netpbm(opened: Any, data: bytes) -> Raster | None:
    """Binary Netpbm of more than 8 bits; Pillow would scale it sample by sample."""
    tile = opened.tile[0] if opened.tile else None
    if not tile or tile.codec_name != "ppm" or tile.args[1] <= 255:
        return None
    shape = (*opened.size[::-1], 3 if tile.args[0] == "RGB" else 1)
    levels = np.frombuffer(data, ">u2", math.prod(shape), tile.offset)
    return Raster(levels.reshape(shape), tile.args[1])


def _clear_outside(raster: Raster, frame: tuple[int, ...], notices: list[str]) -> None:
    """Makes transparent what a GIF's first frame leaves of its canvas."""
    left, top, right, bottom = frame
    height, width = raster.samples.shape[:2]
    if (left, top) == (0, 0) and right >= width and bottom >= height:
        return
    notices.append("has a frame smaller than its canvas")
    inside = np.zeros((height, width, 1), bool)
    inside[top:bottom, left:right] = True
    alpha = raster.alpha
    if alpha is None or alpha.dtype == bool:
        raster.alpha = inside if alpha is None else inside & alpha
    else:
        raster.alpha = alpha * inside.astype(alpha.dtype)


def _check_gif(data: bytes) -> None:
    """Raise ImageError unless the blocks of a GIF end with its end mark."""
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    with contextlib.suppress(IndexError):
        while data[position] != 0x3B:
            if data[position] == 0x2C:
                flags = data[position + 9]
                table = 3 << (flags & 7) + 1 if flags & 0x80 else 0
                position += 11 + table
            elif data[position] == 0x21:
                position += 2
            else:
                break
            while data[position]:
                position += data[position] + 1
            position += 1
        else:
            return
    # What lies between blocks may be anything, as long as the end is marked.
    if not data.rstrip(b"\0").endswith(b";"):
        raise ImageError("truncated: the end mark is missing", HINT)


def _orientation(exif: bytes | None, notices: list[str]) -> int:
    """What EXIF says; XMP alone, which Pillow would ask too, turns nothing."""
    try:
        tags = PillowImage.Exif()
        tags.load(exif or b"")
        value = tags.get(Tag.Orientation, 1)
    except Exception:  # as many kinds as in decoding
        notices.append("has broken EXIF data: ignored")
        return 1
    return value if value in range(2, 9) else 1


def _refuse_unread(data: bytes) -> None:
    """Raise ImageError with the name of a sound file that is not read."""
    for magic, name in _UNREAD.items():
        if data.startswith(magic):
            raise ImageError(f"{name}, which is not read", _CONVERT)
    if _SVG.match(data[:4096]):
        raise ImageError("an SVG drawing, which is not read", _CONVERT)
    if data[4:8] == b"ftyp" and not bmff.kind(data):
        raw = data[8:12] == b"crx "
        name = "a raw photo of a camera (CR3)" if raw else "a film (MP4 or alike)"
        raise ImageError(f"{name}, which is not read", _CONVERT)


@contextlib.contextmanager
def _truncation_refused() -> Iterator[None]:
    """Sets aside a host program's wish that Pillow show truncated images."""
    global _waiting, _wished
    with _LOCK:
        if _waiting == 0:
            _wished = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _waiting += 1
    try:
        yield
    finally:
        with _LOCK:
            _waiting -= 1
            if _waiting == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = _wished
