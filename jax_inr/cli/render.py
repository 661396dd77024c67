"""The commands that use a fitted field: render, export, extrapolate."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from jax_inr.cli.options import parse_size, run_tyro
from jax_inr.cli.signals import SignalGuard
from jax_inr.coordinates import FULL, Window, check_view
from jax_inr.errors import CheckpointError, ConfigError, Interrupted
from jax_inr.io import writers

if TYPE_CHECKING:
    from jax_inr.field import ImageField

# Pixels of the coarse picture that decides how bright a derivative is drawn.
PROBE_SIDE = 128
# Pixels drawn where neither --size nor --scale is given: as many as `fit` takes.
MAX_NATIVE_PIXELS = 50_000_000


@dataclasses.dataclass(frozen=True)
class RenderOptions:
    """Render a fitted field at any size."""

    field: tyro.conf.Positional[str]
    """Field file, or the folder of a run."""
    out: str
    """File to write; its suffix is the format: .png, .16.png (16 bits), .tif, .npy."""
    size: str | None = None
    """HxW, or N for N x N. Left out: as many pixels as the picture has there."""
    scale: float | None = None
    """Times as many pixels as the picture has there, along each axis."""
    window: str = "0,0,1,1"
    """top,left,bottom,right of the part to draw; beyond 0 to 1 it extrapolates."""
    derivative: Literal["none", "gradient", "laplacian"] = "none"
    """Draw a derivative, per pixel of the fitted picture; PNG scales it to be seen."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to compute."""
    quiet: bool = False
    """Print nothing but errors."""
    debug: bool = False
    """Print the traceback of an error."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Write a fitted field as one web page that evaluates it in the browser."""

    field: tyro.conf.Positional[str]
    """Field file, or the folder of a run."""
    out: str
    """File to write, .html."""
    image: str | None = None
    """Picture that was fitted, to compare with. Left out: that of the run's folder."""
    title: str | None = None
    """Of the page. Left out: the file's name."""
    quiet: bool = False
    """Print nothing but errors."""
    debug: bool = False
    """Print the traceback of an error."""


@dataclasses.dataclass(frozen=True)
class ExtrapolateOptions:
    """Draw fields over [-1, 2] x [-1, 2] and measure how periodic they are."""

    fields: tyro.conf.Positional[tuple[str, ...]]
    """Field files, or folders of runs."""
    out: str
    """Figure to write, .png."""
    debug: bool = False
    """Print the traceback of an error."""


def render_command(argv: list[str]) -> int:
    """`jax-inr render`: a field as a picture file."""
    options = run_tyro(RenderOptions, _joined(argv), "render")
    window = parse_window(options.window)
    size = parse_size(options.size)
    if size is not None and options.scale is not None:
        raise ConfigError("--size and --scale say the same thing", "leave one out")
    if options.scale is not None and not 1e-3 <= options.scale <= 1e5:
        raise ConfigError(f"scale is {options.scale}; it must lie in 0.001 to 100000")
    writers.suffix_of(options.out)
    prepare_device(options.device)

    from jax_inr import cost, machine
    from jax_inr.cli import progress
    from jax_inr.derivatives import check_derivative

    machine.select(options.device)
    field = load_field(options.field)
    height, width = view_size(field, size, options.scale, window)
    check_view(height, width, window)
    if options.derivative != "none":
        check_derivative(field.config, options.derivative)
    if field.config.network == "cnn":
        # It sees the whole grid at once, and the edge of a window as one of the grid.
        if window != FULL:
            raise ConfigError(
                "the cnn draws whole pictures: at a window's edge it would see nothing",
                "leave --window out",
            )
        needed = cost.fit_bytes(field.config, height, width, field.channels)
        cost.check(needed, None)
    channels = 2 if options.derivative == "gradient" else field.channels
    writers.check_space(options.out, height, width, channels)
    note, tone = "", None
    if options.derivative != "none" and not writers.is_float(options.out):
        note, tone = tone_of(field, options.derivative, height, width, window)
        channels = 1 if options.derivative == "gradient" else channels
    console = progress.console()
    with (
        SignalGuard() as guard,
        cost.memory_errors(),
        progress.Rows(console, height, options.quiet) as rows,
    ):
        bands = field.render_bands(height, width, window, options.derivative)
        if tone is not None:
            bands = map(tone, bands)
        bands = watched(bands, guard, rows)
        writers.write_image(options.out, bands, height, width, channels)
    if not options.quiet:
        text = f"written to {options.out}, {height} x {width} pixels{note}"
        console.print(text, highlight=False, markup=False)
    return 0


