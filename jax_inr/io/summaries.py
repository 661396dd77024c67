"""What a finished fit leaves for people: its numbers and its pictures.

Framework-free, so that both back ends report alike.
"""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np

from jax_inr import metrics
from jax_inr.config import GRIDS, Config
from jax_inr.coordinates import pixel_grid
from jax_inr.draw import film
from jax_inr.io.images import Picture, encode_png
from jax_inr.io.runs import RunFolder
from jax_inr.splits import num_trained, train_mask

PACKAGES = {
    "jax": ("jax", "jaxlib", "flax", "optax", "numpy", "pillow"),
    "torch": ("torch", "torchmetrics", "numpy", "pillow"),
}


def versions(backend: str) -> dict[str, str]:
    """Versions of what a back end's numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("jax-inr", *PACKAGES[backend]):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def quality(prediction: np.ndarray, image: np.ndarray, rgb_max: int) -> dict[str, Any]:
    """`psnr_db`, `psnr_8bit_db` and `ssim` of a network's prediction.

    Args:
        prediction: (h, w, c) as the network gives it, where 1 stands for `rgb_max`.
        image: (h, w, c) in [0, 1], the picture that was fitted.
        rgb_max: what 8-bit values were divided by.

    `psnr_db` is measured on the targets as they were trained on; the other two on
    the picture as it is saved. SSIM (Wang's convention) is None below 11 pixels.
    """
    shown = to_white(prediction, rgb_max)
    ssim = float(metrics.ssim(shown, image))
    return {
        "psnr_db": float(metrics.psnr(prediction, image * (255 / rgb_max))),
        "psnr_8bit_db": float(metrics.psnr_8bit(shown, image)),
        "ssim": None if np.isnan(ssim) else ssim,
    }


def split_quality(
    prediction: np.ndarray, image: np.ndarray, config: Config
) -> dict[str, float]:
    """`train_psnr_db` and `heldout_psnr_db` where pixels are held out, else nothing.

    Both as `psnr_db` of `quality`, over the pixels that were trained on and over all
    the others.
    """
    if num_trained(config, *image.shape[:2]) == image[..., 0].size:
        return {}
    mask = train_mask(config, *image.shape[:2])
    target = image * (255 / config.rgb_max)
    return {
        "train_psnr_db": float(metrics.psnr(prediction[mask], target[mask])),
        "heldout_psnr_db": float(metrics.psnr(prediction[~mask], target[~mask])),
    }


def to_white(prediction: np.ndarray, rgb_max: int) -> np.ndarray:
    """A prediction where 1 stands for `rgb_max` as a picture where 1 is white."""
    return prediction * np.float32(rgb_max / 255)


def sizes(
    tensors: dict[str, np.ndarray], height: int, width: int
) -> dict[str, int | float]:
    """`num_params`, trained numbers alone, and `bits_per_pixel` that they cost."""
    trained = [leaf for name, leaf in tensors.items() if name.startswith("params/")]
    num_params = sum(leaf.size for leaf in trained)
    bits = metrics.bits_per_pixel(num_params, height, width)
    return {"num_params": num_params, "bits_per_pixel": bits}


def write_reconstruction(
    folder: RunFolder, prediction: np.ndarray, config: Config
) -> None:
    """Write reconstruction.png: the prediction where 1 is white."""
    shown = to_white(prediction, config.rgb_max)
    folder.write("reconstruction.png", encode_png(shown))


def write_figures(
    folder: RunFolder,
    prediction: np.ndarray,
    picture: Picture,
    config: Config,
    tensors: dict[str, np.ndarray],
    step: int,
) -> None:
    """Write comparison.png, curves.png and encoding.png."""
    # Imported late: matplotlib takes half a second.
    from jax_inr.draw import plots

    image = picture.image
    caption = f"{Path(picture.path or 'picture').name} · {config.preset} · step {step}"
    shown = to_white(prediction, config.rgb_max)
    psnr_db = float(metrics.psnr(prediction, image * (255 / config.rgb_max)))
    figure = plots.comparison(image, shown, psnr_db, caption)
    folder.write("comparison.png", plots.png(figure))
    figure = plots.curves(folder.read_metrics(), caption)
    folder.write("curves.png", plots.png(figure))
    channels, titles = encoding_channels(config, tensors, *image.shape[:2])
    figure = plots.encoding(channels, titles, caption)
    folder.write("encoding.png", plots.png(figure))


def write_film(folder: RunFolder, picture: Picture, config: Config, step: int) -> None:
    """Write film.webp of the frames up to `step`, and film.mp4 where that is possible.

    Frames that are damaged are left out.
    """
    paths = [path for at, path in folder.list_frames().items() if at <= step]
    frames = [frame for frame in map(film.read_frame, paths) if frame is not None]
    caption = f"{Path(picture.path or 'picture').name} · {config.preset}"
    folder.write("film.webp", film.to_webp(film.drawn(frames, caption), len(frames)))
    if film.has_mp4():
        folder.write("film.mp4", film.to_mp4(film.drawn(frames, caption)))


def encoding_channels(
    config: Config,
    tensors: dict[str, np.ndarray],
    height: int,
    width: int,
    max_frequencies: int = 20,
    max_side: int = 224,
) -> tuple[np.ndarray, list[str]]:
    """The first channels (k, h, w) of a run's encoding, in [-1, 1], and their titles.

    Sines first, then cosines, as the notebook has them; a grid shows its levels, each
    scaled to its largest number; an encoding without frequencies its two coordinates.
    """
    coords = pixel_grid(min(height, max_side), min(width, max_side))
    if config.encoding == "none":
        return np.moveaxis(2 * coords - 1, -1, 0), ["row", "column"]
    if config.encoding in GRIDS:
        return _grid_channels(config, tensors, coords, 2 * max_frequencies)
    frequencies = _frequencies(config, tensors)[:, :max_frequencies]
    phases = 2 * np.pi * (coords @ frequencies)
    channels = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    count = frequencies.shape[1]
    titles = [f"{wave}(freq {i})" for wave in ("sin", "cos") for i in range(count)]
    return np.moveaxis(channels, -1, 0), titles


def _frequencies(config: Config, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The matrix B (2, m) of a run's Fourier encoding."""
    match config.encoding:
        case "basic":
            return np.eye(2, dtype=np.float32)
        case "positional":
            # Imported late: torch_ref does without JAX, and without this encoding.
            from jax_inr.encodings import positional_frequencies

            return np.asarray(
                positional_frequencies(config.num_frequencies, config.octaves)
            )
        case "trainable":
            return tensors["params/frequencies"]
    return tensors["constants/frequencies"]


def _grid_channels(
    config: Config, tensors: dict[str, np.ndarray], coords: np.ndarray, count: int
) -> tuple[np.ndarray, list[str]]:
    import jax

    from jax_inr.grids import grid_features

    tables = [
        jax.numpy.asarray(tensors[f"params/grid_{i}"]) for i in range(config.num_levels)
    ]

    def of_a_row(row: Any) -> Any:
        return jax.vmap(lambda one: grid_features(config, tables, one))(row)

    features = np.asarray(jax.jit(lambda grid: jax.lax.map(of_a_row, grid))(coords))
    channels = np.moveaxis(features[..., :count], -1, 0)
    largest = np.abs(channels).max(axis=(1, 2), keepdims=True)
    titles = [
        f"{cells} cells ({i})"
        for cells in config.level_cells
        for i in range(config.level_features)
    ]
    return channels / np.maximum(largest, 1e-30), titles[:count]
