"""PNG files: what is damaged, what their ancillary chunks say, and 16-bit samples.

https://www.w3.org/TR/png-3/
"""

import contextlib
import zlib
from dataclasses import dataclass, field

import numpy as np

from jax_inr.errors import ImageError
from jax_inr.io import colour
from jax_inr.io.raster import Convert

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First row and column, steps down and across, of each pass of an interlaced image.
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
# Chunks that the decoder needs. The others are read here: Pillow refuses long texts
# and profiles, and takes a tRNS that comes too late.
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_BEFORE_PLTE = {b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM"}
_TOLD = {*_BEFORE_PLTE, b"tRNS", b"eXIf", b"acTL"}
_RAW_EXIF = b"Raw profile type exif\0"  # what ImageMagick wrote before eXIf was
_HINT = "convert it to a plain PNG first"
_MAX_INFLATED_BYTES = 2**24


@dataclass
class Chunks:
    """A PNG's header, its other chunks in their place, and the bytes to decode."""

    depth: int
    colour_type: int
    decodable: bytes
    ancillary: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """The channels of colour: 1 or 3."""
        return 1 if self.colour_type in (0, 4) else 3


def read(data: bytes) -> Chunks:
    """The chunks of a PNG; ValueError unless all rows and critical checksums hold.

    Pillow skips the checksums of IDAT and IEND, and leaves rows black where the
    compressed stream ends early. Ancillary chunks with a wrong checksum are dropped.
    """
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if data[:8] != _SIGNATURE:
        raise ValueError("its signature was changed, as by a transfer of text")
    if data[12:16] != b"IHDR" or len(data) < 33 or data[25] not in _BITS:
        raise ValueError("no header of a PNG")
    bits = data[24] * _BITS[data[25]]
    missing = 0
    for top, left, down, across in _ADAM7 if data[28] else ((0, 0, 1, 1),):
        rows, columns = -((top - height) // down), -((left - width) // across)
        missing += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    view, position, name, stream = memoryview(data), 8, b"", zlib.decompressobj()
    kept: list[bytes | memoryview] = [_SIGNATURE]
    ancillary: dict[bytes, bytes] = {}
    late: set[bytes] = set()  # chunks that must come before what has been read
    while name != b"IEND":
        end = position + 8 + int.from_bytes(data[position : position + 4])
        name, checksum = data[position + 4 : position + 8], data[end : end + 4]
        if len(checksum) < 4:
            raise ValueError("the file ends early")
        sound = zlib.crc32(view[position + 4 : end]) == int.from_bytes(checksum)
        critical = name in _CRITICAL or not name[:1].islower()
        if not sound and critical:
            raise ValueError(f"wrong checksum in chunk {name.decode('latin-1')}")
        if critical and name not in _CRITICAL:
            reason = f"a PNG with the unknown chunk {name.decode('latin-1')}"
            raise ImageError(f"{reason}, without which it means nothing", _HINT)
        told = name in _TOLD and sound and name not in late
        if (
            name in (b"tEXt", b"zTXt")
            and sound
            and data.startswith(_RAW_EXIF, position + 8)
        ):
            ancillary.setdefault(name, bytes(view[position + 8 : end]))
        if told:
            ancillary.setdefault(name, bytes(view[position + 8 : end]))
        # Of a key libpng would make an alpha, which is done here.
        if name in _CRITICAL or (told and name == b"tRNS" and data[24] < 16):
            kept.append(view[position : end + 4])
        if name == b"PLTE":
            late |= _BEFORE_PLTE
        if name == b"IDAT":
            late |= _BEFORE_PLTE | {b"tRNS"}
        pending = view[position + 8 : end] if name == b"IDAT" else b""
        while pending and missing > 0:
            missing -= len(stream.decompress(pending, 2**20))
            pending = stream.unconsumed_tail
        position = end + 4
    if missing > 0 and missing > len(stream.flush()):
        raise ValueError("rows are missing")
    return Chunks(data[24], data[25], b"".join(kept), ancillary)


def converter(chunks: Chunks, notices: list[str]) -> Convert | None:
    """By cICP, else iCCP, else sRGB, else gAMA and cHRM: the order of the standard."""
    found, channels = chunks.ancillary, chunks.channels
    code = found.get(b"cICP", b"")
    if len(code) == 4 and code[2] == 0:
        if code[3] == 0:
            notices.append("has video levels (16 to 235): shown as full ones")
        return colour.from_code(code[0], code[1], channels, notices)
    if b"iCCP" in found:
        return colour.from_icc(_inflated(found[b"iCCP"]), channels, notices)
    if b"sRGB" in found:
        return None
    gamma = int.from_bytes(found.get(b"gAMA", b"")[:4]) / 100_000 or None
    corners = np.frombuffer(found.get(b"cHRM", b"")[:32].ljust(32, b"\0"), ">u4") / 1e5
    white, rgb = corners[:2], corners[2:]
    xy = tuple(map(float, (*rgb, *white))) if corners.all() else None
    return colour.from_gamma(gamma, xy, channels, notices)


def exif(chunks: Chunks) -> bytes:
    """The EXIF data of the eXIf chunk, or of the text that came before it."""
    found = chunks.ancillary
    text = found.get(b"tEXt", b"")[len(_RAW_EXIF) :]
    text = text or (_inflated(found[b"zTXt"]) if b"zTXt" in found else b"")
    with contextlib.suppress(ValueError):
        return found.get(b"eXIf") or bytes.fromhex("".join(text.decode().split()[2:]))
    return b""


def _inflated(body: bytes) -> bytes:
    """What a chunk holds after its name; empty if it is broken or beyond 16 MiB."""
    packed = body[body.find(b"\0") + 2 :]
    try:
        stream = zlib.decompressobj()
        whole = stream.decompress(packed, _MAX_INFLATED_BYTES)
    except zlib.error:
        return b""
    return whole if stream.eof else b""


def deep_samples(chunks: Chunks) -> tuple[np.ndarray, np.ndarray | None]:
    """The uint16 samples (h, w, 1 or 3) and alpha (h, w, 1) of a 16-bit PNG."""
    import imagecodecs

    levels: np.ndarray = imagecodecs.png_decode(chunks.decodable)
    levels = levels.reshape(*levels.shape[:2], -1)
    if chunks.colour_type in (4, 6):
        return levels[..., :-1], levels[..., -1:]
    key = np.frombuffer(chunks.ancillary.get(b"tRNS", b""), ">u2")
    if len(key) != levels.shape[2]:
        return levels, None
    return levels, (levels != key).any(-1, keepdims=True)
