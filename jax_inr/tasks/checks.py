"""What measurements must be: images, masks and finite values. Framework-free."""

import numpy as np
from numpy.typing import ArrayLike

from jax_inr.errors import ImageError


def checked(image: ArrayLike) -> np.ndarray:
    """An image as contiguous float32 (h, w, c); raises ImageError."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    if image.ndim != 3 or not image.size:
        raise ImageError(
            f"an image of shape {image.shape} is not (height, width, channels)"
        )
    return image


def checked_mask(mask: ArrayLike, image: np.ndarray) -> np.ndarray:
    """A mask of an image's pixels as booleans; raises ImageError."""
    mask = np.asarray(mask)
    if mask.shape != image.shape[:2]:
        raise ImageError(
            f"the mask has shape {mask.shape}, and the image {image.shape[:2]}",
            "give one number for each pixel",
        )
    others = int(((mask != 0) & (mask != 1)).sum())
    if others:
        raise ImageError(
            f"{others} of the mask's {mask.size} values are neither 0 nor 1",
            "compare it with a threshold",
        )
    return mask.astype(bool)


def check_finite(name: str, values: np.ndarray) -> None:
    """Refuse measurements of which some are not finite.

    Raises:
        ImageError: with how many of how many.
    """
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise ImageError(
            f"{bad} of the {np.size(values)} values of the {name} are not finite",
            "mend them, or leave their measurements out",
        )
