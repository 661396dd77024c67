"""Packages that an extra installs, imported where they are needed."""

import importlib
from typing import Any

from jax_inr.errors import ConfigError


def load(module: str, needed: str, extra: str) -> Any:
    """A module of an extra.

    needed: what needs it, as "sets are stored by zarr".

    Raises:
        ConfigError: it is not installed; the hint installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{needed}, which is not installed", f'pip install -e ".[{extra}]"'
        ) from error
