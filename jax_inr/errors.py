"""What can go wrong, said in one line: the project's exceptions and exit codes."""


class JaxInrError(Exception):
    """An error whose text is one line for the user; `hint` says what to do.

    `exit_code` is what the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(JaxInrError):
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


class OutputError(JaxInrError):
    """Something cannot be written: disk, permissions, another run's lock."""

    exit_code = 6


class DeviceError(JaxInrError):
    """The device asked for is absent, or its memory does not suffice."""

    exit_code = 7


class Interrupted(KeyboardInterrupt):
    """A signal ended the fit after its state was saved.

    A KeyboardInterrupt, so that a user's own `except Exception` does not swallow
    it; `exit_code` is 128 + the signal's number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
