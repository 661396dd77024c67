"""Flax (Linen) networks: features to colour for one pixel; the CNN over a grid.

The only module that knows Flax. A network comes as a `Model`: pure functions of
`variables`, a plain dict that holds the trainable `params` and the fixed `constants`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr import encodings
from jax_inr.activations import finer, gabor, gauss, sine, weight_bound
from jax_inr.config import GRIDS, Config
from jax_inr.convolution import conv3x3
from jax_inr.grids import draw_table, grid_features, lattice_features

Variables = dict[str, Any]


# JAX's own default on recent GPUs is TF32, without a word; here it is asked for.
PRECISIONS = {
    "float32": jax.lax.Precision.HIGHEST,
    "tf32": jax.lax.Precision.DEFAULT,
    "bfloat16": jax.lax.Precision.DEFAULT,
}


def rounded_dot_general(a: Array, b: Array, dimension_numbers, **_) -> Array:
    """A product of operands rounded to bfloat16, summed in float32.

    Rounded by hand, because the CPU ignores a precision of bfloat16.
    """
    return jax.lax.dot_general(
        a.astype(jnp.bfloat16),
        b.astype(jnp.bfloat16),
        dimension_numbers,
        preferred_element_type=jnp.float32,
    )


def uniform(bound: float) -> Callable[..., Array]:
    """Initialiser: uniform in +-bound."""

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class ComplexDense(nn.Module):
    """A dense layer of complex numbers, each kept as two real ones."""

    features: int
    bound: float
    dot_general: Any

    @nn.compact
    def __call__(
        self, real: Float[Array, " i"], imag: Float[Array, " i"]
    ) -> tuple[Float[Array, " o"], Float[Array, " o"]]:
        shape, init = (real.shape[-1], self.features), uniform(self.bound)
        kernel = self.param("kernel", init, shape)
        kernel_imag = self.param("kernel_imag", init, shape)
        bias = self.param("bias", init, shape[1:])
        bias_imag = self.param("bias_imag", init, shape[1:])

        def dot(a: Array, b: Array) -> Array:
            return self.dot_general(a, b, (((a.ndim - 1,), (0,)), ((), ())))

        return (
            dot(real, kernel) - dot(imag, kernel_imag) + bias,
            dot(real, kernel_imag) + dot(imag, kernel) + bias_imag,
        )


class PixelMLP(nn.Module):
    """A network for one pixel: encode, dense layers, an activation between.

    `mlp` ends in a sigmoid, as the notebook's 1x1 convolutions do, shared by all
    pixels. The others are of papers that fit targets in [-1, 1] with a linear last
    layer y on coordinates in [-1, 1]: they give (1 + y) / 2.
    """

    config: Config
    channels: int

    def setup(self) -> None:
        config = self.config
        if config.encoding in GRIDS:
            self.tables = [
                self.param(f"grid_{level}", draw_table, config.level_shape(cells))
                for level, cells in enumerate(config.level_cells)
            ]
        elif config.encoding == "trainable":
            self.trained: Any = self.param(
                "frequencies", lambda key: encodings.draw_frequencies(config, key)
            )
        elif config.encoding in ("gaussian", "periodic"):
            self.frequencies = self.variable(
                "constants",
                "frequencies",
                lambda: encodings.draw_frequencies(
                    config, self.make_rng("frequencies")
                ),
            )
        # Numbers that a sweep may vary are constants of the model, not of the trace.
        if config.network in ("siren", "finer", "wire"):
            self.omega_0 = self.variable(
                "constants", "omega_0", lambda: jnp.float32(config.omega_0)
            )
        if config.network in ("gauss", "wire"):
            self.scale_0 = self.variable(
                "constants", "scale_0", lambda: jnp.float32(config.scale_0)
            )
        widths = (config.num_features, *config.hidden_features, self.channels)
        self.dense = [
            self._layer(index, fan_in, fan_out)
            for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths))
        ]

    def _layer(self, index: int, fan_in: int, fan_out: int) -> Any:
        precision = PRECISIONS[self.config.matmul_precision]
        dot_general: Any = functools.partial(jax.lax.dot_general, precision=precision)
        if self.config.matmul_precision == "bfloat16":
            dot_general = rounded_dot_general
        bound = weight_bound(self.config, index, fan_in)
        # The first layer of WIRE has real inputs, and real weights.
        if self.config.network == "wire" and index > 0:
            return ComplexDense(fan_out, bound, dot_general)
        kernel_init, bias_init = uniform(bound), uniform(fan_in**-0.5)
        if self.config.init == "glorot":
            # jax.example_libraries.stax.Dense, which arXiv 2006.10739 was made with.
            kernel_init = nn.initializers.glorot_normal()
            bias_init = nn.initializers.normal(1e-2)
        return nn.Dense(
            fan_out,
            kernel_init=kernel_init,
            bias_init=bias_init,
            precision=precision,
            dot_general=dot_general,
        )

    def encode(self, coords: Float[Array, "2"]) -> Float[Array, " f"]:
        match self.config.encoding:
            case "none":
                return coords if self.config.network == "mlp" else 2 * coords - 1
            case "dense_grid" | "hash_grid":
                return grid_features(self.config, self.tables, coords)
            case "trainable":
                frequencies = self.trained
            case "gaussian" | "periodic":
                frequencies = self.frequencies.value
            case "positional":
                config = self.config
                frequencies = encodings.positional_frequencies(
                    config.num_frequencies, config.octaves
                )
            case "basic":
                frequencies = encodings.basic_frequencies()
        return encodings.fourier_features(coords, frequencies)

    def encode_lattice(
        self, rows: Float[Array, " r"], columns: Float[Array, " k"]
    ) -> Float[Array, "r k f"]:
        return lattice_features(self.config, self.tables, rows, columns)

    def colour(self, features: Float[Array, " f"]) -> Float[Array, " c"]:
        *hidden, last = self.dense
        match self.config.network:
            case "wire":
                return (1 + self._wire(features)) / 2
            case "siren":
                activate = functools.partial(sine, omega_0=self.omega_0.value)
            case "finer":
                activate = functools.partial(finer, omega_0=self.omega_0.value)
            case "gauss":
                activate = functools.partial(gauss, scale_0=self.scale_0.value)
            case _:
                activate = getattr(nn, self.config.activation)
        for layer in hidden:
            features = activate(layer(features))
        if self.config.network == "mlp":
            return nn.sigmoid(last(features))
        return (1 + last(features)) / 2

    def _wire(self, features: Float[Array, " f"]) -> Float[Array, " c"]:
        first, *others = self.dense
        real = first(features)
        imag = jnp.zeros_like(real)
        for layer in others:
            waves = gabor(real, imag, self.omega_0.value, self.scale_0.value)
            real, imag = layer(*waves)
        return real

    def __call__(self, coords: Float[Array, "2"]) -> Float[Array, " c"]:
        return self.colour(self.encode(coords))


class Conv3x3(nn.Module):
    """One 3x3 convolution, zero padding, torch's initial distribution."""

    features: int
    precision: str

    @nn.compact
    def __call__(self, image: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        init = uniform((9 * image.shape[-1]) ** -0.5)
        kernel = self.param("kernel", init, (3, 3, image.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return conv3x3(image, kernel, bias, precision=PRECISIONS[self.precision])


class GridCNN(nn.Module):
    """The notebook's first attempt: 3x3 convolutions over the grid of raw indices."""

    config: Config
    channels: int
    height: int
    width: int

    def setup(self) -> None:
        widths = (*self.config.hidden_features, self.channels)
        precision = self.config.matmul_precision
        self.conv = [Conv3x3(features, precision) for features in widths]

    def encode(self, coords: Float[Array, "h w 2"]) -> Float[Array, "h w 2"]:
        return coords * jnp.array([self.height, self.width], coords.dtype)

    def colour(self, features: Float[Array, "h w 2"]) -> Float[Array, "h w c"]:
        for layer in self.conv[:-1]:
            features = nn.relu(layer(features))
        return nn.sigmoid(self.conv[-1](features))

    def __call__(self, coords: Float[Array, "h w 2"]) -> Float[Array, "h w c"]:
        return self.colour(self.encode(coords))


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as pure functions of `variables`; compose them with any transform.

    `per_pixel` tells a function of one coordinate from one of the whole grid.
    """

    module: nn.Module
    per_pixel: bool

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw `{"params": ..., "constants": ...}`; weights and B from split keys."""
        weights, frequencies = jax.random.split(key)
        one = jnp.zeros((2,) if self.per_pixel else (1, 1, 2))
        keys = {"params": weights, "frequencies": frequencies}
        return {"constants": {}, **self.module.init(keys, one)}

    def encode_lattice(
        self,
        variables: Variables,
        rows: Float[Array, " r"],
        columns: Float[Array, " k"],
    ) -> Float[Array, "r k f"]:
        """The features at every crossing of rows and columns, as `encode` gives them.

        A dense grid takes two matrix products instead of gathers.
        """
        if self.module.config.encoding == "dense_grid":
            features: Any = self.module.apply(
                variables, rows, columns, method="encode_lattice"
            )
            return features
        crossings = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1)
        return self.encode(variables, crossings)

    def encode(
        self, variables: Variables, coords: Float[Array, "*n 2"]
    ) -> Float[Array, "*n f"]:
        """The features of coordinates (..., 2): all that comes before the weights."""
        return self._over_pixels("encode", variables, coords)

    def colours(
        self, variables: Variables, features: Float[Array, "*n f"]
    ) -> Float[Array, "*n c"]:
        """The colours of `encode`'s features."""
        return self._over_pixels("colour", variables, features)

    def predict(
        self, variables: Variables, coords: Float[Array, "*n 2"]
    ) -> Float[Array, "*n c"]:
        """The network's colours at coordinates, one per position.

        Args:
            variables: what `init` gave, or trained from it.
            coords: (..., 2) in the unit square; (h, w, 2), a whole grid, for the CNN.

        Returns:
            (..., c) in (0, 1), where 1 stands for `rgb_max`.

        Raises:
            ValueError: the CNN is asked for anything but a grid.
        """
        return self.colours(variables, self.encode(variables, coords))

    def _over_pixels(self, method: str, variables: Variables, inputs: Array) -> Array:
        def one(inputs: Array) -> Any:
            return self.module.apply(variables, inputs, method=method)

        if self.per_pixel:
            batch = inputs.reshape(-1, inputs.shape[-1])
            outputs = jax.vmap(one)(batch)
            return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])
        if inputs.ndim != 3:
            raise ValueError(
                "the CNN sees a pixel's neighbours: give it a whole grid (h, w, 2), "
                f"not coordinates of shape {inputs.shape}"
            )
        return one(inputs)


def make_model(config: Config, height: int, width: int, channels: int) -> Model:
    """The config's network for a picture of this size."""
    if config.network == "cnn":
        return Model(GridCNN(config, channels, height, width), per_pixel=False)
    return Model(PixelMLP(config, channels), per_pixel=True)


def count_params(variables: Variables) -> int:
    """Trained numbers; fixed frequencies are not counted."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
