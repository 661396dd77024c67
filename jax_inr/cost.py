"""Memory that a fit needs, told before it starts.

Framework-free. The estimate counts the large arrays only and is meant to be right
within a factor of two.
"""

import contextlib
import itertools
from collections.abc import Iterator

from jax_inr.config import Config
from jax_inr.errors import DeviceError
from jax_inr.machine import available_bytes as available_bytes
from jax_inr.splits import num_trained

# The most that features of all pixels may take before they are computed anew.
MAX_FEATURE_BYTES = 1 << 30
# Pixels whose activations a full-batch step of JAX holds at a time on a CPU.
CPU_TILE_PIXELS = 1 << 10
# Copies of the parameters: themselves, gradient, momentum, update, the host's last
# good state and the one that is being checked.
PARAMETER_COPIES = 6
# Forward value, its gradient and one temporary for each activation.
ACTIVATION_COPIES = 3
CNN_ACTIVATION_COPIES = 4


def fit_bytes(
    config: Config, height: int, width: int, channels: int, backend: str = "jax"
) -> int:
    """Bytes that the arrays of a fit take on the CPU, about."""
    pixels, features = num_trained(config, height, width), config.num_features
    widths = (features, *config.hidden_features, channels)
    taps = 9 if config.network == "cnn" else 1
    params = sum(a * b * taps + b for a, b in itertools.pairwise(widths))
    at_once, copies = pixels, ACTIVATION_COPIES
    if config.batch_size is not None:
        at_once = min(config.batch_size, pixels)
    elif config.network == "cnn":
        # The first and the last layer hold all nine neighbours of a pixel.
        copies = CNN_ACTIVATION_COPIES
        widths = (*widths, 9 * features, 9 * channels)
    elif backend == "jax":
        at_once = min(CPU_TILE_PIXELS, pixels)
    keeps = backend == "torch" or 4 * pixels * features <= MAX_FEATURE_BYTES
    kept = pixels * features if keeps else 0
    picture = 4 * height * width * (channels + 2)
    numbers = (
        PARAMETER_COPIES * params + copies * at_once * sum(widths) + kept + picture
    )
    return 4 * numbers


def check(needed_bytes: int, limit_bytes: int | None) -> None:
    """Refuse a fit that does not fit.

    Raises:
        DeviceError: `needed_bytes` are more than the limit, or than the machine has
            left where there is no limit.
    """
    left = available_bytes() if limit_bytes is None else limit_bytes
    if needed_bytes > left:
        whose = "the machine has left" if limit_bytes is None else "--max-memory allows"
        raise DeviceError(
            f"this fit needs about {needed_bytes / 2**30:.2f} GiB of memory, more than "
            f"the {left / 2**30:.2f} GiB that {whose}",
            "take a smaller --size, --hidden-features or --batch-size",
        )


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a framework's out-of-memory error, inside the block, into a DeviceError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        signs = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
        text = " ".join(str(error).split())
        if not isinstance(error, MemoryError) and not any(s in text for s in signs):
            raise
        raise DeviceError(
            f"out of memory ({text[:200] or 'no details'})",
            "take a smaller --size or --batch-size; another process may hold memory: "
            "one of JAX preallocates most of a GPU's, unless "
            "XLA_PYTHON_CLIENT_PREALLOCATE=false is set for it",
        ) from error
