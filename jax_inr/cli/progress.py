"""What a person sees of a command: rows rendered, the closing table."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from jax_inr.cli.process import Output
from jax_inr.progress import PLAIN_SECONDS, Meter


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
