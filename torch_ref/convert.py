"""Flax params to a torch state_dict and back: the one place weights are transposed.

Flax names are those of a field file: `params/dense_0/kernel` (in, out) for a layer of
PixelMLP, `params/conv_0/kernel` (3, 3, in, out) for one of GridCNN, `.../bias` (out,).
torch's are `conv_block.0.weight` (out, in, 1, 1) and `conv0.weight` (out, in, 3, 3).
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from jax_inr.config import Config
from jax_inr.errors import CheckpointError, ConfigError, JaxInrError
from jax_inr.io.tensorfile import load_tensors
from jax_inr.io.text import shown
from torch_ref.networks import FieldModel, GridCNN, PixelMLP, grid_layers, make_network

_FLAX_LAYER = re.compile(r"params/(dense|conv)_(\d{1,4})/(?:kernel|bias)")
FREQUENCIES = "constants/frequencies"


def to_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The network's state_dict, copied from tensors in Flax layout.

    `constants/...` are the encoding's, not the network's, and are left out. Raises
    ConfigError naming a layer that torch_ref lacks or that is missing, CheckpointError
    naming a kernel with the wrong number of axes.
    """
    params = {name: x for name, x in tensors.items() if not _is_constant(name)}
    layers = [match for name in params if (match := _FLAX_LAYER.fullmatch(name))]
    kind = layers[0][1] if layers else "dense"
    names = _names(kind, max((int(match[2]) for match in layers), default=0))
    _check_names(params, names, "torch_ref")
    return {names[name]: _to_torch_leaf(name, x) for name, x in params.items()}


def to_flax(state_dict: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Tensors in Flax layout, copied from a network's state_dict.

    Raises ConfigError naming a layer that jax_inr lacks.
    """
    leaves = _flax_layout(state_dict)
    return {name: np.array(x.cpu().numpy(), order="C") for name, x in leaves.items()}


def load_into(module: nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Copy tensors in Flax layout into a PixelMLP or GridCNN, all of them or none.

    `constants/...` are passed over, as by `to_torch`. Raises CheckpointError naming
    the layer and both shapes where they differ.
    """
    params = {name: x for name, x in tensors.items() if not _is_constant(name)}
    check_leaves(params, _flax_layout(module.state_dict()))
    # A module built on the meta device has no storage to copy into.
    on_meta = any(parameter.is_meta for parameter in module.parameters())
    module.load_state_dict(to_torch(params), assign=on_meta)


def field_tensors(
    network: PixelMLP | GridCNN, frequencies: torch.Tensor | None
) -> dict[str, np.ndarray]:
    """The tensors of a field file: the network's params and, if any, B (2, m)."""
    tensors = to_flax(network.state_dict())
    if frequencies is not None:
        tensors[FREQUENCIES] = np.array(frequencies.detach().cpu().numpy())
    return tensors


def model_from_field(path: str | os.PathLike) -> tuple[FieldModel, dict[str, Any]]:
    """The field of a field file as a torch module on the CPU, with its header.

    Raises CheckpointError that names the file, and the layer and both shapes where
    the tensors are not those of the file's config.
    """
    tensors, header = load_tensors(path, "field")
    try:
        config = Config.from_dict(header.get("config"))
        sizes = ("height", "width", "channels")
        height, width, channels = (header.get(name, 0) for name in sizes)
        for size in (height, width, channels):
            if type(size) is not int or size < 1:
                raise CheckpointError(
                    f"its header has a height, width or channels of {size!r}"
                )
        # On the meta device nothing is allocated and the global RNG is left alone.
        with torch.device("meta"):
            network = make_network(config, channels)
            wanted = {}
            if config.encoding == "gaussian":
                wanted[FREQUENCIES] = torch.zeros(2, config.num_frequencies)
        constants = {name: x for name, x in tensors.items() if _is_constant(name)}
        check_leaves(constants, wanted)
        load_into(network, tensors)
    except JaxInrError as error:
        raise CheckpointError(f"{shown(path)}: {error}", error.hint) from error
    frequencies = torch.from_numpy(np.array(constants[FREQUENCIES])) if wanted else None
    return FieldModel(config, network, frequencies, height, width), header


def check_leaves(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise CheckpointError naming the first leaf whose dtype or shape differs.

    Both map names to arrays or tensors; a leaf on one side only differs from "none".
    """
    for name in [*wanted, *found]:
        have, want = _describe(found.get(name)), _describe(wanted.get(name))
        if have != want:
            raise CheckpointError(f"{name} is {have}, but must be {want}")


def _is_constant(name: str) -> bool:
    return name.startswith("constants/")


def _names(kind: str, last: int) -> dict[str, str]:
    """Flax names to torch names of the layers 0..last, of which the last is output."""
    if kind == "dense":
        # Every other module of the Sequential is an activation.
        layers = [f"conv_block.{2 * index}" for index in range(last + 1)]
    else:
        layers = grid_layers(last)
    return {
        f"params/{kind}_{index}/{flax_leaf}": f"{layer}.{torch_leaf}"
        for index, layer in enumerate(layers)
        for flax_leaf, torch_leaf in (("kernel", "weight"), ("bias", "bias"))
    }


def _check_names(found: Mapping[str, Any], known: Iterable[str], side: str) -> None:
    known = set(known)
    for name in sorted(set(found) - known):
        raise ConfigError(f"{name} {_describe(found[name])}: {side} has no such layer")
    for name in sorted(known - set(found)):
        raise ConfigError(f"{name} is missing among the layers of the network")


def _flax_layout(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state_dict under Flax names and axes; views, so meta tensors pass too."""
    kind = "dense" if any(n.startswith("conv_block.") for n in state_dict) else "conv"
    # A weight and a bias each.
    names = _names(kind, max((len(state_dict) + 1) // 2 - 1, 0))
    _check_names(state_dict, names.values(), "jax_inr")
    return {
        flax_name: _to_flax_leaf(torch_name, state_dict[torch_name].detach(), kind)
        for flax_name, torch_name in names.items()
    }


def _to_flax_leaf(name: str, leaf: torch.Tensor, kind: str) -> torch.Tensor:
    if name.endswith(".bias"):
        return leaf
    if leaf.ndim != 4 or (kind == "dense" and leaf.shape[2:] != (1, 1)):
        shape = "(out, in, 1, 1)" if kind == "dense" else "(out, in, 3, 3)"
        raise ConfigError(f"{name} is {_describe(leaf)}, but must be {shape}")
    leaf = leaf.permute(2, 3, 1, 0)
    return leaf[0, 0] if kind == "dense" else leaf


def _to_torch_leaf(name: str, leaf: np.ndarray) -> torch.Tensor:
    axes = 1 if name.endswith("/bias") else 2 if "/dense_" in name else 4
    if leaf.ndim != axes:
        raise CheckpointError(f"{name} is {_describe(leaf)}, but must have {axes} axes")
    if axes == 2:
        leaf = leaf.T[:, :, None, None]
    elif axes == 4:
        leaf = leaf.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.array(leaf, order="C"))


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "none"
    return f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}"
