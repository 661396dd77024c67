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

# What file systems say that cannot bring a folder's names to the disk, as some of
# FUSE and SMB cannot.
_NO_SYNC = (
    errno.EINVAL,
    errno.EBADF,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def output_errors(path: StrPath) -> Iterator[None]:
    """Turns an OSError into an OutputError that names `path` and the reason."""
    if "\0" in os.fspath(path):
        reason = "a file's name has no NUL"
        raise OutputError(f"cannot write {shown(path)}: {reason}", "name it otherwise")
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        free = "free some space, or " if error.errno in _FULL else ""
        raise OutputError(
            f"cannot write {shown(path)}: {error.strerror or error}",
            f"{free}choose another folder",
        ) from error


def sync(path: StrPath) -> None:
    """Brings a file, or a folder's list of names, to the disk, where that can be."""
    # A FIFO would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_atomic(
    path: StrPath, data: bytes | bytearray, *, follow: bool = False
) -> None:
    """Writes a file so that at any moment its old or its new content is there.

    Raises OutputError; the old content then stays, and no temporary file does. See
    `atomic_file` for `follow`.
    """
    with atomic_file(path, follow=follow) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: StrPath, *, follow: bool = False) -> Iterator[BinaryIO]:
    """Opens a file to write piece by piece; it takes its name when the block is done.

    `follow`: where `path` is a link, write what it leads to; without, the file takes
    the link's place. A `~` at the start is the user's home. Raises OutputError. After
    any error in the block the old content stays, and no temporary file does.
    """
    path = Path(os.path.expanduser(path))
    # Not made from the file's own name, which may be as long as a name can be.
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    with output_errors(path):
        if follow and path.is_symlink():
            # A target that is not there yet is made; a loop of links is an error.
            with contextlib.suppress(FileNotFoundError):
                os.stat(path)
            path = Path(os.path.realpath(path))
        temp = path.parent / TEMP_PATTERN.replace("*", unique)
        # A rename would put a file in the place of a device.
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {shown(path)}: it exists and is no file")
        try:
            # To be read too: HDF5 looks at what it has written.
            with open(temp, "x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        sync(path.parent)
