"""Fit images with coordinate networks in JAX and Flax.

Names load on first use, so that `import jax_inr` costs nothing and reaches neither
JAX nor torch before something needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jax_inr.xla_flags import keep_numbers_right as _keep_numbers_right

if TYPE_CHECKING:
    from jax_inr.config import Config as Config
    from jax_inr.coordinates import pixel_grid as pixel_grid
    from jax_inr.datasets.fieldset import FieldSet as FieldSet
    from jax_inr.datasets.stream import StreamFit as StreamFit
    from jax_inr.datasets.stream import fit_stream as fit_stream
    from jax_inr.encodings import Basic as Basic
    from jax_inr.encodings import Gaussian as Gaussian
    from jax_inr.encodings import Identity as Identity
    from jax_inr.encodings import Periodic as Periodic
    from jax_inr.encodings import Positional as Positional
    from jax_inr.encodings import fourier_features as fourier_features
    from jax_inr.encodings import gaussian_frequencies as gaussian_frequencies
    from jax_inr.errors import CheckpointError as CheckpointError
    from jax_inr.errors import ConfigError as ConfigError
    from jax_inr.errors import DeviceError as DeviceError
    from jax_inr.errors import DivergedError as DivergedError
    from jax_inr.errors import ImageError as ImageError
    from jax_inr.errors import Interrupted as Interrupted
    from jax_inr.errors import JaxInrError as JaxInrError
    from jax_inr.errors import OutputError as OutputError
    from jax_inr.field import ImageField as ImageField
    from jax_inr.fitting import fit as fit
    from jax_inr.fitting import fit_many as fit_many
    from jax_inr.fitting import resume as resume
    from jax_inr.grids import DenseGrid as DenseGrid
    from jax_inr.grids import HashGrid as HashGrid
    from jax_inr.io.images import Image as Image
    from jax_inr.io.images import load_image as load_image
    from jax_inr.io.images import sample_image as sample_image
    from jax_inr.io.images import save_image as save_image
    from jax_inr.meta import learn_start as learn_start
    from jax_inr.meta import noise_images as noise_images
    from jax_inr.metrics import psnr as psnr
    from jax_inr.metrics import ssim as ssim
    from jax_inr.model import Model as Model
    from jax_inr.model import make_model as make_model
    from jax_inr.networks import cnn as cnn
    from jax_inr.networks import finer_network as finer_network
    from jax_inr.networks import gauss_network as gauss_network
    from jax_inr.networks import mlp as mlp
    from jax_inr.networks import siren as siren
    from jax_inr.networks import wire as wire
    from jax_inr.plan import make_data as make_data
    from jax_inr.plan import make_plan as make_plan
    from jax_inr.presets import PRESETS as PRESETS
    from jax_inr.presets import preset as preset
    from jax_inr.results import Fit as Fit
    from jax_inr.results import FitMany as FitMany
    from jax_inr.tasks import Task as Task
    from jax_inr.tasks import inpaint as inpaint
    from jax_inr.tasks import reconstruct as reconstruct
    from jax_inr.training import init_state as init_state
    from jax_inr.training import train_chunk as train_chunk
    from jax_inr.training import train_scan as train_scan
    from jax_inr.training import train_step as train_step

__version__ = "0.2.0"

# Before JAX starts, which only the first use of a name below may do.
_keep_numbers_right()

# Where each public name lives; modules of the package load as attributes too.
_HOMES = {
    "config": ("Config",),
    "coordinates": ("pixel_grid",),
    "datasets.fieldset": ("FieldSet",),
    "datasets.stream": ("StreamFit", "fit_stream"),
    "encodings": (
        "Basic",
        "Gaussian",
        "Identity",
        "Periodic",
        "Positional",
        "fourier_features",
        "gaussian_frequencies",
    ),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DeviceError",
        "DivergedError",
        "ImageError",
        "Interrupted",
        "JaxInrError",
        "OutputError",
    ),
    "field": ("ImageField",),
    "fitting": ("fit", "fit_many", "resume"),
    "grids": ("DenseGrid", "HashGrid"),
    "io.images": ("Image", "load_image", "sample_image", "save_image"),
    "meta": ("learn_start", "noise_images"),
    "metrics": ("psnr", "ssim"),
    "model": ("Model", "make_model"),
    "networks": ("cnn", "finer_network", "gauss_network", "mlp", "siren", "wire"),
    "plan": ("make_data", "make_plan"),
    "presets": ("PRESETS", "preset"),
    "results": ("Fit", "FitMany"),
    "tasks": ("Task", "inpaint", "reconstruct"),
    "training": (
        "init_state",
        "train_chunk",
        "train_scan",
        "train_step",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("encodings", "grids", "machine", "networks", "tasks", "training")
__all__ = sorted([*_HOME, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
