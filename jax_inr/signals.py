"""Signals: the first asks the fit to end and save, the second ends the process."""

import signal
import threading
from types import FrameType

HANDLED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)


class SignalGuard:
    """While open, remembers the first signal in `received` instead of dying of it.

    Python runs handlers only between calls into compiled code, so whoever holds the
    guard looks at `received` after each chunk. A second signal meets the system's
    default and ends the process at once. Closing restores the handlers found.
    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> "SignalGuard":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED:
                # Ignored on purpose, by nohup say: leave it so.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._first)
        return self

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for handled in self._before:
            signal.signal(handled, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
