"""3x3 convolutions over a whole grid, in the form that suits the device.

On a CPU XLA runs its own convolution, and above all the gradients of one, at a fraction
of the speed of its matrix products. There the convolution is made of matrix products,
in one of three forms that follows from the number of channels, and its gradients are
matrix products again. Everywhere else XLA's convolution is used.
"""

import jax
import jax.numpy as jnp
from jax import lax

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

    `precision` is that of the products, as in `jax.lax.dot`. At the same precision
    devices differ in the order of the sums, so in rounding only.
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

    A tile of 2x2 outputs needs 4x4 inputs, which overlap its neighbours'. Transformed,
    inputs and kernel are multiplied place by place: each of the 16 places is one matrix
    product over tiles and channels, and so are its gradients. Lavin and Gray, F(2x2,
    3x3) of arXiv 1509.09308. Its only constant is 1/2, so it rounds about as the plain
    sum does.
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
    weights = [_kernel_places(*line) for line in _kernel_places(*kernel)]

    def multiply(inputs, weights):
        # Flat, since XLA is slow at the gradient's sum over two axes.
        flat = jnp.dot(inputs.reshape(-1, features), weights, precision=precision)
        return flat.reshape(strip, columns, -1)

    def convolve(piece):
        top, bottom = piece[:-1], piece[1:]
        lines = _input_places(top[:, 0], top[:, 1], bottom[:, 0], bottom[:, 1])
        sums = []
        for line, line_weights in zip(lines, weights, strict=True):
            left, right = line[:, :-1], line[:, 1:]
            inputs = _input_places(
                left[:, :, 0], left[:, :, 1], right[:, :, 0], right[:, :, 1]
            )
            sums.append(_outputs(*map(multiply, inputs, line_weights)))
        left, right = (_outputs(*side) for side in zip(*sums, strict=True))
        pixels = zip(left, right, strict=True)
        return jnp.stack([jnp.stack(pair, 2) for pair in pixels], 1)

    tiles = lax.map(convolve, pieces)  # (strips, strip, 2, columns, 2, out)
    return tiles.reshape(2 * rows, 2 * columns, -1)[:height, :width]


# Along one axis, with four products in place of six: _outputs of _input_places times
# _kernel_places are the two outputs of a filter with three taps on four inputs.
def _input_places(a, b, c, d):
    return a - c, b + c, c - b, b - d


def _kernel_places(a, b, c):
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _outputs(a, b, c, d):
    return a + b + c, b - c - d
