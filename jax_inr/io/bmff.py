"""AVIF and HEIC files: the brands and the colour signal of their boxes.

ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

from collections.abc import Iterator

_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_IMAGE = {b"mif1", b"msf1", b"mif2"}
_MAX_BOXES = 10_000
# The coded stream may still tell; decoders ask it, and we do not.
UNTOLD = "says nothing of its colours in its boxes: taken for sRGB"


def kind(data: bytes) -> str:
    """AVIF, HEIC or empty, by the brands of the ftyp box."""
    if data[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(data[:4]), len(data), 4096)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC or data[8:12] in _IMAGE else ""


def nclx(data: bytes) -> tuple[int, int] | None:
    """The primaries and the transfer of H.273 that the primary image declares.

    None where it declares none. An ICC profile beside it counts before.
    """
    for name, body in _properties(data):
        if name == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            return int.from_bytes(body[4:6]), int.from_bytes(body[6:8])
    return None


def is_turned(data: bytes) -> bool:
    """Whether the primary image's irot and imir boxes turn or mirror it."""
    return any(
        name == b"imir" or (name == b"irot" and any(byte & 3 for byte in body[:1]))
        for name, body in _properties(data)
    )


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and body of the properties of the primary image."""
    meta = _first(data, 0, len(data), b"meta")
    if meta is None:
        return []
    inner = meta[0] + 4, meta[1]
    primary, properties = _first(data, *inner, b"pitm"), _first(data, *inner, b"iprp")
    if primary is None or properties is None:
        return []
    wide = data[primary[0]] > 0
    item = int.from_bytes(data[primary[0] + 4 : primary[0] + (8 if wide else 6)])
    container = _first(data, *properties, b"ipco")
    listed = _first(data, *properties, b"ipma")
    if container is None or listed is None:
        return []
    boxes = list(_boxes(data, *container))
    return [
        (boxes[number][0], data[boxes[number][1] : boxes[number][2]])
        for number in _associations(data, listed, item)
        if number < len(boxes)
    ]


def _associations(data: bytes, box: tuple[int, int], item: int) -> Iterator[int]:
    """The indices, from 0, of an item's properties."""
    position, end = box
    version, wide = data[position], data[position + 3] & 1
    count, position = int.from_bytes(data[position + 4 : position + 8]), position + 8
    for _ in range(min(count, _MAX_BOXES)):
        size = 4 if version else 2
        found = int.from_bytes(data[position : position + size])
        if position + size >= end:
            return
        number, position = data[position + size], position + size + 1
        for _ in range(number):
            index = int.from_bytes(data[position : position + 1 + wide])
            position += 1 + wide
            if found == item:
                yield (index & (0x7FFF if wide else 0x7F)) - 1


def _first(data: bytes, start: int, end: int, name: bytes) -> tuple[int, int] | None:
    """Where the body of the first box of a name lies."""
    return next((box[1:] for box in _boxes(data, start, end) if box[0] == name), None)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the body of each box in a part of the file."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, name = (
            int.from_bytes(data[start : start + 4]),
            data[start + 4 : start + 8],
        )
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16])
        stop = min(start + size, end) if size else end
        if stop < start + head:
            return
        yield name, start + head, stop
        start = stop
