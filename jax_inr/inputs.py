"""Images and configs in all plain forms that callers give."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError
from jax_inr.io.images import Image, from_pillow, load_image
from jax_inr.presets import preset
from jax_inr.recording import checked_pixels, hash_arrays


def as_image(image: Any) -> Image:
    """An image in any plain form, checked.

    Args:
        image: what `load_image` gives; a path; a Pillow image; (h, w) or (h, w, 1 or
            3) floats in [0, 1], 8-bit or 16-bit levels.

    Raises:
        ImageError: it is none of these.
    """
    if isinstance(image, str | os.PathLike):
        return load_image(image)
    if isinstance(image, Image):
        checked_pixels(image.image)
        return image
    if hasattr(image, "convert") and hasattr(image, "mode"):  # Pillow's
        return from_pillow(image)
    try:
        array = np.asarray(image)
    except Exception as error:
        raise ImageError(f"a {type(image).__name__} is no image: {error}") from error
    if array.dtype.kind not in "fiub":
        raise ImageError(
            f"an image of {array.dtype} is no array of numbers",
            "give floats in [0, 1], or a path to load_image",
        )
    if array.dtype in (np.uint8, np.uint16):
        array = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    elif array.dtype.kind != "f":
        raise ImageError(
            f"an image of {array.dtype} has no white",
            "give floats in [0, 1], uint8 or uint16",
        )
    if array.ndim == 2:
        array = array[..., None]
    array = np.ascontiguousarray(array, np.float32)
    checked_pixels(array)
    return Image(array, "", hash_arrays(array), ())


def as_config(config: Any) -> Config:
    """A config in any plain form.

    Args:
        config: a Config; a preset's name; a dict of fields that differ from preset
            "default"; None for that preset.

    Raises:
        ConfigError: it is none of these.
    """
    if config is None:
        return preset("default")
    if isinstance(config, Config):
        return config
    if isinstance(config, str):
        return preset(config)
    if isinstance(config, dict):
        return preset("default").replace(**config)
    raise ConfigError(
        f"a {type(config).__name__} is no config",
        'give a Config, a preset\'s name as "fast", or a dict of fields',
    )


def is_single(images: Any) -> bool:
    """Whether this is one image or task, rather than several."""
    if isinstance(images, np.ndarray):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3))
    # An Image is a tuple, and a path a sequence of letters.
    several = isinstance(images, Sequence) and not isinstance(images, str | Image)
    return not several


def paired(images: list[Any], configs: list[Any]) -> tuple[list[Any], list[Any]]:
    """Repeat a single image or config to go with many of the other."""
    count = max(len(images), len(configs))
    if not images or not configs:
        raise ConfigError("fit_many was given no image, or no config")
    if {len(images), len(configs)} - {1, count}:
        raise ConfigError(
            f"{len(images)} images do not go with {len(configs)} configs",
            "give one of either, or one each",
        )
    return images * (count // len(images)), configs * (count // len(configs))
