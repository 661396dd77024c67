"""Standard output and error that may be closed, full or gone: no run dies of them."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any


def prepare() -> None:
    """Give the process three open streams that can show any text.

    A descriptor that was closed at the start would be handed to the next file that is
    opened, and messages would end up in a checkpoint.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line on standard error, where that is possible."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Output:
    """Standard output that forgets what it cannot write, and says so once.

    A reader that has gone, as `| head` does, is not worth a word.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout  # now: a live display replaces it by itself

    def write(self, text: str) -> int:
        with self._or_drop():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._or_drop():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_drop(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # From here on, and for what is still buffered, there is the null device.
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), self._stream.fileno())
            if error.errno != errno.EPIPE:
                say(f"notice: nothing more is printed: {error.strerror}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
