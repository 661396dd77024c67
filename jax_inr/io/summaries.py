"""The numbers of a finished fit: quality, sizes, versions.

Framework-free, so that both back ends report alike.
"""

import functools
import importlib.metadata
import platform
from typing import Any

import numpy as np

from jax_inr import metrics
from jax_inr.config import Config
from jax_inr.splits import num_trained, train_mask

PACKAGES = {
    "jax": ("jax", "jaxlib", "flax", "optax", "numpy", "pillow"),
    "torch": ("torch", "torchmetrics", "numpy", "pillow"),
}


def versions(backend: str) -> dict[str, str]:
    """Versions of what a back end's numbers depend on."""
    return dict(_versions(backend))


@functools.cache
def _versions(backend: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("jax-inr", *PACKAGES[backend]):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def summarise(
    config: Config,
    image: Any,
    prediction: np.ndarray,
    tensors: dict[str, np.ndarray],
    *,
    backend: str,
    device: str,
    step: int,
    stopped: str,
    seconds: dict[str, float],
    pixels_sha256: str,
    measured_psnr_db: float,
    parts: dict[str, str],
) -> dict[str, Any]:
    """What summary.json says of a fit.

    Args:
        image: the `Image` that was fitted; None where nobody knows it, and the quality
            is then that of the measurements.
        parts: descriptions of a caller's own objects.
    """
    height, width, _ = prediction.shape
    measured = {"psnr_db": measured_psnr_db, "psnr_8bit_db": None, "ssim": None}
    if image is not None:
        measured = quality(prediction, image.image, config.rgb_max)
        measured |= split_quality(prediction, image.image, config)
    return {
        **measured,
        "steps": step,
        **sizes(tensors, height, width),
        "seconds": seconds,
        "backend": backend,
        "preset": config.preset,
        "device": device,
        "encoding": parts.get("encoding", config.encoding),
        "network": parts.get("network", config.network),
        "optimizer": parts.get("optimizer", config.optimizer),
        "learning_rate": None if "optimizer" in parts else config.learning_rate,
        "matmul_precision": config.matmul_precision,
        "versions": versions(backend),
        "seed": config.seed,
        "image": {
            "path": image.path if image is not None else "",
            "sha256": image.sha256 if image is not None else "",
            "pixels_sha256": pixels_sha256,
            "height": height,
            "width": width,
        },
        **({"parts": parts} if parts else {}),
        "stopped": stopped,
    }


def quality(prediction: np.ndarray, image: np.ndarray, rgb_max: int) -> dict[str, Any]:
    """`psnr_db`, `psnr_8bit_db` and `ssim` of a network's prediction.

    Args:
        prediction: (h, w, c) as the network gives it, where 1 stands for `rgb_max`.
        image: (h, w, c) in [0, 1], the image that was fitted.
        rgb_max: what 8-bit values were divided by.

    `psnr_db` is measured on the targets as they were trained on; the other two on
    the image as it is saved. SSIM (Wang's convention) is None below 11 pixels.
    """
    shown = to_image(prediction, rgb_max)
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


def to_image(prediction: np.ndarray, rgb_max: int) -> np.ndarray:
    """Rescale network outputs (1 stands for `rgb_max`) to image values (1 is white)."""
    return prediction * np.float32(rgb_max / 255)


def sizes(
    tensors: dict[str, np.ndarray], height: int, width: int
) -> dict[str, int | float]:
    """`num_params`, trained numbers alone, and `bits_per_pixel` that they cost."""
    trained = [leaf for name, leaf in tensors.items() if name.startswith("params/")]
    num_params = sum(leaf.size for leaf in trained)
    bits = metrics.bits_per_pixel(num_params, height, width)
    return {"num_params": num_params, "bits_per_pixel": bits}
