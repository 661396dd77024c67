"""The machine: its device for JAX, the cores and the memory that this process may use.

Imports JAX only to select a device, so that what does without it can ask for the rest.
"""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jax_inr import xla_flags
from jax_inr.errors import DeviceError, unsupported

try:
    import resource
except ImportError as error:
    raise unsupported(error) from error

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")
# Where cgroups are mounted, their line's controller in /proc/self/cgroup, the names of
# limit and usage, and of what the usage counts that is free.
CGROUPS = (
    ("sys/fs/cgroup", "", *_V2),
    ("sys/fs/cgroup/unified", "", *_V2),
    ("sys/fs/cgroup/memory", "memory", *_V1),
)

# Of glibc's malloc.h and of its limits: what it comes to by itself, where no variable
# of the environment is set.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_BYTES, TRIM_BYTES = 2**25, 2**26

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
            'pip install -e ".[cuda12]" and check the driver, or use the device cpu',
        ) from error


def describe(device: Device) -> str:
    """A device for the summary: platform and kind."""
    kind = device.device_kind
    return device.platform if kind == device.platform else f"{device.platform} ({kind})"


def allowed_cores() -> int:
    """Cores that this process may use: those of its affinity, not the machine's."""
    # macOS has no affinity.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def available_bytes(root: Path = Path("/")) -> int:
    """Memory that this process can still take: the machine's, a cgroup's, a limit's.

    Pages of files that the kernel would give up at once count as free. `root` is where
    /proc and /sys are looked for.
    """
    bounds = list(_cgroup_bytes(root))
    with contextlib.suppress(OSError, ValueError, LookupError):
        bounds.append(1024 * _number(root / "proc/meminfo", "MemAvailable:"))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        bounds.append(soft)
    if not bounds:
        bounds.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return max(min(bounds), 0)


def _cgroup_bytes(root: Path) -> Iterator[int]:
    """What each memory cgroup of this process, and each one above it, has left."""
    own = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own |= dict.fromkeys(controllers.split(","), path.strip("/"))
    for mount, controller, *names in CGROUPS:
        folder = root / mount / own.get(controller, "")
        # A container sees its own group as the root, whatever the path says.
        if ".." in folder.parts or not folder.is_dir():
            folder = root / mount
        # A parent's limit holds for all below it.
        for each in (folder, *folder.parents):
            with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                limit, usage = (int((each / name).read_text()) for name in names[:2])
                free = limit - usage
                with contextlib.suppress(OSError, ValueError, LookupError):
                    free += _number(each / "memory.stat", names[2])
                yield free
            if each == root / mount:
                break


def _number(path: Path, name: str) -> int:
    """The number that follows a name, in a file of a name and a number a line."""
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    raise LookupError(name)


def devices_for_cores() -> None:
    """Have JAX take each core for a device: many fits at once share cores best so.

    Without effect once JAX has started its back end: call it before any computation.
    """
    xla_flags.add("--xla_force_host_platform_device_count", allowed_cores())


def keep_freed_memory() -> None:
    """Have glibc keep arrays that are freed, up to 64 MiB, for those that come next.

    It learns to do so by itself, unless MALLOC_TRIM_THRESHOLD_ is set, as Dask does for
    its workers: each buffer of a product is then mapped anew, and the kernel clears its
    pages. Without effect where there is another allocator.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)


def describe_host() -> str:
    """Processor, number of cores and Python's version, for a report."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {allowed_cores()} cores, Python {platform.python_version()}"
