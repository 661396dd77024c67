"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
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
from rich.text import Text

from jax_inr.cli import streams
from jax_inr.io.text import shown
from jax_inr.lanes import Progress

PLAIN_SECONDS = 5.0  # between two plain lines


class Display:
    """Shows a run while open: call it with the loop's `Progress`.

    On a terminal a live bar with step, loss, PSNR, steps/s and time left; elsewhere
    a plain line every few seconds. `quiet` shows nothing.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self._quiet = quiet
        self._live: RichProgress | None = None
        self._task: Any = None
        self._next_line = 0.0
        self._last: Progress | None = None

    def __enter__(self) -> "Display":
        if not self._quiet and self.console.is_terminal:
            self._live = RichProgress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._live.add_task("fit", total=None, status="compiling …")
            self._live.start()
        return self

    def __call__(self, progress: Progress) -> None:
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(
                self._task,
                completed=progress.step,
                total=progress.steps,
                status=status(progress),
            )
            return
        self._last = progress
        if time.monotonic() >= self._next_line:
            self._line(progress)
            self._next_line = time.monotonic() + PLAIN_SECONDS

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._last is not None:
            self._line(self._last)

    def _line(self, progress: Progress) -> None:
        self._last = None
        left = (progress.steps - progress.step) / progress.steps_per_second
        self.console.print(
            f"step {progress.step}/{progress.steps}  {status(progress)}  "
            f"{left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


class Rows:
    """Shows how much of a render is done while open: call it with each band's rows.

    A live bar on a terminal, a plain line every few seconds elsewhere.
    """

    def __init__(self, console: Console, height: int, quiet: bool = False) -> None:
        self.console = console
        self._height, self._done = height, 0
        self._live: RichProgress | None = None
        self._silent = quiet
        if not quiet and console.is_terminal:
            self._live = RichProgress(
                TextColumn("row"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeRemainingColumn(),
                console=console,
            )
            self._live.add_task("render", total=height)
        self._start = time.monotonic()
        self._next_line = self._start + PLAIN_SECONDS

    def __enter__(self) -> "Rows":
        if self._live is not None:
            self._live.start()
        return self

    def __call__(self, rows: int) -> None:
        self._done += rows
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=self._done)
        elif not self._silent and now >= self._next_line:
            left = (now - self._start) * (self._height / self._done - 1)
            self.console.print(
                f"row {self._done}/{self._height}  {left:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )
            self._next_line = now + PLAIN_SECONDS

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def status(progress: Progress) -> str:
    """Loss, PSNR and speed in one short line."""
    return (
        f"loss {progress.loss:.3g}  PSNR {progress.psnr_db:.2f} dB  "
        f"{progress.steps_per_second:.3g} steps/s"
    )


def overview_table(summaries: dict[str, dict[str, Any]]) -> Table:
    """The numbers of many runs, a line each."""
    split = any("heldout_psnr_db" in summary for summary in summaries.values())
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("run", "PSNR dB", *(("held-out dB",) if split else ()), "SSIM"):
        table.add_column(title, justify="left" if title == "run" else "right")
    for name, summary in summaries.items():
        ssim = summary["ssim"]
        held_out = [f"{summary['heldout_psnr_db']:.2f}"] if split else []
        psnr_db = f"{summary['psnr_db']:.2f}"
        # A Text, for a file's name may look like markup.
        title = Text(shown(name))
        table.add_row(
            title, psnr_db, *held_out, "n/a" if ssim is None else f"{ssim:.4f}"
        )
    return table


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
        ("picture", f"{image['width']} x {image['height']} pixels"),
        ("PSNR", f"{summary['psnr_db']:.2f} dB"),
        *split,
        ("PSNR of the 8-bit picture", f"{summary['psnr_8bit_db']:.2f} dB"),
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
    """Standard output for people; control codes on terminals only."""
    output: Any = streams.Output()
    return Console(file=output, soft_wrap=not sys.stdout.isatty())
