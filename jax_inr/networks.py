"""Networks: features to colours for one pixel; the CNN over a grid.

A network has `num_features`, `init(key)` and a pure `apply(variables, features)`.
`from_config` is the one place that makes networks from names. Flax is seen
here, in modules.py and in layers.py alone.
"""

import itertools
from collections.abc import Callable
from typing import Any, Protocol, assert_never, runtime_checkable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jax_inr.config import Config
from jax_inr.layers import siren_bound, torch_bound
from jax_inr.modules import (
    ACTIVATIONS,
    GridCNN,
    Numbers,
    PixelMLP,
    Wire,
    centred,
    sigmoid,
)
from jax_inr.tensors import pytree_dataclass

Variables = dict[str, Any]


@runtime_checkable
class Network(Protocol):
    """The protocol of networks, a caller's own included.

    Three attributes may be left out. `per_pixel`: it is a function of one position's
    features, not of a whole grid (True). `is_smooth`: its curvature does not lie in
    kinks (True). `is_bounded`: its outputs lie in [0, 1] (False).
    """

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the network's `params` and `constants`; either may be left out."""
        ...

    def apply(
        self, variables: Variables, features: Float[Array, " f"]
    ) -> Float[Array, " c"]:
        """Give the colours of one position's features."""
        ...


@pytree_dataclass("constants", "bounds")
class FlaxNetwork:
    """A Linen module of this package as a network.

    names, constants: numbers of the activations, omega_0 and scale_0. bounds: initial
    kernels are uniform in +-bound, one for each dense layer. Constants and bounds are
    leaves of the pytree.
    """

    module: nn.Module
    num_features: int
    names: tuple[str, ...] = ()
    constants: tuple[Any, ...] = ()
    bounds: tuple[Any, ...] = ()
    per_pixel: bool = True
    is_smooth: bool = True
    is_bounded: bool = False

    def init(self, key: PRNGKeyArray) -> Variables:
        """Draw the weights."""
        numbers = zip(self.names, self.constants, strict=True)
        constants = {name: jnp.float32(value) for name, value in numbers}
        bounds = {f"dense_{i}": bound for i, bound in enumerate(self.bounds)}
        given = {"constants": constants, "bounds": bounds}
        leading = () if self.per_pixel else (1, 1)
        example = jnp.zeros((*leading, self.num_features))
        _, drawn = self.module.apply(
            given, example, rngs={"params": key}, mutable=["params"]
        )
        return {"params": drawn["params"], "constants": constants}

    def apply(self, variables: Variables, features: Float[Array, "*n f"]) -> Any:
        """Give the colours of one position's features; of a grid's, for the CNN."""
        given = {name: variables.get(name, {}) for name in ("params", "constants")}
        return self.module.apply(given, features)


def mlp(
    num_features: int,
    hidden_features: tuple[int, ...] = (128, 256),
    channels: int = 3,
    *,
    activation: str = "relu",
    init: str = "uniform",
    precision: str = "float32",
) -> FlaxNetwork:
    """The notebook's network: ReLU (or GELU) between, a sigmoid at the end."""
    activate = ACTIVATIONS[activation]
    module = PixelMLP(hidden_features, channels, activate, sigmoid, precision, init)
    bounds = _bounds(num_features, hidden_features, channels)
    return FlaxNetwork(
        module,
        num_features,
        bounds=bounds,
        is_smooth=activation != "relu",
        is_bounded=True,
    )


def siren(
    num_features: int,
    hidden_features: tuple[int, ...] = (128, 256),
    channels: int = 3,
    *,
    omega_0: float = 30.0,
    activate: Callable[[Array, Numbers], Array] = ACTIVATIONS["siren"],
    precision: str = "float32",
) -> FlaxNetwork:
    """SIREN (arXiv 2006.09661); FINER (arXiv 2312.02434) by another activation."""
    module = PixelMLP(hidden_features, channels, activate, centred, precision)
    bounds = _bounds(num_features, hidden_features, channels, omega_0)
    return FlaxNetwork(module, num_features, ("omega_0",), (omega_0,), bounds)


def finer_network(
    num_features: int,
    hidden_features: tuple[int, ...] = (128, 256),
    channels: int = 3,
    **options: Any,
) -> FlaxNetwork:
    """FINER (arXiv 2312.02434): SIREN with sines of growing frequency."""
    return siren(
        num_features,
        hidden_features,
        channels,
        activate=ACTIVATIONS["finer"],
        **options,
    )


def gauss_network(
    num_features: int,
    hidden_features: tuple[int, ...] = (128, 256),
    channels: int = 3,
    *,
    scale_0: float = 10.0,
    precision: str = "float32",
) -> FlaxNetwork:
    """Gaussian activations (arXiv 2111.15135), in the scaling of WIRE's code."""
    module = PixelMLP(
        hidden_features, channels, ACTIVATIONS["gauss"], centred, precision
    )
    bounds = _bounds(num_features, hidden_features, channels)
    return FlaxNetwork(module, num_features, ("scale_0",), (scale_0,), bounds)


def wire(
    num_features: int,
    hidden_features: tuple[int, ...] = (128, 256),
    channels: int = 3,
    *,
    omega_0: float = 30.0,
    scale_0: float = 10.0,
    precision: str = "float32",
) -> FlaxNetwork:
    """WIRE (arXiv 2301.05187)."""
    module = Wire(hidden_features, channels, precision)
    names = ("omega_0", "scale_0")
    return FlaxNetwork(module, num_features, names, (omega_0, scale_0))


def cnn(
    hidden_features: tuple[int, ...] = (64, 128, 512),
    channels: int = 3,
    *,
    precision: str = "float32",
) -> FlaxNetwork:
    """The notebook's CNN: a function of the whole grid."""
    module = GridCNN(hidden_features, channels, precision)
    return FlaxNetwork(module, 2, per_pixel=False, is_smooth=False, is_bounded=True)


def _bounds(
    num_features: int,
    hidden_features: tuple[int, ...],
    channels: int,
    omega_0: float | None = None,
) -> tuple[float, ...]:
    """The bound of each dense layer, in float64: SIREN's where there is an omega_0."""
    widths = (num_features, *hidden_features, channels)
    bounds = []
    for index, (fan_in, _) in enumerate(itertools.pairwise(widths)):
        bound = torch_bound(fan_in)
        if omega_0 is not None:
            bound = siren_bound(index, fan_in, omega_0)
        bounds.append(bound)
    return tuple(bounds)


def from_config(config: Config, num_features: int, channels: int) -> FlaxNetwork:
    """Make the network that a config names."""
    sizes = (num_features, config.hidden_features, channels)
    precision = config.matmul_precision
    match config.network:
        case "mlp":
            return mlp(
                *sizes,
                activation=config.activation,
                init=config.init,
                precision=precision,
            )
        case "siren":
            omega_0 = config.number("omega_0")
            return siren(*sizes, omega_0=omega_0, precision=precision)
        case "finer":
            omega_0 = config.number("omega_0")
            return finer_network(*sizes, omega_0=omega_0, precision=precision)
        case "gauss":
            return gauss_network(*sizes, scale_0=config.scale_0, precision=precision)
        case "wire":
            omega_0, scale_0 = config.number("omega_0"), config.scale_0
            return wire(*sizes, omega_0=omega_0, scale_0=scale_0, precision=precision)
        case "cnn":
            return cnn(config.hidden_features, channels, precision=precision)
        case name:
            assert_never(name)
