"""Matplotlib under its own default settings, whatever the user's are.

Every figure of the project is made and drawn inside `default_settings`, so that equal
numbers give equal images on every machine. No backend is ever chosen or changed.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator


def _import_matplotlib() -> None:
    """Import matplotlib even where MPLBACKEND names no backend, which it would refuse.

    A good MPLBACKEND is heeded for the user's own figures as always.
    """
    if "matplotlib" in sys.modules or not os.environ.get("MPLBACKEND"):
        return
    backend = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = backend


_import_matplotlib()

import matplotlib  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.font_manager import fontManager  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from matplotlib.ticker import LogFormatter  # noqa: E402

__all__ = [
    "Figure",
    "FigureCanvasAgg",
    "LogFormatter",
    "as_written",
    "default_settings",
]

# Fonts of the usual systems with what DejaVu Sans, matplotlib's own, has no glyph for.
FALLBACK_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "Hiragino Sans"),
    *("PingFang SC", "Yu Gothic", "MS Gothic", "Microsoft YaHei", "Malgun Gothic"),
    *("WenQuanYi Zen Hei", "Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji"),
    *("Segoe UI Symbol", "Apple Symbols", "Symbola", "Unifont"),
)


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """Matplotlib's own settings inside, the user's again after; also a decorator."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        # A character that no installed font has is drawn as a box, which says enough.
        warnings.filterwarnings("ignore", "Glyph ", UserWarning)
        yield


def as_written(*texts: Text) -> None:
    """Let texts with a user's words stand as they are written: no mathtext in them.

    Characters that matplotlib's own font lacks come from the fonts that are installed.
    """
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        if not text.get_text().isascii():
            installed = {font.name for font in fontManager.ttflist}
            others = [name for name in FALLBACK_FONTS if name in installed]
            text.set_fontfamily(["DejaVu Sans", *others])
