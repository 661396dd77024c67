"""One web page that holds a field and evaluates it: a WebGL 2 shader, no server.

`page.html` is the page; here the field becomes the numbers that its shader reads.
Every network for one pixel is, there, an encoding and a list of dense layers.
"""

import base64
import html
import importlib.resources
import io
import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jax_inr.adapters import describe
from jax_inr.encodings import Fourier, Identity
from jax_inr.errors import ConfigError, ImageError
from jax_inr.grids import Grid
from jax_inr.io.images import to_uint8
from jax_inr.io.summaries import sizes
from jax_inr.modules import Wire, activation_name
from jax_inr.networks import FlaxNetwork
from jax_inr.tensors import flatten

# What the page's textures hold: 4 numbers a texel, 4096 texels a row.
MAX_WIDTH = 4000
MAX_NUMBERS = 1 << 24
# Pixels of the image beside the field, which a browser decodes at once.
MAX_PIXELS = 1 << 24
# Colours that weights of 16 bits may be off by before 32 bits are taken.
HALF_TOLERANCE = 0.5 / 255


class Layer(NamedTuple):
    """A dense layer of the page: kernel (i, o), bias (o,), what follows it."""

    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    scales: tuple[float, float] = (1.0, 1.0)


def to_html(field: Any, title: str = "field", image: np.ndarray | None = None) -> str:
    """A self-contained page that draws the field at any zoom beside its pixels.

    Args:
        field: an ImageField of any network for one pixel.
        title: of the page.
        image: (h, w, c) in [0, 1], the image that was fitted; the field's own
            pixels where left out.

    Raises:
        ConfigError: the page cannot evaluate the field; the message says why.
        ImageError: the image has another size than the field's.
    """
    check_size(field)
    encoding, layers = program(field)
    native: np.ndarray = field.render()
    if image is None:
        image = native
    if image.shape != native.shape:
        raise ImageError(
            f"the image is {image.shape[0]}x{image.shape[1]}x{image.shape[2]}, but "
            f"the field was fitted to {field.height}x{field.width}x{field.channels}",
            "give the image that was fitted, or none",
        )
    halves = _halves_do(field, native)
    kind = "<f2" if halves else "<f4"
    grid = _grid(field)
    # An error of phase is absolute: frequencies keep their digits.
    arrays = [encoding.astype(kind if grid else "<f4")]
    for layer in layers:
        arrays += [layer.kernel.astype(kind), layer.bias.astype(kind)]
    data = b"".join(array.tobytes() for array in arrays)
    count = sizes(flatten(field.variables), field.height, field.width)["num_params"]
    meta = {
        "title": title,
        "about": f"{field.height} × {field.width} pixels as a function of {count:,} "
        f"numbers, {len(data) / 1000:.0f} kB",
        "height": field.height,
        "width": field.width,
        "channels": field.channels,
        "white": field.rgb_max / 255,
        "halves": halves,
        "frequencies": encoding.shape[-1],
        "grid": grid,
        "layers": [
            {
                "inputs": layer.kernel.shape[0],
                "outputs": layer.kernel.shape[1],
                "activation": layer.activation,
                "scales": layer.scales,
            }
            for layer in layers
        ],
    }
    parts = {
        "TITLE": html.escape(title),
        # In JSON "<" stands in texts alone, where it may be written so.
        "META": json.dumps(meta).replace("<", "\\u003c"),
        "WEIGHTS": base64.b64encode(data).decode(),
        "IMAGE": _data_address(image),
    }
    page = importlib.resources.files("jax_inr.draw").joinpath("page.html")
    text = page.read_text(encoding="utf-8")
    return re.sub("__([A-Z]+)__", lambda found: parts[found[1]], text)


def check_size(field: Any) -> None:
    """Refuse a field of an image that the page cannot hold; ConfigError."""
    if field.height * field.width > MAX_PIXELS:
        raise ConfigError(
            f"the page holds an image of up to {MAX_PIXELS} pixels, and the field is "
            f"of {field.height} x {field.width}",
            "use render, or fit a smaller image",
        )


