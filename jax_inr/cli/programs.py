"""Compiled programs, kept on disk from one command to the next.

A second fit of the same kind compiles nothing. JAX and `jax_inr.kept` keep what they
have compiled in a folder; here is which, and that it neither grows without end nor
outlives a change of versions or processor.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import stat
from pathlib import Path

MAX_BYTES = 256 << 20
# JAX's own names; a user's settings of them stay.
FOLDER = "JAX_COMPILATION_CACHE_DIR"
# Ours, of `jax_inr.kept`, which imports JAX.
KEPT = "JAX_INR_PROGRAMS"
SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
# Loading a program says that some features of the machine it was compiled for, which
# are preferences of the compiler, are none of the machine's: two lines each. JAX sets
# the level to 1 for itself and its children; 3 leaves the fatal ones.
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def keep_programs(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Have JAX keep compiled programs, where a user has not decided otherwise.

    It has to be asked before JAX is imported. `JAX_ENABLE_COMPILATION_CACHE=false`
    keeps none. A folder that cannot be made is done without.
    """
    asked = os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "true").lower()
    if FOLDER in os.environ or asked in ("0", "false"):
        return
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "jax-inr" / built_for(cpuinfo)
    # Whoever can write there can run code in this process.
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_mode & 0o022:
            return
        if about.st_uid != os.getuid():
            return
        forget_oldest(folder)
        os.environ[FOLDER] = os.environ[KEPT] = str(folder)
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        if os.environ.get(LOG_LEVEL, "1") == "1":
            os.environ[LOG_LEVEL] = "3"


def built_for(cpuinfo: Path) -> str:
    """A name of versions and processor: what a compiled program may depend on."""
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    about = [platform.machine(), *versions]
    with contextlib.suppress(OSError):
        lines = cpuinfo.read_text().splitlines()
        about += [x for x in lines if x.startswith(("model name", "flags", "Features"))]
    about = sorted({*about})  # a line for each core says the same
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def forget_oldest(folder: Path, most_bytes: int = MAX_BYTES) -> None:
    """Remove the files used longest ago until the rest is small enough."""
    found = []
    for path in folder.iterdir():
        # Another process may take it away.
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat(), path))
    total = sum(about.st_size for about, _ in found)
    for about, path in sorted(found, key=lambda pair: pair[0].st_mtime):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= about.st_size
