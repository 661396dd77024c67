"""Files of anybody, opened to be read: regular ones alone, and no more than is due.

Imports neither JAX nor torch.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from jax_inr.errors import CheckpointError, JaxInrError
from jax_inr.io.text import MAX_JSON_BYTES, StrPath, from_json, shown

_PIECE_BYTES = 2**20


def refuse_link(path: StrPath, kind: type[JaxInrError]) -> None:
    """Raise an error of a kind where a path is a link.

    A run's folder may be a stranger's, and its links lead to files of the user's.
    """
    if os.path.islink(path):
        problem = "is a link, and no link is followed in a run's folder"
        raise kind(
            f"{shown(path)} {problem}", "remove it, or put the file itself there"
        )


@contextlib.contextmanager
def reading(path: StrPath, *, follow: bool = True) -> Iterator[BinaryIO]:
    """Opens a regular file; CheckpointError otherwise, without waiting for a FIFO.

    `follow`: whether `path` may be a link. A `~` at its start is the user's home.
    """
    flags = os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        if not follow:
            refuse_link(path, CheckpointError)
        path = os.path.expanduser(path)
        with open(path, "rb", opener=lambda p, f: os.open(p, f | flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"cannot read {shown(path)}: not a regular file")
            yield file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot read {shown(path)}: {reason}") from error


def read_bounded(file: BinaryIO, most: int) -> bytes:
    """The bytes of an open file; of one with more than `most`, more than `most`.

    Takes the memory of the bytes that are there: a file of /proc says that it has none
    and gives any number, and `read(most)` would take `most` at once.
    """
    pieces, left = [], most + 1
    while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_json(path: StrPath, *, follow: bool = True, most: int = MAX_JSON_BYTES) -> Any:
    """The value of a JSON file of at most so many bytes.

    Raises:
        CheckpointError: the file cannot be read, is larger, or is no JSON.
    """
    with reading(path, follow=follow) as file:
        data = read_bounded(file, most)
    if len(data) > most:
        problem = f"has more than {most} bytes"
        raise CheckpointError(f"{shown(path)} is damaged: it {problem}")
    try:
        return from_json(data)
    except ValueError as error:
        raise CheckpointError(f"{shown(path)} is damaged: {error}") from error
