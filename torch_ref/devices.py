"""Where torch computes and how exactly: the device, matmul precision, its memory."""

import contextlib
from collections.abc import Iterator

import torch

from jax_inr.errors import ConfigError, DeviceError


def find_device(choice: str) -> torch.device:
    """The device of "auto" (the GPU where there is one), "cpu" or "gpu".

    Raises ConfigError for another choice, DeviceError for a GPU that is not there.
    """
    if choice not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"device is {choice!r}; it must be one of auto, cpu, gpu")
    # The notebook's optimised version uses `device` without defining it.
    cuda = torch.cuda.is_available()
    if choice == "gpu" and not cuda:
        raise DeviceError(
            "torch sees no GPU", "use --device cpu, or install a CUDA build of torch"
        )
    return torch.device("cuda" if cuda and choice != "cpu" else "cpu")


@contextlib.contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Run with a config's `matmul_precision`, then restore the process's settings.

    "float32" is exact everywhere. "tf32" needs a GPU; it is what the notebook got on
    recent ones, where torch takes TF32 for convolutions unless told otherwise.
    "bfloat16" is torch's autocast. Raises DeviceError where memory runs out.
    """
    tf32 = precision == "tf32"
    if tf32 and device.type == "cpu":
        raise DeviceError(
            "matmul_precision tf32 needs an NVIDIA GPU; this device is a CPU",
            "use --matmul-precision float32 or bfloat16",
        )
    # Without the cache, which would keep a weight's bfloat16 copy over the very step
    # that changes the weight.
    autocast = torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bfloat16",
        cache_enabled=False,
    )
    saved = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        with autocast:
            yield
    except RuntimeError as error:
        # The GPU has its own class of error; the CPU only a text.
        if not (
            isinstance(error, torch.OutOfMemoryError)
            or "can't allocate memory" in str(error)
        ):
            raise
        raise DeviceError(
            f"the {device.type}'s memory does not suffice for this image and network",
            "use a smaller --size",
        ) from error
    finally:
        torch.set_float32_matmul_precision(saved[0])
        torch.backends.cudnn.allow_tf32 = saved[1]
