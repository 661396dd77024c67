"""The device that JAX computes on: found, or its absence said in one line."""

import contextlib
import os
import resource
from pathlib import Path
from typing import Any

from jax_inr.errors import DeviceError

Device = Any  # jax.Device, which type checkers take for a variable


def select(device: str) -> Device:
    """The device called "auto", "cpu" or "gpu"; a GPU asked for is never replaced.

    Raises:
        DeviceError: there is none of that kind.
    """
    # Imported late: the torch back end does without JAX.
    import jax

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


def available_bytes() -> int:
    """Memory that this process can still take: the machine's, a cgroup's, a limit's."""
    bounds = []
    with contextlib.suppress(OSError, IndexError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        words = next(line for line in lines if line.startswith("MemAvailable:")).split()
        bounds.append(int(words[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        bounds.append(limit - int((group / "memory.current").read_text()))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        bounds.append(soft)
    if not bounds:
        bounds.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return max(min(bounds), 0)
