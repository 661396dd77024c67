"""How large the experiments are, and what they refuse."""

import dataclasses

from jax_inr import cost, machine
from jax_inr.analysis.spectra import band_edges
from jax_inr.config import Config
from jax_inr.errors import ConfigError, DeviceError
from jax_inr.model import make_model


@dataclasses.dataclass(frozen=True)
class Form:
    """Sizes of all experiments; steps are the optimizer's."""

    size: int  # side of the image
    bands: int  # frequency bands
    batch_size: int  # pixels a step, drawn at random
    steps: int  # of the fits whose spectra are compared
    cnn_widths: tuple[int, ...]
    cnn_steps: int
    widths: tuple[int, ...]  # of the networks of growing size
    width_steps: int
    width_batch: int
    ntk_side: int  # of the sub-grid
    ntk_steps: int
    crop: int  # side of the crops that are translated
    shift: int  # pixels of the translation
    crop_steps: int
    wave_side: int
    wave_steps: int
    wave_draws: int  # draws of weights and of B


FULL = Form(
    size=128,
    bands=10,
    batch_size=4096,
    steps=1024,
    cnn_widths=(64, 128, 512),  # the notebook's
    cnn_steps=256,
    widths=(64, 128, 256, 512, 1024, 2048),
    width_steps=512,
    width_batch=512,
    ntk_side=32,
    ntk_steps=256,
    crop=64,
    shift=4,
    crop_steps=512,
    wave_side=32,
    wave_steps=4096,
    wave_draws=3,
)
QUICK = Form(
    size=64,
    bands=10,
    batch_size=1024,
    steps=256,
    cnn_widths=(16, 32, 64),
    cnn_steps=64,
    widths=(64, 256, 1024),
    width_steps=256,
    width_batch=256,
    ntk_side=16,
    ntk_steps=256,
    crop=32,
    shift=4,
    crop_steps=128,
    wave_side=32,
    wave_steps=1024,
    wave_draws=1,
)

SECTIONS = ("checks", "waves", "ntk", "spectra", "widths", "locality", "sharing")
MIN_SIZE, MAX_SIZE = 24, 256
MIN_SIDE = 4
COLOUR_TOLERANCE = 1e-4  # colours that differ by less are equal but for rounding


def make_form(
    quick: bool = False,
    size: int | None = None,
    num_bands: int | None = None,
    ntk_side: int | None = None,
) -> Form:
    """The full or the quick form with some sizes changed.

    Raises:
        ConfigError: a size is out of range, or an image too small for its bands.
        DeviceError: the kernel of the sub-grid would not fit in memory.
    """
    form = QUICK if quick else FULL
    changes = {"size": size, "bands": num_bands, "ntk_side": ntk_side}
    changes = {name: value for name, value in changes.items() if value is not None}
    form = dataclasses.replace(form, **changes)
    for name, value, low, high in (
        ("size", form.size, MIN_SIZE, MAX_SIZE),
        ("bands", form.bands, 2, 100),
        ("ntk_side", form.ntk_side, MIN_SIDE, form.size),
    ):
        if not low <= value <= high:
            raise ConfigError(f"{name} is {value}; it must lie in {low} to {high}")
    band_edges(form.size, form.size, form.bands)
    check_kernel(form.ntk_side)
    return dataclasses.replace(form, crop=min(form.crop, form.size - form.shift))


def kernel_bytes(side: int, config: Config | None = None) -> int:
    """Bytes of the NTK on a sub-grid: Jacobian twice, kernel and work on it, float64.

    `config` is that of the network, which has one output; left out, the notebook's.
    """
    num_params = cost.count_params(make_model(config or Config(), side, side, 1))
    return 8 * side**2 * (2 * num_params + 6 * side**2)


def check_kernel(side: int, limit_bytes: int | None = None) -> None:
    """Refuse a kernel that does not fit into `limit_bytes`, or what the machine has.

    Raises:
        DeviceError: with the bytes, and what to do.
    """
    needed = kernel_bytes(side)
    left = machine.available_bytes() if limit_bytes is None else limit_bytes
    if needed > left:
        raise DeviceError(
            f"the NTK on a sub-grid of {side}x{side} pixels needs about "
            f"{needed / 2**30:.2f} GiB of memory, and {left / 2**30:.2f} GiB are left",
            "use a smaller --ntk-side",
        )
