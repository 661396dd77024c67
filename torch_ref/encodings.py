"""Coordinates of pixels and their Fourier features, arXiv 2006.10739.

Axes: h, w = height, width; m = number of frequencies; f = number of features.
"""

import math

import torch

from jax_inr.config import Config
from jax_inr.errors import ConfigError


def pixel_indices(height: int, width: int) -> torch.Tensor:
    """Raw pixel indices, the input of the notebook's CNN.

    Returns (2, h, w) float32: rows 0..h-1 in channel 0, columns 0..w-1 in channel 1.
    """
    # The notebook sizes its rows by IMAGE_WIDTH and its columns by IMAGE_HEIGHT,
    # which is right for its square image only.
    rows = torch.arange(0, height).unsqueeze(1) * torch.ones(width).unsqueeze(0)
    columns = torch.ones(height).unsqueeze(1) * torch.arange(0, width).unsqueeze(0)
    return torch.stack((rows, columns))


def pixel_grid(height: int, width: int) -> torch.Tensor:
    """Coordinates of the pixels' corners, the image being one period.

    Returns (h, w, 2) float32 in [0, 1): (row/height, column/width).
    """
    return pixel_indices(height, width).permute(1, 2, 0) / torch.tensor([height, width])


def gaussian_frequencies(
    num_frequencies: int, sigma: float, generator: torch.Generator
) -> torch.Tensor:
    """The matrix B of the Gaussian encoding, drawn on the CPU.

    Returns (2, m) float32, normal with standard deviation sigma, in cycles per image.
    """
    return torch.randn((2, num_frequencies), generator=generator) * sigma


def fourier_features(coords: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """concat(sin(2 pi x B), cos(2 pi x B)).

    Takes coords (..., 2) and frequencies B (2, m); returns (..., 2m) in [-1, 1].
    """
    # The optimised notebook writes 2*math.pi*input@input_freq, which scales the
    # coordinates before the product; the first version's 2*math.pi*(input@freqs) is
    # meant. Written out because TF32 and autocast reach matrix products, and a phase
    # of hundreds of radians must stay float32.
    cycles = coords[..., :1] * frequencies[0] + coords[..., 1:] * frequencies[1]
    phases = 2 * math.pi * cycles
    return torch.cat((torch.sin(phases), torch.cos(phases)), dim=-1)


def encode(
    encoding: str, coords: torch.Tensor, frequencies: torch.Tensor | None = None
) -> torch.Tensor:
    """The features (..., f) of coords (..., 2), by the config's name of the encoding.

    "gaussian" needs its frequencies (2, m); "basic" is the encoding with B = identity;
    "none" gives the coordinates themselves. Raises ConfigError for any other.
    """
    match encoding:
        case "gaussian":
            assert frequencies is not None
            return fourier_features(coords, frequencies)
        case "basic":
            return fourier_features(coords, torch.eye(2, device=coords.device))
        case "none":
            return coords
    raise ConfigError(f"torch_ref has no encoding {encoding}", "use --backend jax")


def num_features(config: Config) -> int:
    """How many features f the config's encoding gives."""
    frequencies = torch.zeros(2, config.num_frequencies)
    return encode(config.encoding, torch.zeros(2), frequencies).shape[-1]


def channels_first(grid: torch.Tensor) -> torch.Tensor:
    """(h, w, c) laid out as (c, h, w), contiguous as in the optimised notebook."""
    return grid.permute(2, 0, 1).contiguous()


def channels_last(grid: torch.Tensor) -> torch.Tensor:
    """(c, h, w) laid out as (h, w, c), contiguous."""
    return grid.permute(1, 2, 0).contiguous()
