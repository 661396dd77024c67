"""Sigma and omega_0 by themselves: the untrained field's spectrum meets the image's.

FreSh, arXiv 2410.05050: of some values the one is taken with which fields, as they are
drawn, have the spectrum that is nearest to the image's. Spectra are those of lines
along the two axes, at the places of trained pixels; no other pixel is looked at.
"""

import functools
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.ndimage import distance_transform_edt

from jax_inr.config import Config
from jax_inr.conflicts import MAX_PERIODIC_SIGMA
from jax_inr.kept import QUICK_COMPILE
from jax_inr.model import Model, make_model
from jax_inr.splits import train_mask
from jax_inr.tensors import float32
from jax_inr.values import AUTO, AUTOS

POINTS = 64  # of a line
MOST_LINES = 256
SEEDS = 6
NUM_VALUES = 16
# Of the matched value, where pixels are held out: what meets the spectrum of trained
# pixels overshoots what is best between them. docs/choosing.md has what it gives.
SHARE_BETWEEN = 0.36
NO_SPECTRUM = 1e-9  # power below which a line is constant, but for rounding


def line_spectrum(lines: Float[np.ndarray, "*l n c"]) -> Float[np.ndarray, " r"]:
    """The mean power of lines at 1, 2, … cycles a line: windowed, without their means.

    Args:
        lines: n values of c channels at equal distances.
    """
    count = lines.shape[-2]
    # Hann's window: the jump between a line's ends would count as all frequencies.
    window = np.sin(np.pi * (np.arange(count) + 0.5) / count)[:, None] ** 2
    means = (lines * window).sum(-2, keepdims=True) / window.sum()
    modes = np.fft.rfft((lines - means) * window, axis=-2)[..., 1:, :]
    power = np.abs(modes) ** 2 / (window**2).sum()
    return np.moveaxis(power, -2, 0).mean(axis=tuple(range(1, power.ndim)))


def distance(one: Float[np.ndarray, " r"], other: Float[np.ndarray, " r"]) -> float:
    """Wasserstein's distance of two spectra of sum one, as a share of the highest."""
    shares = one / one.sum() - other / other.sum()
    return float(np.abs(np.cumsum(shares)).mean())


def image_lines(
    image: Float[np.ndarray, "h w c"], mask: Bool[np.ndarray, "h w"]
) -> tuple[int, list[Float[np.ndarray, "l n c"]]]:
    """Lines of an image along its rows, and along its columns, of the mask's pixels.

    Returns:
        The distance of places in pixels, such that there are no more places than masked
        pixels; and for each axis lines of POINTS places at most.
    """
    stride = math.ceil((mask.size / mask.sum()) ** 0.5)
    if mask[::stride, ::stride].all():
        places = image[::stride, ::stride]
    else:  # each place takes its nearest trained pixel
        nearest: Any = distance_transform_edt(
            ~mask, return_distances=False, return_indices=True
        )
        places = image[tuple(nearest)][::stride, ::stride]
    found = []
    for lines in (places, places.swapaxes(0, 1)):
        lines = lines[:: -(-len(lines) // MOST_LINES)]
        length = lines.shape[1]
        count = min(length, POINTS)
        starts = np.linspace(0, length - count, length // count).astype(int)
        parts = [lines[:, start : start + count] for start in starts]
        found.append(np.concatenate(parts).astype(np.float64))
    return stride, found


@functools.partial(jax.jit, compiler_options=QUICK_COMPILE)
def untrained(
    models: Model, keys: Array, coords: Float[Array, "n 2"]
) -> Float[Array, "k s n c"]:
    """The colours of k models, stacked, as each of s keys draws them."""

    def drawn(model: Model) -> Array:
        return jax.lax.map(lambda key: model.predict(model.init(key), coords), keys)

    return jax.lax.map(drawn, models)


def field_lines(
    config: Config,
    name: str,
    values: Float[np.ndarray, " k"],
    shape: tuple[int, int, int],
    stride: int,
    counts: list[int],
) -> list[Float[np.ndarray, "k s n c"]]:
    """Untrained fields along a row, and along a column, for each value and seed.

    Args:
        name, values: the config's field that is varied.
        shape: (height, width, channels) of the image.
        stride: the distance of places in pixels.
        counts: places of a row, and of a column.
    """
    coords = []
    for axis, count in zip((1, 0), counts, strict=True):
        line = np.full((count, 2), 0.5)
        line[:, axis] = 0.25 + stride / shape[axis] * np.arange(count)
        coords.append(line.astype(np.float32))
    models = [make_model(config.replace(**{name: float(v)}), *shape) for v in values]
    with float32():
        keys = jax.random.split(jax.random.key(0), SEEDS)
        stacked = jax.tree.map(lambda *x: np.array(x, np.float32), *models)
        colours = np.asarray(untrained(stacked, keys, np.concatenate(coords)))
    return np.split(colours.astype(np.float64), [counts[0]], axis=2)


def tried(name: str, places: int) -> Float[np.ndarray, " k"]:
    """The values that are tried of sigma or omega_0, the smallest first.

    places: of the longer side; twice as many hold twice the frequencies.
    """
    least, most = {"sigma": (1 / 256, 1 / 2), "omega_0": (1 / 16, 8)}[name]
    return np.geomspace(least * places, min(most * places, 1e4), NUM_VALUES)


def find(
    config: Config, name: str, image: Float[np.ndarray, "h w c"]
) -> tuple[float, bool]:
    """The value of a config's sigma or omega_0 that suits an image's trained pixels.

    Returns:
        The value, of two digits; and whether the image has a spectrum at all: one that
        is constant has none, and is given the smallest value.
    """
    mask = train_mask(config, *image.shape[:2])
    stride, lines = image_lines(image, mask)
    counts = [each.shape[1] for each in lines]
    spectra = [line_spectrum(each) for each in lines]
    share = 1.0 if mask.all() else SHARE_BETWEEN
    values = tried(name, -(-max(image.shape[:2]) // stride))
    is_seen = [spectrum.sum() > NO_SPECTRUM for spectrum in spectra]
    distances = np.zeros(len(values))
    if any(is_seen):
        # The same frequencies, of an encoding whose sigma is no part of the program.
        if config.encoding in ("periodic", "trainable"):
            config = config.replace(encoding="gaussian")
        height, width, channels = image.shape
        shape = height, width, channels
        fields = field_lines(config, name, values, shape, stride, counts)
        for spectrum, is_there, drawn in zip(spectra, is_seen, fields, strict=True):
            if is_there:
                distances += [distance(spectrum, line_spectrum(each)) for each in drawn]
    # Of equal ones it is the first, and so the smallest.
    value = share * values[distances.argmin()]
    return float(f"{value:.2g}"), any(is_seen)


def resolved(
    config: Config, image: Float[np.ndarray, "h w c"]
) -> tuple[Config, tuple[str, ...]]:
    """The config with a number wherever it says `auto`, and a line on each."""
    notices: tuple[str, ...] = ()
    for name in AUTOS:
        if getattr(config, name) != AUTO:
            continue
        # Sigma comes first, beside the usual omega_0.
        is_first = name == "sigma" and config.omega_0 == AUTO
        known = config.replace(omega_0=Config().omega_0) if is_first else config
        value, is_seen = find(known, name, image)
        if name == "sigma" and config.encoding == "periodic":
            value = min(value, MAX_PERIODIC_SIGMA)
        config = config.replace(**{name: value})
        why = "by the image's spectrum"
        if not is_seen:
            why = "the smallest tried: no two trained pixels of a line differ"
        notices += (f"{name} is {value:g}, {why}",)
    return config, notices
