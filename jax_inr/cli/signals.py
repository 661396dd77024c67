"""Signals: the first asks the fit to end and save, the second ends the process."""

import os
import signal
import threading
from types import FrameType

HANDLED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
_SIGHUP = getattr(signal, "SIGHUP", None)


class SignalGuard:
    """While open, remembers the first signal in `received` instead of dying of it.

    Python runs handlers only between calls into compiled code, so whoever holds the
    guard looks at `received` after each chunk. A second signal ends the process at
    once: it meets the system's default, or, where compiled code has kept even the
    first from its handler, a thread that watches. A SIGHUP after a SIGHUP is not
    heard: a closing terminal sends two. Closing restores the handlers found.
    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    received: signal.Signals | None = None
    _writer: int | None = None

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
            again = handled == number == _SIGHUP
            # No SIG_IGN: Python complains of one that comes in this very moment.
            signal.signal(handled, _nothing if again else signal.SIG_DFL)

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
    first = 0
    with open(reader, "rb", buffering=0) as pipe:
        while read := pipe.read(1):
            number = read[0]
            if number not in HANDLED or first == number == _SIGHUP:
                continue
            if first:
                os._exit(128 + number)
            first = number
