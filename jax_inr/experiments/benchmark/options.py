"""What all sections of the benchmark are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# The quick forms take under a minute each; this is what they give a fit.
QUICK_SECONDS = 2.0


def _not_kept(section: str, measured: dict[str, Any]) -> None:
    """Keep nothing before a section has ended."""


class Options(NamedTuple):
    """How thoroughly to measure.

    images: the folder of the images at full size. budget_seconds: of section gpu.
    save: keeps what a section, by its name, has measured so far.
    """

    turns: int = 7
    quick: bool = False
    images: Path = Path("kodak")
    budget_seconds: float = 480.0
    save: Callable[[str, dict[str, Any]], None] = _not_kept
