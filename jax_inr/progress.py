"""The progress of a fit: a live bar, or plain lines in a log file."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from jax_inr.lanes import Progress
from jax_inr.metrics import psnr_from_mse

PLAIN_SECONDS = 5.0  # between two plain lines


class Meter:
    """Shows how much is done while open.

    On a terminal and in a notebook a live bar; elsewhere a plain line every few
    seconds, and the last one in any case if `keep_last`. `quiet` shows nothing.
    """

    def __init__(
        self, console: Console, unit: str, quiet: bool = False, keep_last: bool = False
    ) -> None:
        self.console = console
        self.began = False  # whether anything has been told
        self._unit, self._keep_last = unit, keep_last
        self._silent = quiet
        self._live: RichProgress | None = None
        self._task: Any = None
        self._next_line = 0.0
        self._last = ""

    def __enter__(self):
        live = self.console.is_terminal or self.console.is_jupyter
        if live and not self._silent:
            self._live = RichProgress(
                TextColumn(self._unit),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._live.add_task("", total=None, status="compiling …")
            self._live.start()
        return self

    def tell(
        self, done: int, total: int, status: str, seconds_left: float | None
    ) -> None:
        """Say how much is done: a unit of work, all of it, words, time left or None."""
        self.began = True
        if self._live is not None:
            self._live.update(self._task, completed=done, total=total, status=status)
        elif not self._silent:
            words = f"  {status}" if status else ""
            left = "" if seconds_left is None else f"  {seconds_left:.0f} s left"
            self._last = f"{self._unit} {done}/{total}{words}{left}"
            if time.monotonic() >= self._next_line:
                self._print_line()
                self._next_line = time.monotonic() + PLAIN_SECONDS

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._keep_last:
            self._print_line()

    def _print_line(self) -> None:
        if self._last:
            self.console.print(
                self._last, highlight=False, markup=False, soft_wrap=True
            )
        self._last = ""


class Display(Meter):
    """Shows a fit, or many at once: call it with the loop's `Progress`."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        super().__init__(console, "step", quiet, keep_last=True)

    def __call__(self, progress: Progress) -> None:
        left = (progress.steps - progress.step) / progress.steps_per_second
        self.tell(progress.step, progress.steps, status(progress), left)


@contextlib.contextmanager
def shown_beside(
    on_progress: Callable[[Progress], None],
) -> Iterator[Callable[[Progress], None]]:
    """Show a fit on standard output while open; `on_progress` is called as well."""
    with Display(Console()) as display:

        def both(progress: Progress) -> None:
            display(progress)
            on_progress(progress)

        yield both


def status(progress: Progress) -> str:
    """Loss and its PSNR, the newest evaluation and its step, the speed."""
    parts = [f"loss {progress.loss:.3g}"]
    if math.isfinite(progress.loss):
        parts[0] += f" (its PSNR {psnr_from_mse(progress.loss):.2f} dB)"
    if progress.evaluated_step and math.isfinite(progress.psnr_db):
        parts.append(
            f"evaluated {progress.psnr_db:.2f} dB at step {progress.evaluated_step}"
        )
    return "  ".join([*parts, f"{progress.steps_per_second:.3g} steps/s"])
