"""Files of anybody, opened to be read: regular ones alone, without waiting.

Imports neither JAX nor torch.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from jax_inr.errors import CheckpointError
from jax_inr.io.text import StrPath, shown


@contextlib.contextmanager
def reading(path: StrPath) -> Iterator[BinaryIO]:
    """Opens a regular file; CheckpointError otherwise, without waiting for a FIFO."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"cannot read {shown(path)}: not a regular file")
            yield file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot read {shown(path)}: {reason}") from error


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
