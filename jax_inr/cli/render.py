"""`jax-inr render`: a fitted field as an image file, at any size."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from jax_inr.cli import process
from jax_inr.cli.parsing import check_numbers, parse, parse_size
from jax_inr.coordinates import FULL, Window, check_view
from jax_inr.errors import CheckpointError, ConfigError, Interrupted
from jax_inr.io.reading import refuse_link

if TYPE_CHECKING:
    from jax_inr.field import ImageField

# Pixels of the coarse image that decides how bright a derivative is drawn.
PROBE_SIDE = 128
# Pixels drawn where neither --size nor --scale is given: as many as `fit` takes.
MAX_NATIVE_PIXELS = 50_000_000


@dataclasses.dataclass(frozen=True)
class Options:
    """Render a fitted field at any size."""

    field: tyro.conf.Positional[Path]
    """Field file, or the folder of a run."""
    out: Path
    """File to write; its suffix is the format: .png, .16.png (16 bits), .tif, .npy."""
    size: str | None = None
    """HxW, or N for N x N. Left out: as many pixels as the image has there."""
    scale: float | None = None
    """Times as many pixels as the image has there, along each axis."""
    window: str = "0,0,1,1"
    """top,left,bottom,right of the part to draw; beyond 0 to 1 it extrapolates."""
    derivative: Literal["none", "gradient", "laplacian"] = "none"
    """Draw a derivative, per pixel of the fitted image; PNG scales it to be seen."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    quiet: bool = False
    """Print nothing but errors."""
    debug: bool = False
    """Print the traceback of an error."""


def command(argv: list[str]) -> int:
    """Draw the field; returns the exit code."""
    options = parse(Options, _joined(argv), "render")
    window = parse_window(options.window)
    size = parse_size(options.size)
    if size is not None and options.scale is not None:
        raise ConfigError("--size and --scale say the same thing", "leave one out")
    check_numbers(("scale", options.scale, 1e-3, 1e5))
    from jax_inr.io import writers

    writers.suffix_of(options.out)
    process.prepare_device(options.device)

    from jax_inr import cost, machine
    from jax_inr.cli import progress
    from jax_inr.derivatives import check_derivative

    machine.select(options.device)
    field = load_field(options.field)
    height, width = view_size(field, size, options.scale, window)
    check_view(height, width, window)
    if options.derivative != "none":
        check_derivative(field.model, options.derivative)
    if not field.model.per_pixel:
        # It sees the whole grid at once, and the edge of a window as one of the grid.
        if window != FULL:
            raise ConfigError(
                "the cnn draws whole images: at a window's edge it would see nothing",
                "leave --window out",
            )
        cost.check(cost.grid_bytes(field.model, height, width), None)
    channels = 2 if options.derivative == "gradient" else field.channels
    writers.check_space(options.out, height, width, channels)
    note, tone = "", None
    if options.derivative != "none" and not writers.is_float(options.out):
        note, tone = tone_of(field, options.derivative, height, width, window)
        channels = 1 if options.derivative == "gradient" else channels
    console = progress.console()
    with (
        process.SignalGuard() as guard,
        cost.memory_errors(),
        progress.Rows(console, height, options.quiet) as rows,
    ):
        strips = field.render_strips(height, width, window, options.derivative)
        if tone is not None:
            strips = map(tone, strips)
        strips = watched(strips, guard, rows)
        writers.write_image(options.out, strips, height, width, channels)
    if not options.quiet:
        text = f"written to {options.out}, {height} x {width} pixels{note}"
        console.print(text, highlight=False, markup=False)
    return 0


def watched(
    strips: Iterable[np.ndarray],
    guard: process.SignalGuard,
    on_rows: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """The strips, until a signal comes; tells how many rows have been taken."""
    for strip in strips:
        if guard.received:
            raise Interrupted(
                f"stopped by {guard.received.name}; nothing was written", guard.received
            )
        yield strip
        on_rows(len(strip))


def tone_of(
    field: "ImageField", derivative: Any, height: int, width: int, window: Window
) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """How a derivative is drawn in [0, 1], and what to say of it.

    The gradient's length from black; the Laplacian from mid-grey. White is what one
    pixel in two hundred of a coarse image exceeds.
    """
    sides = min(height, PROBE_SIDE), min(width, PROBE_SIDE)
    values = field.render(*sides, window, derivative)
    if derivative == "gradient":
        values = np.linalg.norm(values, axis=-1)
    scale = float(np.quantile(np.abs(values), 0.995)) or 1.0

    def draw(strip: np.ndarray) -> np.ndarray:
        if derivative == "gradient":
            return np.linalg.norm(strip, axis=-1, keepdims=True) / np.float32(scale)
        return np.float32(0.5) + strip / np.float32(2 * scale)

    unit = "a pixel" if derivative == "gradient" else "a pixel squared, grey is 0"
    return f"; white is {scale:.3g} {unit}", draw


def load_field(path: Path) -> "ImageField":
    """The field of a file, or of a run's folder."""
    from jax_inr.field import ImageField

    if path.is_dir():
        path = path / "field.safetensors"
        refuse_link(path, CheckpointError)
    return ImageField.load(path)


def view_size(
    field: "ImageField",
    size: int | tuple[int, int] | None,
    scale: float | None,
    window: Window,
) -> tuple[int, int]:
    """Height and width of a render: as asked, or the image's pixels in the window."""
    if size is not None:
        return (size, size) if isinstance(size, int) else size
    top, left, bottom, right = window
    times = 1.0 if scale is None else scale
    sides = field.height * (bottom - top) * times, field.width * (right - left) * times
    height, width = (max(round(side), 1) for side in sides)
    if scale is None and height * width > MAX_NATIVE_PIXELS:
        # A header claims what it likes.
        raise ConfigError(
            f"the image has {height} x {width} pixels there by the field's header, "
            "more than are drawn unasked",
            "give --size or --scale",
        )
    return height, width


def parse_window(text: str) -> Window:
    """`top,left,bottom,right` as numbers; raises ConfigError."""
    try:
        top, left, bottom, right = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"window is {text!r}; it must be top,left,bottom,right, as 0,0,0.5,0.5"
        ) from None
    window = top, left, bottom, right
    check_view(1, 1, window)
    return window


def _joined(argv: list[str]) -> list[str]:
    """`--window -1,-1,2,2` as one word, lest the numbers be taken for an option."""
    argv = list(argv)
    while "--window" in argv[:-1]:
        index = argv.index("--window")
        argv[index : index + 2] = [f"--window={argv[index + 1]}"]
    return argv