def watched(
    bands: Iterable[np.ndarray], guard: SignalGuard, on_rows: Callable[[int], None]
) -> Iterator[np.ndarray]:
    """The bands, until a signal comes; tells how many rows have been taken."""
    for band in bands:
        if guard.received:
            raise Interrupted(
                f"stopped by {guard.received.name}; nothing was written", guard.received
            )
        yield band
        on_rows(len(band))


def tone_of(
    field: "ImageField", derivative: Any, height: int, width: int, window: Window
) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """How a derivative is drawn in [0, 1], and what to say of it.

    The gradient's length from black; the Laplacian from mid-grey. White is what one
    pixel in two hundred of a coarse picture exceeds.
    """
    sides = min(height, PROBE_SIDE), min(width, PROBE_SIDE)
    values = field.render(*sides, window, derivative)
    if derivative == "gradient":
        values = np.linalg.norm(values, axis=-1)
    scale = float(np.quantile(np.abs(values), 0.995)) or 1.0

    def draw(band: np.ndarray) -> np.ndarray:
        if derivative == "gradient":
            return np.linalg.norm(band, axis=-1, keepdims=True) / np.float32(scale)
        return np.float32(0.5) + band / np.float32(2 * scale)

    unit = "a pixel" if derivative == "gradient" else "a pixel squared, grey is 0"
    return f"; white is {scale:.3g} {unit}", draw


def export_command(argv: list[str]) -> int:
    """`jax-inr export`: a field as a web page."""
    options = run_tyro(ExportOptions, argv, "export")
    if not options.out.lower().endswith((".html", ".htm")):
        raise ConfigError(f"cannot write {options.out}: not an .html", "name it so")
    prepare_device("cpu")
    from jax_inr.draw import page

    field = load_field(options.field)
    page.check_size(field)
    image = None
    if options.image is not None:
        from jax_inr.io.images import load_image

        image = load_image(options.image).image
        if image.shape[:2] != (field.height, field.width):
            # As `fit --size` made it.
            size = (field.height, field.width)
            square = field.height if field.height == field.width else size
            image = load_image(options.image, size=square).image
    else:
        image = picture_of(options.field)
    field.to_html(options.out, image, options.title)
    if not options.quiet:
        size = os.path.getsize(options.out) / 1000
        print(f"written to {options.out}, {size:.0f} kB; open it in a browser")
    return 0


def extrapolate_command(argv: list[str]) -> int:
    """`jax-inr extrapolate`: fields beyond their pictures, as a figure."""
    options = run_tyro(ExtrapolateOptions, argv, "extrapolate")
    if not options.fields:
        raise ConfigError("no field is named", "name one or more field files")
    if not options.out.lower().endswith(".png"):
        raise ConfigError(f"cannot write {options.out}: not a .png", "name it so")
    prepare_device("cpu")
    from jax_inr.analysis import extrapolation
    from jax_inr.draw import plots
    from jax_inr.io import atomic

    measured = [extrapolation.measure(load_field(path)) for path in options.fields]
    figure = extrapolation.figure(measured)
    data = plots.png(figure, dpi=extrapolation.DPI)
    atomic.write_atomic(options.out, data, follow=True)
    for each in measured:
        print(f"{each.name}: {each.sentence}")
    print(f"written to {options.out}")
    return 0


def prepare_device(device: str) -> None:
    """Settings that have to be there before JAX is imported."""
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    # JAX would otherwise take three quarters of a GPU's memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def load_field(path: str) -> "ImageField":
    """The field of a file, or of a run's folder."""
    from jax_inr.field import ImageField
    from jax_inr.io.reading import refuse_link

    path = os.path.expanduser(path)
    if Path(path).is_dir():
        path = str(Path(path) / "field.safetensors")
        refuse_link(path, CheckpointError)
    return ImageField.load(path)


def picture_of(path: str) -> np.ndarray | None:
    """The picture beside a field in a run's folder, if there is one."""
    from jax_inr.io.runs import RunFolder

    path = os.path.expanduser(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).absolute().parent
    try:
        image, _ = RunFolder(folder).load_picture()
        return None if image is None else image.image
    except CheckpointError:
        return None


def view_size(
    field: "ImageField",
    size: int | tuple[int, int] | None,
    scale: float | None,
    window: Window,
) -> tuple[int, int]:
    """Height and width of a render: as asked, or the picture's pixels in the window."""
    if size is not None:
        return (size, size) if isinstance(size, int) else size
    top, left, bottom, right = window
    times = 1.0 if scale is None else scale
    sides = field.height * (bottom - top) * times, field.width * (right - left) * times
    height, width = (max(round(side), 1) for side in sides)
    if scale is None and height * width > MAX_NATIVE_PIXELS:
        # A header claims what it likes.
        raise ConfigError(
            f"the picture has {height} x {width} pixels there by the field's header, "
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
        at = argv.index("--window")
        argv[at : at + 2] = [f"--window={argv[at + 1]}"]
    return argv
