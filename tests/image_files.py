"""Image files made by hand or by other writers, and the colour maths to judge by."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image as PillowImage

LOSSY = ("JPEG", "AVIF")


def encode(picture: PillowImage.Image | np.ndarray, kind: str, **options) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = PillowImage.fromarray(picture)
    if kind == "WEBP":
        options = {"lossless": True, "exact": True, **options}
    if kind in LOSSY:
        options = {"quality": 100, "subsampling": "4:4:4", **options}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body)) + name + body + zlib.crc32(name + body).to_bytes(4)
    )


def png(array: np.ndarray, colour_type: int, depth: int, *extra: bytes) -> bytes:
    """A PNG of packed or big-endian rows, written by hand; extra: chunks."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colour * alpha + 1 - alpha


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    low = linear * 12.92
    return np.where(linear <= 0.0031308, low, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_decode(encoded: np.ndarray) -> np.ndarray:
    high = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, high)


# Columns: the primaries in XYZ, adapted to D50, as their ICC profiles hold them.
DISPLAY_P3 = np.array(
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)
SRGB = np.array(
    [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)


def fixed(*numbers: float) -> bytes:
    return b"".join(
        round(number * 65536).to_bytes(4, signed=True) for number in numbers
    )


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """An ICC version 2 profile; ICC.1:2001-04, sections 6.1 to 6.5."""
    connection = b"Lab " if b"A2B0" in tags else b"XYZ "
    d50 = fixed(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        offset = 132 + 12 * len(tags) + len(body)
        table += name + struct.pack(">II", offset, len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = bytes(4) + bytes(4) + b"\2\x10\0\0" + kind + space + connection
    head += bytes(12) + b"acsp" + bytes(28) + d50
    whole = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def curve(values: np.ndarray) -> bytes:
    table = np.rint(values * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(table)) + table.tobytes()


def matrix_profile(primaries: np.ndarray) -> bytes:
    tone = curve(srgb_decode(np.linspace(0, 1, 1024)))
    tags = {}
    for letter, column in zip(b"rgb", primaries.T, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
        tags[bytes([letter]) + b"TRC"] = tone
    return profile(b"RGB ", tags)
