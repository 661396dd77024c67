"""The networks' Linen modules: dense layers for one pixel, WIRE, the notebook's CNN."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_inr.activations import finer, gabor, gauss, sine
from jax_inr.layers import (
    PRECISIONS,
    ComplexDense,
    Conv3x3,
    dot_general,
    torch_bound,
    uniform,
)

Numbers = dict[str, Any]  # omega_0, scale_0 and what else is fixed


def _sine(z: Array, numbers: Numbers) -> Array:
    return sine(z, numbers["omega_0"])


def _finer(z: Array, numbers: Numbers) -> Array:
    return finer(z, numbers["omega_0"])


def _gauss(z: Array, numbers: Numbers) -> Array:
    return gauss(z, numbers["scale_0"])


def _relu(z: Array, numbers: Numbers) -> Array:
    return nn.relu(z)


def _gelu(z: Array, numbers: Numbers) -> Array:
    return nn.gelu(z)


def sigmoid(y: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """1 / (1 + exp(-y)), as a plain function, so that fields can be pickled."""
    return nn.sigmoid(y)


ACTIVATIONS = {
    "relu": _relu,
    "gelu": _gelu,
    "siren": _sine,
    "finer": _finer,
    "gauss": _gauss,
}


def activation_name(activate: Callable[..., Array]) -> str:
    """What an activation of PixelMLP is called; ValueError for one of another's."""
    for name, known in ACTIVATIONS.items():
        if known is activate:
            return name
    raise ValueError(f"{activate} is no activation of ours")


def centred(y: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """(1 + y) / 2: networks of papers that fit targets in [-1, 1] end so."""
    return (1 + y) / 2


class PixelMLP(nn.Module):
    """Dense layers for one pixel, an activation between: the notebook's 1x1 convs.

    activate: an activation of a layer's sums and of `constants`. finish: the last
    layer's sums to colours. init: "uniform" in `bounds`, or "glorot", Glorot normal
    with small biases as JAX's stax draws.
    """

    hidden_features: tuple[int, ...]
    channels: int
    activate: Callable[[Array, Numbers], Array]
    finish: Callable[[Array], Array]
    precision: str = "float32"
    init_scheme: str = "uniform"

    @nn.compact
    def __call__(self, features: Float[Array, " f"]) -> Float[Array, " c"]:
        numbers: Any = self.variables.get("constants", {})
        widths = (*self.hidden_features, self.channels)
        for index, width in enumerate(widths):
            fan_in = features.shape[-1]
            # Bounds are given at the draw alone; afterwards shapes are what counts.
            bound = self.get_variable("bounds", f"dense_{index}", 1.0)
            kernel_init, bias_init = uniform(bound), uniform(torch_bound(fan_in))
            if self.init_scheme == "glorot":
                # jax.example_libraries.stax.Dense, used by arXiv 2006.10739's code.
                kernel_init = nn.initializers.glorot_normal()
                bias_init = nn.initializers.normal(1e-2)
            layer = nn.Dense(
                width,
                kernel_init=kernel_init,
                bias_init=bias_init,
                precision=PRECISIONS[self.precision],
                dot_general=dot_general(self.precision),
                name=f"dense_{index}",
            )
            features = layer(features)
            if index < len(self.hidden_features):
                features = self.activate(features, numbers)
        return self.finish(features)


class Wire(nn.Module):
    """WIRE (arXiv 2301.05187): complex dense layers with Gabor activations."""

    hidden_features: tuple[int, ...]
    channels: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, " f"]) -> Float[Array, " c"]:
        numbers = self.variables["constants"]
        product, bound = dot_general(self.precision), torch_bound(features.shape[-1])
        first, *others = (*self.hidden_features, self.channels)
        # The first layer has real inputs, and real weights.
        layer = nn.Dense(
            first,
            kernel_init=uniform(bound),
            bias_init=uniform(bound),
            precision=PRECISIONS[self.precision],
            dot_general=product,
            name="dense_0",
        )
        real = layer(features)
        imag = jnp.zeros_like(real)
        for index, width in enumerate(others, 1):
            pair = gabor(real, imag, numbers["omega_0"], numbers["scale_0"])
            bound = torch_bound(pair[0].shape[-1])
            dense = ComplexDense(width, bound, product, name=f"dense_{index}")
            real, imag = dense(*pair)
        return centred(real)


class GridCNN(nn.Module):
    """The notebook's first attempt: 3x3 convolutions over the grid of raw indices."""

    hidden_features: tuple[int, ...]
    channels: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, features: Float[Array, "h w f"]) -> Float[Array, "h w c"]:
        for index, width in enumerate(self.hidden_features):
            layer = Conv3x3(width, self.precision, name=f"conv_{index}")
            features = nn.relu(layer(features))
        last = f"conv_{len(self.hidden_features)}"
        return nn.sigmoid(Conv3x3(self.channels, self.precision, name=last)(features))
