"""Upsampling of the trained quarter of an image: what a network has to beat.

Framework-free. The quarter's pixels are the image's at even rows and columns, so a
pixel of the image lies at half its index in the quarter, with no half-pixel shift.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

# Weights of the neighbours of a point midway between two samples. Keys' cubic with
# a = -1/2 (1981), which most call bicubic, reproduces parabolas.
MIDWAY = {"bilinear": (1 / 2, 1 / 2), "bicubic": (-1 / 16, 9 / 16, 9 / 16, -1 / 16)}


def upsample(
    quarter: Float[np.ndarray, "qh qw c"],
    height: int,
    width: int,
    kind: Literal["bilinear", "bicubic"],
) -> Float[np.ndarray, "h w c"]:
    """The image (height, width, c) whose even rows and columns are `quarter`'s.

    Beyond its edges the quarter is continued by its outermost pixels.
    """
    rows, columns = axis_weights(height, kind), axis_weights(width, kind)
    return np.einsum("iy,yxc,jx->ijc", rows, quarter, columns, optimize=True)


def axis_weights(size: int, kind: str) -> Float[np.ndarray, "size q"]:
    """What each of `size` pixels of an axis takes of the samples at its even ones."""
    midway = MIDWAY[kind]
    samples = -(-size // 2)
    weights = np.zeros((size, samples))
    even, odd = np.arange(0, size, 2), np.arange(1, size, 2)
    weights[even, even // 2] = 1
    first = odd // 2 - len(midway) // 2 + 1
    for offset, weight in enumerate(midway):
        neighbour = np.clip(first + offset, 0, samples - 1)
        np.add.at(weights, (odd, neighbour), weight)
    return weights
