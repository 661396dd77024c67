"""The notebook's two networks, from features to colours, channels first."""

from itertools import pairwise

import torch
from torch import nn

from jax_inr.config import Config
from jax_inr.errors import ConfigError
from torch_ref.encodings import channels_first, channels_last, encode, num_features


class PixelMLP(nn.Module):
    """The notebook's Fourier network: 1x1 convolutions, so an MLP at every pixel.

    Maps features (f, h, w) to colours (c, h, w) in (0, 1).
    """

    def __init__(
        self, in_features: int, hidden_features: tuple[int, ...], channels: int = 3
    ) -> None:
        super().__init__()
        widths = (in_features, *hidden_features, channels)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Conv2d(fan_in, fan_out, 1, padding="same"), nn.ReLU()]
        self.conv_block = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.conv_block(x))


class GridCNN(nn.Module):
    """The notebook's first attempt: 3x3 convolutions over raw pixel indices.

    Maps indices (2, h, w) to colours (c, h, w) in (0, 1).
    """

    def __init__(
        self, in_features: int, hidden_features: tuple[int, ...], channels: int = 3
    ) -> None:
        super().__init__()
        widths = (in_features, *hidden_features, channels)
        names = grid_layers(len(hidden_features))
        for name, (fan_in, fan_out) in zip(names, pairwise(widths), strict=True):
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3, padding="same"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *hidden, last = self.children()
        for conv in hidden:
            x = torch.relu(conv(x))
        return torch.sigmoid(last(x))


def grid_layers(num_hidden_layers: int) -> list[str]:
    """Names of a GridCNN's layers: conv0, conv1, conv2 and conv4 in the notebook.

    The notebook leaves one number out before its last layer; so does every depth.
    """
    hidden = [f"conv{index}" for index in range(num_hidden_layers)]
    return [*hidden, f"conv{num_hidden_layers + 1}"]


def make_network(config: Config, channels: int) -> PixelMLP | GridCNN:
    """The config's network in torch's default initialisation, from the global RNG.

    That is weights and biases uniform in +-1/sqrt(fan_in). Raises ConfigError for a
    network, an activation or an encoding of jax_inr that torch_ref lacks.
    """
    match config.network:
        case "mlp" if config.activation != "relu":
            raise ConfigError(
                f"torch_ref has no activation {config.activation}", "use --backend jax"
            )
        case "mlp":
            return PixelMLP(num_features(config), config.hidden_features, channels)
        case "cnn":
            return GridCNN(num_features(config), config.hidden_features, channels)
    raise ConfigError(f"torch_ref has no network {config.network}", "use --backend jax")


class FieldModel(nn.Module):
    """A field as one module: coordinates to colours, channels last.

    Takes coords (..., 2) in [0, 1), (row/height, column/width), and gives (..., c)
    in (0, 1), 1 being the config's rgb_max. The per-pixel network may be asked
    anywhere; the CNN needs a whole grid (h, w, 2) and raises ValueError otherwise.
    """

    def __init__(
        self,
        config: Config,
        network: PixelMLP | GridCNN,
        frequencies: torch.Tensor | None,
        height: int,
        width: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.height, self.width = height, width
        self.frequencies: torch.Tensor | None
        self.register_buffer("frequencies", frequencies)

    def forward(self, coords: torch.Tensor) -> torch.Tensor:
        if isinstance(self.network, PixelMLP):
            features = encode(self.config.encoding, coords, self.frequencies)
            grid = features.reshape(-1, 1, features.shape[-1])
        elif coords.ndim == 3:
            # Raw indices of the image that was fitted, whatever the grid.
            grid = coords * coords.new_tensor([self.height, self.width])
        else:
            raise ValueError(
                "network cnn needs a whole grid of coords, (h, w, 2), "
                f"not {tuple(coords.shape)}"
            )
        colours = channels_last(self.network(channels_first(grid)))
        return colours.reshape(*coords.shape[:-1], -1)
