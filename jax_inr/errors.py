"""What can go wrong, said in one line: the project's exceptions and exit codes."""

from collections.abc import Sequence
from typing import Any

MAX_MESSAGE = 2000  # characters of an error


def printable(text: str, most: int = 500) -> str:
    """Text of a stranger as one line of `most` characters or fewer, safe to show.

    What does not print is escaped as in Python, so that no file speaks to a terminal;
    of a longer text the middle is left out.
    """
    # Cut before as well: only what is shown is looked at.
    text = _cut(text, most)
    if not text.isprintable():
        text = _cut(
            "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), most
        )
    return text


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = most - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


class JaxInrError(Exception):
    """An error whose text is one line for the user; `hint` says what to do.

    Whatever the message quotes, it is made printable and bounded here. The hint is a
    note of the exception too, so that a traceback shows it. `exit_code` is what the
    command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(printable(message, MAX_MESSAGE))
        self.hint = printable(hint, MAX_MESSAGE)
        if hint:
            self.add_note(self.hint)


class ConfigError(JaxInrError, ValueError):
    """An option or a field of the config is wrong."""

    exit_code = 2


class ImageError(JaxInrError):
    """An image cannot be read, or not without showing something wrong."""

    exit_code = 3


class CheckpointError(JaxInrError):
    """A field file or a checkpoint is damaged, foreign or too new."""

    exit_code = 4


class DivergedError(JaxInrError):
    """The loss is not finite any more."""

    exit_code = 5


class OutputError(JaxInrError, OSError):
    """Something cannot be written: disk, permissions, another run's lock."""

    exit_code = 6


class DeviceError(JaxInrError):
    """The device asked for is absent, or its memory does not suffice."""

    exit_code = 7


class Interrupted(KeyboardInterrupt):
    """A signal ended the fit after its state was saved.

    A KeyboardInterrupt, so that a user's own `except Exception` does not swallow
    it. `fits` are the fits as far as they got; `exit_code` is 128 + the signal's
    number.
    """

    def __init__(
        self, message: str, signal_number: int, fits: Sequence[Any] = ()
    ) -> None:
        super().__init__(printable(message, MAX_MESSAGE))
        self.exit_code = 128 + signal_number
        self.fits = tuple(fits)

    @property
    def fit(self) -> Any:
        """The fit as far as it got, of a single one."""
        return self.fits[0]


def unsupported(error: ImportError) -> DeviceError:
    """What a system is told that lacks a module which Linux and macOS have."""
    return DeviceError(
        f"jax_inr runs on Linux and macOS; this system has no {error.name}",
        "on Windows, use the Windows Subsystem for Linux",
    )