def program(field: Any) -> tuple[np.ndarray, list[Layer]]:
    """The field as the numbers of its encoding, and dense layers.

    The numbers are the frequencies (2, m), none for plain coordinates; or a grid's
    tables, one after the other.

    Raises:
        ConfigError: the network is no such thing, or too large for a texture.
    """
    network, tensors = field.model.network, flatten(field.variables)
    if not field.model.per_pixel:
        raise ConfigError(
            "the page evaluates one pixel at a time, and the cnn sees a whole grid",
            "fit another network",
        )
    if not isinstance(network, FlaxNetwork):
        raise ConfigError(
            f"the page knows the networks of jax_inr alone, not {describe(network)}",
            "fit one of them",
        )
    module: Any = network.module
    omega_0 = float(tensors.get("constants/omega_0", 1.0))
    scale_0 = float(tensors.get("constants/scale_0", 1.0))
    names = [f"params/dense_{i}" for i in range(len(module.hidden_features) + 1)]
    is_wire = isinstance(module, Wire)
    activation = "wire" if is_wire else activation_name(module.activate)
    layers = [
        Layer(tensors[f"{name}/kernel"], tensors[f"{name}/bias"], activation)
        for name in names
    ]
    if is_wire:
        layers = [
            _complex(
                layer,
                tensors.get(f"{name}/kernel_imag"),
                tensors.get(f"{name}/bias_imag"),
            )
            for layer, name in zip(layers, names, strict=True)
        ]
        # The colour is the real part, the first of each pair.
        last = layers[-1]
        layers[-1] = last._replace(kernel=last.kernel[:, ::2], bias=last.bias[::2])
    layers = [layer._replace(scales=(omega_0, scale_0)) for layer in layers]
    if network.is_bounded:
        layers[-1] = layers[-1]._replace(activation="sigmoid")
    else:
        # Targets in [-1, 1]: (1 + y) / 2.
        last = layers[-1]
        layers[-1] = last._replace(
            kernel=last.kernel / 2, bias=(1 + last.bias) / 2, activation="none"
        )
    encoding = field.model.encoding
    if isinstance(encoding, Identity) and encoding.centred:
        # The page's coordinates are in [0, 1]: 2 x - 1.
        first = layers[0]
        layers[0] = first._replace(
            kernel=2 * first.kernel, bias=first.bias - first.kernel.sum(0)
        )
    widest = max(max(layer.kernel.shape) for layer in layers)
    numbers = _encoding(field, tensors)
    total = numbers.size + sum(layer.kernel.size for layer in layers)
    if widest > MAX_WIDTH or total > MAX_NUMBERS:
        raise ConfigError(
            f"the page holds layers of up to {MAX_WIDTH} features and {MAX_NUMBERS} "
            f"numbers, and the field has {widest} and {total}",
            "fit a smaller network",
        )
    return numbers, layers


def _encoding(field: Any, tensors: dict[str, np.ndarray]) -> np.ndarray:
    encoding = field.model.encoding
    if isinstance(encoding, Identity):
        return np.zeros((2, 0), np.float32)
    if isinstance(encoding, Grid):
        levels = range(len(encoding.resolutions))
        return np.concatenate([tensors[f"params/grid_{i}"].ravel() for i in levels])
    if isinstance(encoding, Fourier):
        return np.asarray(encoding.frequencies(field.variables))
    raise ConfigError(
        f"the page knows the encodings of jax_inr alone, not {describe(encoding)}",
        "fit with one of them",
    )


def _grid(field: Any) -> dict[str, Any] | None:
    """What the page has to know of a grid.

    levels: cells along rows and columns, hash entries (or 0) and start of each; parts:
    its first feature, and how many it has.
    """
    encoding = field.model.encoding
    if not isinstance(encoding, Grid):
        return None
    levels, parts, start, first = [], [], 0, 0
    for resolution in encoding.resolutions:
        shape = encoding.table_shape(resolution)
        rows, columns = np.broadcast_to(resolution, 2).tolist()
        levels.append((rows, columns, shape[0] if len(shape) == 2 else 0, start))
        parts.append((first, shape[-1]))
        start, first = start + math.prod(shape), first + shape[-1]
    return {"levels": levels, "parts": parts, "count": start}


def _complex(
    layer: Layer, kernel_imag: np.ndarray | None, bias_imag: np.ndarray | None
) -> Layer:
    """A layer of complex numbers on pairs: real, imaginary, real, imaginary, …

    The first layer has real inputs and weights: its outputs have no imaginary part.
    """
    real, fan_out = layer.kernel, layer.kernel.shape[1]
    bias = np.zeros(2 * fan_out, np.float32)
    bias[::2] = layer.bias
    if kernel_imag is None or bias_imag is None:
        kernel = np.zeros((real.shape[0], 2 * fan_out), np.float32)
        kernel[:, ::2] = real
        return layer._replace(kernel=kernel, bias=bias)
    bias[1::2] = bias_imag
    kernel = np.empty((2 * real.shape[0], 2 * fan_out), np.float32)
    kernel[::2, ::2], kernel[::2, 1::2] = real, kernel_imag
    kernel[1::2, ::2], kernel[1::2, 1::2] = -kernel_imag, real
    return layer._replace(kernel=kernel, bias=bias)


def _halves_do(field: Any, native: np.ndarray) -> bool:
    """Whether weights of 16 bits give the same image, at its own size, to the eye."""
    import dataclasses

    import jax

    def rounded(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        is_weight = "dense" in name or "grid" in name
        return leaf.astype("float16").astype("float32") if is_weight else leaf

    with np.errstate(over="ignore"):
        variables = jax.tree_util.tree_map_with_path(rounded, field.variables)
    other = dataclasses.replace(field, variables=variables).render()
    return bool(np.abs(other - native).max() <= HALF_TOLERANCE)


def _data_address(image: np.ndarray) -> str:
    """The image as a data address of a lossless WebP, or a PNG where that is less."""
    levels = to_uint8(image)
    drawn = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    tried = []
    for kind in ("png", "webp") if max(levels.shape) < 16_384 else ("png",):
        buffer = io.BytesIO()
        drawn.convert("RGB").save(buffer, kind, lossless=True, quality=100)
        tried.append((buffer.getvalue(), kind))
    data, kind = min(tried, key=lambda pair: len(pair[0]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
