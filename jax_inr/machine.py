"""The device that JAX computes on: found, or its absence said in one line."""

from typing import Any

import jax

from jax_inr.errors import DeviceError

Device = Any  # jax.Device, which type checkers take for a variable


def select(device: str) -> Device:
    """The device called "auto", "cpu" or "gpu"; a GPU asked for is never replaced.

    Raises:
        DeviceError: there is none of that kind.
    """
    kind = None if device == "auto" else device
    try:
        return jax.devices(kind)[0]
    # JAX_PLATFORMS=cuda on a CPU build of jaxlib ends in a bare AssertionError.
    except (RuntimeError, AssertionError) as error:
        wanted = "device" if kind is None else kind.upper()
        reason = " ".join(str(error).split()) or "no reason"
        raise DeviceError(
            f"JAX finds no {wanted} here ({reason})",
            'pip install -e ".[cuda12]" and check the driver, or use --device cpu',
        ) from error


def describe(device: Device) -> str:
    """A device for the summary: platform and kind."""
    kind = device.device_kind
    return device.platform if kind == device.platform else f"{device.platform} ({kind})"
