"""metrics.jsonl: a line of JSON for each evaluation of a run, whole or torn at its end.

Imports neither JAX nor torch.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io.atomic import atomic_file, output_errors
from jax_inr.io.reading import reading, refuse_link
from jax_inr.io.text import from_json, shown, to_json

MAX_LINE_BYTES = 2**16
# What each row has; the figures draw them.
COLUMNS = ("step", "seconds", "loss", "psnr_db", "pooled_psnr_db")
_NOT_FINITE = ("inf", "-inf", "nan")


class MetricsLog:
    """The log in a file, which need not be there.

    What writes raises OutputError, what reads CheckpointError. No link is followed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add a row: numbers under names, an integer under "step"."""
        line = (to_json(row) + "\n").encode()
        refuse_link(self.path, OutputError)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with (
            output_errors(self.path),
            open(os.open(self.path, flags, 0o666), "ab", buffering=0) as file,
        ):
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OutputError(f"cannot write {shown(self.path)}: it is no file")
            # The other name may be that of a file of the user's.
            if status.st_nlink > 1:
                raise OutputError(f"cannot write {shown(self.path)}: it is a hard link")
            size = file.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[file.write(line) :]
            except BaseException:
                # A torn line is forgiven at the end only, and rows may follow.
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise

    def rows(self) -> list[dict[str, Any]]:
        """The rows but a torn last one; inf and nan as floats."""
        rows = []
        for number, (_, row) in enumerate(self._lines(), 1):
            row = with_floats(row)
            if not all(type(row.get(name)) in (int, float) for name in COLUMNS):
                raise self._damaged(number)
            rows.append(row)
        return rows

    def truncate(self, step: int) -> None:
        """Keep the rows up to and with `step`, byte for byte."""
        with atomic_file(self.path) as file:
            for line, row in self._lines():
                if row["step"] <= step:
                    file.write(line)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Each line, with its end, and its row."""
        if not os.path.lexists(self.path):
            return
        with reading(self.path, follow=False) as file:
            number, line = 1, file.readline(MAX_LINE_BYTES)
            while line:
                following = file.readline(MAX_LINE_BYTES)
                row = self._row(line)
                if row is None:
                    # Nothing follows what a kill or the power tore.
                    if following:
                        raise self._damaged(number)
                    return
                yield line.removesuffix(b"\n") + b"\n", row
                number, line = number + 1, following

    @staticmethod
    def _row(line: bytes) -> dict[str, Any] | None:
        """The row of a line, or None."""
        with contextlib.suppress(ValueError):
            row = from_json(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                return row
        return None

    def _damaged(self, number: int) -> CheckpointError:
        return CheckpointError(f"{shown(self.path)} is damaged at line {number}")


def with_floats(row: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON made of inf and nan."""
    return {k: float(v) if v in _NOT_FINITE else v for k, v in row.items()}
