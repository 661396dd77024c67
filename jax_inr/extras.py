"""Packages that an extra installs, imported where they are needed."""

import importlib
from typing import Any

from jax_inr.errors import ConfigError

# The ordinary Linux build brings several GB of CUDA.
CPU_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


def load(module: str, needed: str, extra: str) -> Any:
    """A module of an extra.

    needed: what needs it, as "sets are stored by zarr".

    Raises:
        ConfigError: it is not installed; the hint installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hint = f'pip install -e ".[{extra}]"'
        if module == "torch":
            hint = f"where there is no GPU, {CPU_TORCH}; then {hint}"
        raise ConfigError(f"{needed}, which is not installed", hint) from error
