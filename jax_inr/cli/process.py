"""The process around a command: its streams, its signals, its devices.

Streams may be closed, full or gone, and no run dies of them. The first signal asks a
run to end and save; the second ends the process.
"""

import atexit
import contextlib
import dataclasses
import errno
import gc
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from jax_inr.cli.programs import keep_programs
from jax_inr.config import Config
from jax_inr.errors import (
    ConfigError,
    DeviceError,
    Interrupted,
    JaxInrError,
    OutputError,
)

# SIGUSR1 and SIGXCPU are what a cluster sends before it ends a job.
HANDLED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
    if hasattr(signal, name)
)
# They come several times without anyone's having lost patience: a closing terminal
# sends SIGHUP twice, and the kernel SIGXCPU each second.
_PATIENT = tuple(n for n in HANDLED if n not in (signal.SIGINT, signal.SIGTERM))

# Python looks for cycles once more when it ends, which takes half a second for what a
# command has imported and frees what the system frees anyway.
atexit.register(gc.freeze)


def prepare_streams() -> None:
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
    with dropping(sys.stderr):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Has Python look for cycles a hundred times less often, while open.

    Imports, tracing and figures make a million objects that stay, and every look at
    them finds nothing: a tenth of a short command's time.
    """
    before = gc.get_threshold()
    gc.set_threshold(100 * before[0], *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def dropping(stream: Any) -> Iterator[None]:
    """Has a stream forget what it cannot write, when the process ends too."""
    try:
        yield
    except OSError:
        _forget(stream)


def _forget(stream: Any) -> None:
    # From here on, and for what is still buffered, there is the null device.
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), stream.fileno())


def notice(text: str) -> None:
    """Print a notice on standard error: what the user may not expect."""
    say(f"notice: {text}")


def explain(error: BaseException) -> tuple[str, int]:
    """An error in one line for the user, and the exit code of the command."""
    match error:
        case JaxInrError(hint=hint) if hint:
            return f"{error}; {as_options(hint)}", error.exit_code
        case JaxInrError() | Interrupted():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "stopped by SIGINT", 128 + signal.SIGINT
        case OSError():
            return str(error), OutputError.exit_code
        case ModuleNotFoundError(name=name):
            return f'{name} is not installed; pip install -e "."', ConfigError.exit_code
        case MemoryError():
            return "out of memory; take a smaller image", DeviceError.exit_code
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}", 1


def as_options(text: str) -> str:
    """A hint of the library, which speaks Python, in the words of the command line.

    `steps=3` of a config field becomes `--steps 3`, `overwrite=True` an option too.
    """
    text = text.replace("overwrite=True", "--overwrite")
    names = "|".join(field.name for field in dataclasses.fields(Config))

    def option(found: re.Match[str]) -> str:
        return f"--{found[1].replace('_', '-')} {found[3]}"

    return re.sub(rf"(?<![\w/-])({names})=([\"']?)([\w.+-]*\w)\2", option, text)


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
            _forget(self._stream)
            if error.errno != errno.EPIPE:
                say(f"notice: nothing more is printed: {error.strerror}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class SignalGuard:
    """While open, remembers the first signal in `received` instead of dying of it.

    Python runs handlers only between calls into compiled code, so whoever is given
    the guard calls it after each chunk of work: it returns the signal's name, or "".
    A second signal ends the process at once: it meets the system's default, or, where
    compiled code has kept even the first from its handler, a thread that watches.
    Signals that come several times of themselves are not heard a second time.
    Closing restores the handlers found. Outside the main thread, where Python allows
    no handlers, it does nothing.
    """

    received: signal.Signals | None = None
    _writer: int | None = None

    def __call__(self) -> str:
        return self.received.name if self.received else ""

    def __enter__(self) -> "SignalGuard":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED:
                # Ignored on purpose, by nohup say: leave it so.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._first)
            reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            watch = threading.Thread(target=_end_at_second, args=(reader,), daemon=True)
            watch.start()
        return self

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for handled in self._before:
            # No SIG_IGN: Python complains of one that comes in this very moment.
            patient = handled in _PATIENT
            signal.signal(handled, _nothing if patient else signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._writer)  # which ends the watch
            self._writer = None
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


def _end_at_second(reader: int) -> None:
    """End the process when two signals' numbers have come through a pipe."""
    first = False
    with open(reader, "rb", buffering=0) as pipe:
        while read := pipe.read(1):
            number = read[0]
            if number not in HANDLED or (first and number in _PATIENT):
                continue
            if first:
                os._exit(128 + number)
            first = True


def prepare_device(device: str) -> None:
    """Settings that have to be there before JAX is imported."""
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    keep_programs()
