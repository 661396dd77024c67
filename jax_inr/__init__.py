"""Fit pictures with coordinate networks in JAX and Flax.

Names load on first use, so that `import jax_inr` costs nothing and reaches neither
JAX nor torch before something needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax_inr.config import Config as Config
    from jax_inr.coordinates import pixel_grid as pixel_grid
    from jax_inr.encodings import fourier_features as fourier_features
    from jax_inr.encodings import gaussian_frequencies as gaussian_frequencies
    from jax_inr.field import ImageField as ImageField
    from jax_inr.fitting import fit as fit
    from jax_inr.io.images import load_image as load_image
    from jax_inr.io.images import sample_image as sample_image
    from jax_inr.io.images import save_image as save_image
    from jax_inr.many import fit_many as fit_many
    from jax_inr.metrics import psnr as psnr
    from jax_inr.metrics import ssim as ssim
    from jax_inr.networks import make_model as make_model
    from jax_inr.presets import preset as preset

__version__ = "0.1.0"

_HOME = {
    "Config": "config",
    "ImageField": "field",
    "fit": "fitting",
    "fit_many": "many",
    "fourier_features": "encodings",
    "gaussian_frequencies": "encodings",
    "load_image": "io.images",
    "make_model": "networks",
    "pixel_grid": "coordinates",
    "preset": "presets",
    "psnr": "metrics",
    "sample_image": "io.images",
    "save_image": "io.images",
    "ssim": "metrics",
}
__all__ = [*_HOME, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
