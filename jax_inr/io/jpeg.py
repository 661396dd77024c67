"""JPEG streams: what their markers say, and the damage that libjpeg passes over."""

import re
from typing import NamedTuple

from jax_inr.errors import ImageError

# A file of more is made to take time: those of 7000x7000 take 8 ms a scan.
MAX_SCANS = 500

# In entropy-coded data: 0xff00 is a byte, 0xffd0 to 0xffd7 mark restarts.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END, _SCAN, _JPEG_LS, _LOSSLESS = 0xD9, 0xDA, 0xF7, 0xC3
# What a file tells beside its pixels: APP0 to 15 but Adobe's 14, and comments.
_TOLD = {*range(0xE0, 0xF0), 0xFE} - {0xEE}
_FRAMES = {*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC}
_READ = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_HINT = "save it as an 8-bit JPEG or as PNG"


class Stream(NamedTuple):
    """The largest frame of a stream, how it is coded, and what its pixels need."""

    height: int
    width: int
    lossless: bool
    essential: bytes


def markers(data: bytes) -> Stream:
    """Read the markers; ImageError for a kind of JPEG that is not read."""
    position, scans, height, width, lossless = 2, 0, 0, 0, False
    kept = [data[:2]]
    while match := _MARKER.search(data, position):
        marker, start = data[match.start() + 1], match.end()
        if marker == _END:
            kept.append(data[match.start() : start])
            break
        position = start + max(2, int.from_bytes(data[start : start + 2]))
        if marker in _FRAMES:
            body = data[start + 2 : start + 7].ljust(5, b"\0")
            if marker not in (*_READ, _LOSSLESS):
                kind = "JPEG-LS" if marker == _JPEG_LS else "hierarchical JPEG"
                raise ImageError(f"a file of {kind}, which is not read", _HINT)
            if 8 < body[0] <= 16:
                reason = f"a JPEG of {body[0]} bits per channel, which is not read"
                raise ImageError(reason, _HINT)
            height = max(height, int.from_bytes(body[1:3]))
            width = max(width, int.from_bytes(body[3:5]))
            lossless |= marker == _LOSSLESS
        end = position
        if marker == _SCAN:
            following = _MARKER.search(data, position)
            position = end = following.start() if following else len(data)
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError(f"a JPEG of more than {MAX_SCANS} scans", _HINT)
        if marker not in _TOLD:
            kept.append(data[match.start() : end])
    return Stream(height, width, lossless, b"".join(kept))


def damage(stream: Stream) -> str:
    """What libjpeg says of a stream's damage, as a notice; empty where nothing.

    It goes on after a bad code word, with wrong pixels from there on.
    """
    import simplejpeg

    if stream.lossless:
        return ""
    try:
        # At its full size: a smaller one would be quicker, but libjpeg writes past the
        # end of what is lossless then, and the markers may yet hide that it is.
        simplejpeg.decode_jpeg(stream.essential, "GRAY")
    except (ValueError, MemoryError) as error:
        # Another error is the decoder's own to raise, or is none of the pixels.
        kind, _, words = str(error).partition(": ")
        if kind in ("Corrupt JPEG data", "Premature end of JPEG file"):
            # All pixels were found before the bytes that are too many.
            verb = "may be" if "extraneous" in words else "is"
            return f"{verb} damaged ({words or kind}): parts of it may be wrong"
    return ""
