"""What all sections of the benchmark are told."""

from typing import NamedTuple

# The quick forms take under a minute each; this is what they give a fit.
QUICK_SECONDS = 2.0


class Options(NamedTuple):
    """How thoroughly to measure."""

    turns: int = 7
    quick: bool = False
