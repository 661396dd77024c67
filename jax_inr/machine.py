"""The machine: the device that JAX computes on, cores, and what to call it in a report.

JAX is imported late, so that its environment can be set here before it starts.
"""

import os
import platform
from pathlib import Path
from typing import Any

from jax_inr.errors import DeviceError

Device = Any  # jax.Device, which type checkers take for a variable


def select(device: str) -> Device:
    """The device called "auto", "cpu" or "gpu"; a GPU asked for is never replaced.

    Raises:
        DeviceError: there is none of that kind.
    """
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
            'pip install "jax-inr[cuda12]" and check the driver, or use --device cpu',
        ) from error


def describe(device: Device) -> str:
    """A device for the summary: platform and kind."""
    kind = device.device_kind
    return device.platform if kind == device.platform else f"{device.platform} ({kind})"


def devices_for_cores() -> None:
    """Have JAX take each core for a device: many fits at once share cores best so.

    Without effect once JAX has started its back end.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "device_count" not in flags:
        flag = f"--xla_force_host_platform_device_count={num_cores()}"
        os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()


def describe_host() -> str:
    """Processor, number of cores and Python's version, for a report."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {num_cores()} cores, Python {platform.python_version()}"


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
