"""What a person sees of experiments: a line for each, and its steps meanwhile."""

import sys
import time

from jax_inr.cli.process import Output

PLAIN_SECONDS = 10.0  # between two lines where no terminal is
LIVE_SECONDS = 0.2


class Counter:
    """Shows experiments while open; on a terminal their steps count up in place."""

    def __init__(self) -> None:
        self._output = Output()
        self._live = sys.stdout.isatty()
        self._title, self._next = "", 0.0

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and self._live:
            self._output.write("\n")

    def begin(self, title: str) -> None:
        """An experiment begins."""
        self._title, self._next = title, time.monotonic() + PLAIN_SECONDS
        if self._live:
            self._show(f"{title} …")

    def tell(self, done: int, steps: int) -> None:
        """So many of its steps are done."""
        if time.monotonic() >= self._next:
            seconds = LIVE_SECONDS if self._live else PLAIN_SECONDS
            self._next = time.monotonic() + seconds
            self._show(f"{self._title}: step {done}/{steps}")

    def end(self, text: str) -> None:
        """The experiment has ended; `text` says how."""
        self._show(f"{self._title}: {text}")
        if self._live:
            self._output.write("\n")

    def _show(self, line: str) -> None:
        # To the line's start, and what was longer before is cleared.
        self._output.write(f"\r{line}\x1b[K" if self._live else f"{line}\n")
        self._output.flush()
