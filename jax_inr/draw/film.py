"""The film of a fit: image, error and curve, in frames whose steps double.

Framework-free. While the fit runs, each frame goes to the disk as one small PNG, so
that memory does not grow and a resumed run goes on with the film; the film itself is
made of them at the end.
"""

import contextlib
import importlib.util
import io
import itertools
import math
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io.images import to_uint8
from jax_inr.io.reading import reading
from jax_inr.metrics import psnr

FRAMES_PER_DOUBLING = 3
# Pixels of the longer side of an image in the film.
PANEL_SIDE = 256
MAX_FRAME_BYTES = 2**20
FRAME_SECONDS, LAST_SECONDS = 0.14, 2.5
ERROR_GAIN = 5
DPI = 80


class Frame(NamedTuple):
    """One moment of a fit, as it is kept on the disk."""

    step: int
    psnr_db: float
    fit: np.ndarray  # (h, w, c) uint8
    error: np.ndarray  # (h, w, c) uint8, ERROR_GAIN times the mean absolute error


def next_frame(step: int) -> int:
    """The first frame after more than `step` steps: 1, 2, 3, 4, 5, 6, 8, 10, 13, …"""
    power = math.floor(FRAMES_PER_DOUBLING * math.log2(max(step, 1)))
    while (frame := round(2 ** (power / FRAMES_PER_DOUBLING))) <= step:
        power += 1
    return frame


def encode_frame(step: int, shown: np.ndarray, target: np.ndarray) -> bytes:
    """A frame as PNG: fit and error side by side, made smaller where they are large.

    shown, target: (h, w, c), 1 is white. The PSNR is that of the whole images.
    """
    error = np.abs(np.clip(shown, 0, 1) - target).mean(axis=-1, keepdims=True)
    error = np.broadcast_to(ERROR_GAIN * error, shown.shape)
    panels = np.concatenate([_reduced(shown), _reduced(error)], axis=1)
    about = PngInfo()
    about.add_text("step", str(step))
    about.add_text("psnr_db", repr(float(psnr(shown, target))))
    levels = panels[..., 0] if panels.shape[2] == 1 else panels
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


