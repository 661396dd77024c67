"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from jax_inr.cli.process import Output
from jax_inr.lanes import Progress
from jax_inr.metrics import psnr_from_mse

PLAIN_SECONDS = 5.0  # between two plain lines


class Meter:
    """Shows how much is done while open.

    On a terminal a live bar; elsewhere a plain line every few seconds, and the last
    one in any case if `keep_last`. `quiet` shows nothing.
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
        if not self._silent and self.console.is_terminal:
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

    def tell(self, done: int, total: int, status: str, seconds_left: float) -> None:
        """Say how much is done: a unit of work, all of it, words, time left."""
        self.began = True
        if self._live is not None:
            self._live.update(self._task, completed=done, total=total, status=status)
        elif not self._silent:
            words = f"  {status}" if status else ""
            self._last = (
                f"{self._unit} {done}/{total}{words}  {seconds_left:.0f} s left"
            )
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


class Rows(Meter):
    """Shows a render: call it with the number of rows of each strip."""

    def __init__(self, console: Console, height: int, quiet: bool = False) -> None:
        super().__init__(console, "row", quiet)
        self._height, self._done = height, 0
        self._start = time.monotonic()
        self._next_line = self._start + PLAIN_SECONDS

    def __call__(self, rows: int) -> None:
        self._done += rows
        seconds = time.monotonic() - self._start
        left = seconds * (self._height / self._done - 1)
        self.tell(self._done, self._height, "", left)


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


def closing_table(summary: dict[str, Any]) -> Table:
    """The numbers of a finished run as a table of two columns."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    seconds, image = summary["seconds"], summary["image"]
    ssim = summary["ssim"]
    split: tuple[tuple[str, str], ...] = ()
    if "heldout_psnr_db" in summary:
        trained, held_out = summary["train_psnr_db"], summary["heldout_psnr_db"]
        split = (
            ("PSNR of trained pixels", f"{trained:.2f} dB"),
            ("PSNR of held-out pixels", f"{held_out:.2f} dB"),
        )
    rows = (
        ("image", f"{image['height']} x {image['width']} pixels (height x width)"),
        ("PSNR", f"{summary['psnr_db']:.2f} dB"),
        *split,
        ("PSNR of the 8-bit image", f"{summary['psnr_8bit_db']:.2f} dB"),
        ("SSIM", "n/a (under 11 pixels)" if ssim is None else f"{ssim:.4f}"),
        ("steps", f"{summary['steps']} (ended by {summary['stopped']})"),
        (
            "parameters",
            f"{summary['num_params']} ({summary['bits_per_pixel']:.2f} bits/pixel)",
        ),
        (
            "seconds",
            f"compile {seconds['compile']:.2f}, fit {seconds['fit']:.2f}, "
            f"total {seconds['total']:.2f}",
        ),
        ("device", f"{summary['device']}, {summary['backend']}"),
    )
    for name, value in rows:
        table.add_row(name, value)
    return table


def console() -> Console:
    """Standard output for people; control codes on terminals only.

    Even under FORCE_COLOR: in a log file they would be noise.
    """
    output: Any = Output()
    is_terminal = sys.stdout.isatty()
    return Console(
        file=output,
        soft_wrap=not is_terminal,
        force_terminal=None if is_terminal else False,
    )
