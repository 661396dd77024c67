"""The channels of a run's encoding over the image, as numbers to be drawn."""

import contextlib
from typing import Any

import numpy as np

from jax_inr.coordinates import pixel_grid

MAX_SIDE = 224  # pixels of a drawn channel
MAX_FREQUENCIES = 20

Channels = tuple[np.ndarray, list[str]]


def encoding_channels(
    tensors: dict[str, np.ndarray], height: int, width: int, model: Any = None
) -> Channels:
    """The first channels (k, h, w) of a run's encoding, in [-1, 1], and their titles.

    Sines first, then cosines, as the notebook has them; other features are scaled each
    to its largest number; an encoding without frequencies shows its two coordinates.

    Args:
        tensors: of a field file.
        model: of the JAX back end; without it the encoding is torch_ref's.
    """
    coords = _grid(height, width)
    if model is None:
        frequencies = tensors.get("constants/frequencies")
        if frequencies is None:
            return coordinate_channels(coords)
        return fourier_channels(frequencies, coords)
    # Imported late: torch_ref does without JAX.
    from jax_inr.encodings import Fourier, Identity, PixelIndices

    if isinstance(model.encoding, Identity | PixelIndices):
        return coordinate_channels(coords)
    if isinstance(model.encoding, Fourier):
        frequencies = np.asarray(model.encoding.frequencies(_variables(tensors)))
        return fourier_channels(frequencies, coords)
    return feature_channels(model, tensors, coords)


def compile_features(
    model: Any, tensors: dict[str, np.ndarray], height: int, width: int
) -> None:
    """Compile what drawing an encoding takes, where compiled programs are kept.

    Called while other programs compile, it takes no time of its own. What cannot be
    compiled is told where it is drawn.
    """
    from jax_inr.encodings import Fourier, Identity, PixelIndices

    if not isinstance(model.encoding, Fourier | Identity | PixelIndices):
        with contextlib.suppress(Exception):
            program, *arguments = _features(model, tensors, _grid(height, width))
            program.prepare(*arguments)


def _grid(height: int, width: int) -> np.ndarray:
    return pixel_grid(min(height, MAX_SIDE), min(width, MAX_SIDE))


def _features(model: Any, tensors: dict[str, np.ndarray], coords: np.ndarray) -> Any:
    """The program of an encoding's features, and its arguments."""
    # Imported late: torch_ref does without JAX.
    from jax_inr.rendering import features_by_rows
    from jax_inr.tensors import structure, unflatten_like

    variables = unflatten_like(model.shapes(), tensors)
    return features_by_rows, structure(model), variables, coords


def coordinate_channels(coords: np.ndarray) -> Channels:
    """The two coordinates, from -1 to 1."""
    return np.moveaxis(2 * coords - 1, -1, 0), ["row", "column"]


def fourier_channels(frequencies: np.ndarray, coords: np.ndarray) -> Channels:
    """Sines and cosines of the first columns of B (2, m)."""
    frequencies = frequencies[:, :MAX_FREQUENCIES]
    phases = 2 * np.pi * (coords @ frequencies)
    channels = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    count = frequencies.shape[1]
    titles = [f"{wave}(freq {i})" for wave in ("sin", "cos") for i in range(count)]
    return np.moveaxis(channels, -1, 0), titles


def feature_channels(
    model: Any, tensors: dict[str, np.ndarray], coords: np.ndarray
) -> Channels:
    """The first features of any encoding, each divided by its largest number."""
    features_by_rows, *arguments = _features(model, tensors, coords)
    features = np.asarray(features_by_rows(*arguments))
    channels = np.moveaxis(features[..., : 2 * MAX_FREQUENCIES], -1, 0)
    largest = np.abs(channels).max(axis=(1, 2), keepdims=True)
    names = getattr(model.encoding, "feature_names", None)
    titles = names or [f"feature {i}" for i in range(len(channels))]
    return channels / np.maximum(largest, 1e-30), titles[: len(channels)]


def _variables(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    from jax_inr.tensors import as_array

    variables: dict[str, Any] = {"params": {}, "constants": {}}
    for name, leaf in tensors.items():
        kind, _, rest = name.partition("/")
        variables[kind][rest] = as_array(leaf)
    return variables
