"""Flax (Linen) networks: features to colour for one pixel; the CNN over a grid.

The only module that knows Flax. A network comes as a `Model`: pure functions of
`variables`, a plain dict that holds the trainable `params` and the fixed `constants`.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr import encodings
from jax_inr.config import Config
from jax_inr.convolution import conv3x3

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


def torch_uniform(fan_in: int) -> Callable[..., Array]:
    """Initialiser: uniform in +-1/sqrt(fan_in), as torch draws Linear and Conv2d."""
    bound = fan_in**-0.5

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class PixelMLP(nn.Module):
    """The Fourier network for one pixel: encode, dense layers, ReLU, sigmoid.

    The notebook's 1x1 convolutions are this network, shared by all pixels.
    """

    config: Config
    channels: int

    def setup(self) -> None:
        config = self.config
        if config.encoding == "gaussian":
            self.frequencies = self.variable(
                "constants",
                "frequencies",
                lambda: encodings.gaussian_frequencies(
                    self.make_rng("frequencies"), config.num_frequencies, config.sigma
                ),
            )
        rounded = config.matmul_precision == "bfloat16"
        widths = (config.num_features, *config.hidden_features, self.channels)
        self.dense = [
            nn.Dense(
                fan_out,
                kernel_init=torch_uniform(fan_in),
                bias_init=torch_uniform(fan_in),
                precision=PRECISIONS[config.matmul_precision],
                dot_general=rounded_dot_general if rounded else None,
            )
            for fan_in, fan_out in itertools.pairwise(widths)
        ]

    def encode(self, coords: Float[Array, "2"]) -> Float[Array, " f"]:
        match self.config.encoding:
            case "gaussian":
                return encodings.fourier_features(coords, self.frequencies.value)
            case "basic":
                return encodings.fourier_features(coords, encodings.basic_frequencies())
            case "none":
                return coords

    def colour(self, features: Float[Array, " f"]) -> Float[Array, " c"]:
        for layer in self.dense[:-1]:
            features = nn.relu(layer(features))
        return nn.sigmoid(self.dense[-1](features))

    def __call__(self, coords: Float[Array, "2"]) -> Float[Array, " c"]:
        return self.colour(self.encode(coords))


class Conv3x3(nn.Module):
    """One 3x3 convolution, zero padding, torch's initial distribution."""

    features: int
    precision: str

    @nn.compact
    def __call__(self, image: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        init = torch_uniform(9 * image.shape[-1])
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
    match config.network:
        case "mlp":
            return Model(PixelMLP(config, channels), per_pixel=True)
        case "cnn":
            return Model(GridCNN(config, channels, height, width), per_pixel=False)


def count_params(variables: Variables) -> int:
    """Trained numbers; fixed frequencies are not counted."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
