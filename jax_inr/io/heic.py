"""HEIC and HEIF, the photos of phones, by the optional package pillow-heif."""

import importlib
import io
from typing import Any

import numpy as np

from jax_inr.errors import ImageError
from jax_inr.io import bmff, colour
from jax_inr.io.raster import Raster, check_pixels


def read(data: bytes, max_pixels: int, notices: list[str]) -> Raster:
    """The samples of the primary image, which libheif turns upright.

    Raises ImageError where pillow-heif is absent; it raises ValueError and others for
    damage.
    """
    try:
        # By name, for type checkers: it need not be installed.
        heif: Any = importlib.import_module("pillow_heif")
    except ImportError as error:
        hint = 'pip install -e ".[heif]", or convert it to PNG or JPEG'
        raise ImageError(
            "a HEIC file, which is not read without pillow-heif", hint
        ) from error
    file = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    opened: Any = file[file.primary_index]
    width, height = opened.size
    check_pixels(width, height, max_pixels)
    if len(file) > 1:
        notices.append("has several images: only the primary one is used")
    if bmff.is_turned(data):
        notices.append("turned upright, as its irot and imir boxes say")
    samples = np.asarray(opened)
    samples = samples.reshape(*samples.shape[:2], -1)
    channels = 1 if samples.shape[2] < 3 else 3
    convert = None
    if profile := opened.info.get("icc_profile"):
        convert = colour.from_icc(profile, channels, notices)
    elif code := bmff.nclx(data):
        convert = colour.from_code(*code, channels, notices)
    else:
        notices.append(bmff.UNTOLD)
    alpha = samples[..., channels:] if samples.shape[2] > channels else None
    white = 255
    if samples.dtype != np.uint8:
        # 10 and 12 bits are the upper ones of 16, those below zeros.
        bits = opened.info["bit_depth"]
        white = (2**bits - 1) << (16 - bits)
    return Raster(
        samples[..., :channels], white, convert, alpha, opened.premultiplied_alpha
    )
