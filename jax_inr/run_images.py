"""The images of a finished run: reconstruction, figures and film in its folder.

Framework-free, so that both back ends draw alike.
"""

from pathlib import Path

import numpy as np

from jax_inr.config import Config
from jax_inr.draw import film
from jax_inr.draw.encoding import encoding_channels
from jax_inr.io import summaries
from jax_inr.io.images import Image, encode_png
from jax_inr.io.runs import RunFolder
from jax_inr.io.text import shown
from jax_inr.results import Fit


def write_reconstruction(
    folder: RunFolder, prediction: np.ndarray, config: Config
) -> None:
    """Write reconstruction.png: the prediction where 1 is white."""
    fit = summaries.to_image(prediction, config.rgb_max)
    folder.write("reconstruction.png", encode_png(fit))


def write_figures(folder: RunFolder, fit: Fit, image: Image) -> None:
    """Write comparison.png, curves.png and encoding.png."""
    # Imported late: matplotlib takes half a second.
    from jax_inr.draw import plots

    summary, pixels = fit.summary, image.image
    caption = f"{name_of(image)} · {summary['preset']} · step {fit.steps}"
    drawn = summaries.to_image(fit.prediction, fit.header["config"]["rgb_max"])
    figure = plots.comparison(pixels, drawn, summary["psnr_db"], caption)
    folder.write("comparison.png", plots.png(figure))
    figure = plots.curves(folder.read_metrics(), caption)
    folder.write("curves.png", plots.png(figure))
    height, width, _ = pixels.shape
    channels, titles = encoding_channels(fit.tensors, height, width, fit.model)
    figure = plots.encoding(channels, titles, caption)
    folder.write("encoding.png", plots.png(figure))


def write_film(folder: RunFolder, image: Image, config: Config, step: int) -> None:
    """Write film.webp of the frames up to `step`, and film.mp4 where that is possible.

    Frames that are damaged are left out.
    """
    paths = [
        path for frame_step, path in folder.list_frames().items() if frame_step <= step
    ]
    frames = [frame for frame in map(film.read_frame, paths) if frame is not None]
    caption = f"{name_of(image)} · {config.preset}"
    folder.write("film.webp", film.to_webp(film.drawn(frames, caption), len(frames)))
    if film.has_mp4():
        folder.write("film.mp4", film.to_mp4(film.drawn(frames, caption)))


def name_of(image: Image) -> str:
    """What captions call an image: its file's name, on one line."""
    return shown(Path(image.path or "image").name)