def _reduced(image: np.ndarray) -> np.ndarray:
    """Levels of an (h, w, c) image, averaged down to PANEL_SIDE at most."""
    levels = to_uint8(image)
    factor = -(-max(levels.shape) // PANEL_SIDE)
    if factor == 1:
        return levels
    whole = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    reduced = np.asarray(whole.reduce(factor))
    return reduced.reshape(*reduced.shape[:2], -1)


def read_frame(path: Path) -> Frame | None:
    """The frame of `encode_frame`; None where the file is damaged."""
    try:
        with reading(path, follow=False) as file:
            data = file.read(MAX_FRAME_BYTES + 1)
        # Only as large as `encode_frame` makes them; Pillow would warn of large ones.
        sides = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        if len(data) > MAX_FRAME_BYTES or max(sides) > 2 * PANEL_SIDE:
            return None
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            about: Any = image.info
            step, psnr_db = int(about["step"]), float(about["psnr_db"])
            panels = np.asarray(image)
    except (CheckpointError, OSError, LookupError, ValueError, SyntaxError):
        return None
    panels = panels.reshape(*panels.shape[:2], -1)
    return Frame(step, psnr_db, *np.split(panels, 2, axis=1))


def drawn(frames: Iterable[Frame], caption: str) -> Iterator[np.ndarray]:
    """The film's images (h, w, 3) uint8: fit, error, and the curve so far."""
    # Imported late: matplotlib takes half a second.
    from jax_inr.draw.settings import default_settings

    frames = list(frames)
    steps, values = ([getattr(f, name) for f in frames] for name in Frame._fields[:2])
    with default_settings():
        parts = _make_figure(frames, caption)
    for count, frame in enumerate(frames, 1):
        for drawn_image, panel in zip(
            parts.images, (frame.fit, frame.error), strict=True
        ):
            drawn_image.set_data(panel[..., 0] if panel.shape[2] == 1 else panel)
        parts.line.set_data(steps[:count], values[:count])
        parts.dot.set_data([frame.step], [frame.psnr_db])
        parts.title.set_text(f"{caption} · step {frame.step} · {frame.psnr_db:.2f} dB")
        # Left again before each image is given out: who takes it may draw too.
        with default_settings():
            parts.canvas.draw()
            image = np.array(parts.canvas.buffer_rgba())[..., :3]
        yield image


class _Parts(NamedTuple):
    """What changes from frame to frame in the film's figure."""

    canvas: Any
    images: tuple[Any, Any]  # of the fit and of its error
    line: Any
    dot: Any
    title: Any


def _make_figure(frames: Sequence[Frame], caption: str) -> _Parts:
    """The figure of a film, its panels and axes wide enough for all frames."""
    from jax_inr.draw import plots
    from jax_inr.draw.settings import Figure, FigureCanvasAgg, as_written

    steps, values = ([getattr(f, name) for f in frames] for name in Frame._fields[:2])
    height, width = frames[0].fit.shape[:2]
    tall = 2.8 * min(max(height / width, 0.4), 1.6)
    # Whole even pixels: video takes no others.
    size = (2 * round(4.4 * DPI), 2 * round((tall + 0.75) * DPI / 2))
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    top, bottom = 1 - 0.6 / (tall + 0.75), 0.15 / (tall + 0.75)

    def panel(left: float, title: str) -> Any:
        axes = figure.add_axes((left, bottom, 0.32, top - bottom))
        axes.axis("off")
        axes.set_title(title, fontsize=10)
        return axes.imshow(frames[0].fit, cmap="gray", vmin=0, vmax=255)

    images = panel(0.01, "fit"), panel(0.345, f"error, {ERROR_GAIN} times enlarged")
    curve = figure.add_axes((0.745, bottom + 0.13, 0.24, top - bottom - 0.13))
    curve.set_xscale("symlog", base=2, linthresh=1)
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    curve.set(xlim=(0, max(*steps, 1) * 1.3), ylim=(min(finite) - 1, max(finite) + 1))
    curve.set_title("PSNR in dB, over steps", fontsize=10)
    curve.tick_params(labelsize=8)
    ticks = [0, *(8**k for k in range(11) if 8**k <= max(steps))]
    curve.set_xticks(ticks, [f"{tick}" for tick in ticks])
    curve.minorticks_off()
    curve.grid(alpha=0.3)
    curve.plot(steps, values, color=plots.BLUE, alpha=0.25)
    (line,) = curve.plot([], [], color=plots.BLUE)
    (dot,) = curve.plot([], [], "o", color=plots.RED)
    title = figure.suptitle(caption, fontsize=11, y=1 - 0.1 / (tall + 0.75))
    as_written(title)
    return _Parts(canvas, images, line, dot, title)


def to_webp(images: Iterable[np.ndarray], count: int) -> bytes:
    """An animated WebP of `count` images, the last of which stays a while."""
    frames = map(Image.fromarray, images)
    first = next(frames)
    durations = [int(1000 * FRAME_SECONDS)] * (count - 1) + [int(1000 * LAST_SECONDS)]
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames,
        duration=durations if count > 1 else durations[0],
        loop=0,
        quality=32,
        method=4,
    )
    return buffer.getvalue()


def has_mp4() -> bool:
    """Whether imageio-ffmpeg is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def to_mp4(images: Iterable[np.ndarray]) -> bytes:
    """The images as H.264, which needs imageio-ffmpeg; the last stays a while.

    Raises:
        OutputError: ffmpeg fails.
    """
    import imageio_ffmpeg

    images = iter(images)
    first = next(images)
    size = f"{first.shape[1]}x{first.shape[0]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        # The package's own writer forks Python, which JAX warns of.
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo"]
        command += ["-pix_fmt", "rgb24", "-s", size, "-r", str(1 / FRAME_SECONDS)]
        command += ["-i", "-", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
        command += ["-movflags", "+faststart", str(path)]
        # A group of its own: Ctrl-C is for us.
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None and process.stderr is not None
            with contextlib.suppress(BrokenPipeError):
                last = first
                for last in itertools.chain([first], images):
                    process.stdin.write(last.tobytes())
                process.stdin.write(
                    last.tobytes() * round(LAST_SECONDS / FRAME_SECONDS)
                )
                process.stdin.close()
            errors = process.stderr.read().decode(errors="replace")
        if process.returncode:
            raise OutputError(f"ffmpeg cannot write film.mp4: {errors.strip()[:200]}")
        return path.read_bytes()
