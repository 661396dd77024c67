"""3x3 convolutions over a whole grid, in the form that suits the device.

On a CPU XLA runs its own convolution, and above all the gradients of one, at a fraction
of the speed of its matrix products. There the convolution is made of matrix products,
in one of three forms that follows from the number of channels, and its gradients are
matrix products again. Everywhere else XLA's convolution is used.
"""

import jax
import jax.numpy as jnp
from jax import lax

# Winograd's F(2, 3): the two outputs of a three-tap filter on four inputs are
# A ((G kernel) * (B inputs)), four multiplications where the plain sum has six.
_A = ((1, 1, 1, 0), (0, 1, -1, -1))
_B = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_G = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))

# With fewer channels than this, in or out, the additions of Winograd's form cost more
# than the multiplications it saves.
_WIDE = 16

# Tiles of Winograd's form worked on at once: enough for fast matrix products, few
# enough for a cache to hold what is between them.
_TILES = 1000


def conv3x3(
    image: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """The 3x3 convolution of an image that is zero outside its border, plus a bias.

    Image (h, w, in), kernel (3, 3, in, out), bias (out,); returns (h, w, out), at
    [r, c, o] bias[o] + sum_ijk image[r + i - 1, c + j - 1, k] kernel[i, j, k, o].

    `precision` is that of the matrix products, as in `jax.lax.dot`. Devices differ in
    the order of the sums, so in rounding only.
    """
    features_in, features_out = kernel.shape[2:]
    if min(features_in, features_out) >= _WIDE:
        products = _winograd
    elif features_in <= features_out:
        products = _shift_then_multiply
    else:
        products = _multiply_then_shift

    def on_cpu(image, kernel):
        return products(image, kernel, precision)

    def elsewhere(image, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            image[None], kernel, (1, 1), "SAME", None, None, layout, precision=precision
        )[0]

    # The choice is made when the program is lowered: the other form is not compiled.
    return lax.platform_dependent(image, kernel, cpu=on_cpu, default=elsewhere) + bias


def _shifted(planes):
    """Planes (..., h, w) as each of the nine taps sees them, zero outside the border.

    Channels come before rows here: a row of pixels fills vector instructions where two
    or three channels would not.
    """
    *leading, height, width = planes.shape
    padded = jnp.pad(planes, [(0, 0)] * len(leading) + [(1, 1), (1, 1)])
    return [
        padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)
    ]


def _shift_then_multiply(image, kernel, precision):
    """For few channels in: one product with the nine neighbours of every pixel."""
    neighbours = jnp.stack(_shifted(jnp.moveaxis(image, -1, 0)))
    taps = kernel.reshape(9, *kernel.shape[2:])
    return jnp.einsum("tkhw,tko->hwo", neighbours, taps, precision=precision)


def _multiply_then_shift(image, kernel, precision):
    """For few channels out: the transpose, nine narrow images shifted and added."""
    taps = kernel.reshape(9, *kernel.shape[2:])
    narrow = jnp.einsum("tko,hwk->tohw", taps, image, precision=precision)
    total = jnp.stack([plane[t] for t, plane in enumerate(_shifted(narrow))]).sum(0)
    return jnp.moveaxis(total, 0, -1)


def _winograd(image, kernel, precision):
    """For many channels in and out: 16 multiplications where the plain sum has 36.

    A tile of 2x2 outputs is A [(G kernel G^T) * (B inputs B^T)] A^T: Lavin and Gray,
    arXiv 1509.09308. Its 4x4 inputs overlap its neighbours'; each of the 16 places is
    one matrix product over tiles and channels, in the gradients too. The constants are
    1 and 1/2, so rounding stays about that of the plain sum.
    """
    height, width, features = image.shape
    rows, columns = -(-height // 2), -(-width // 2)  # of tiles
    strips = -(-rows // max(1, _TILES // columns))
    strip = -(-rows // strips)  # rows of tiles in one
    rows = strips * strip

    border = (1, 2 * rows + 1 - height), (1, 2 * columns + 1 - width), (0, 0)
    padded = jnp.pad(image, border).reshape(rows + 1, 2, columns + 1, 2, features)
    # Each strip has its own copy of the two rows of pixels it shares with the next one:
    # the gradient of a slice inside the loop would fill a whole image each time.
    own = padded[:-1].reshape(strips, strip, *padded.shape[1:])
    pieces = jnp.concatenate([own, padded[strip::strip, None]], 1)
    weights = _both_axes(_G, kernel)

    def place(inputs, weights):
        # Flat, since the gradient's sum is slow over two axes.
        flat = jnp.dot(inputs.reshape(-1, features), weights, precision=precision)
        return flat.reshape(strip, columns, -1)

    def convolve(piece):
        inputs = [
            [
                piece[i // 2 :, i % 2, j // 2 :, j % 2][:strip, :columns]
                for j in range(4)
            ]
            for i in range(4)
        ]
        outputs = [
            [place(x, u) for x, u in zip(xs, us, strict=True)]
            for xs, us in zip(_both_axes(_B, inputs), weights, strict=True)
        ]
        tiles = _both_axes(_A, outputs)
        return jnp.stack([jnp.stack(pair, 2) for pair in tiles], 1)

    tiles = lax.map(convolve, pieces)  # (strips, strip, 2, columns, 2, out)
    return tiles.reshape(2 * rows, 2 * columns, -1)[:height, :width]


def _both_axes(matrix, grid):
    """matrix @ grid @ matrix^T for a grid of arrays, as sums that XLA fuses."""

    def combine(terms):
        pairs = [zip(row, terms, strict=True) for row in matrix]
        return [sum(m * term for m, term in pair if m) for pair in pairs]

    columns = [combine(column) for column in zip(*grid, strict=True)]
    return [combine(row) for row in zip(*columns, strict=True)]
