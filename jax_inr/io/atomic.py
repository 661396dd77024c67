"""Files that are whole or absent, at any moment and after any error.

Imports neither JAX nor torch.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jax_inr.errors import OutputError
from jax_inr.io.text import StrPath, shown

TEMP_PATTERN = ".jax_inr-*.tmp"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def output_errors(path: StrPath) -> Iterator[None]:
    """Turns an OSError into an OutputError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        free = "free some space, or " if error.errno in _FULL else ""
        raise OutputError(
            f"cannot write {shown(path)}: {error.strerror or error}",
            f"{free}choose another folder",
        ) from error


def sync(path: StrPath) -> None:
    """Brings a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: StrPath, data: bytes | bytearray) -> None:
    """Writes a file so that at any moment its old or its new content is there.

    Raises OutputError; the old content then stays, and no temporary file does.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: StrPath) -> Iterator[BinaryIO]:
    """Opens a file to write piece by piece; it takes its name when the block is done.

    Raises OutputError. After any error in the block the old content stays, and no
    temporary file does.
    """
    path = Path(path)
    # Not made from the file's own name, which may be as long as a name can be.
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    temp = path.parent / TEMP_PATTERN.replace("*", unique)
    with output_errors(path):
        # A rename would put a file in the place of a device.
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {shown(path)}: it exists and is no file")
        try:
            with open(temp, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        sync(path.parent)
