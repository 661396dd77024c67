"""Flags of XLA, which count only where JAX has not started its back end yet.

Imports no JAX.
"""

import importlib.metadata
import os
import re
import sys
import warnings

# From this version of jaxlib on, a fusion of XLA's CPU compiler computes wrong numbers
# for products with constant matrices, without a word (jax-ml/jax#39103).
FIRST_WRONG = (0, 10, 2)
FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"


def add(flag: str, value: object) -> None:
    """Set a flag, unless the user has set it."""
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}={value}".strip()


def keep_numbers_right() -> None:
    """Leave out the fusion that is wrong; warn where it is too late for that."""
    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return
    # An unknown flag ends the process, so that older versions are given none.
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < FIRST_WRONG:
        return
    if FUSIONS in os.environ.get("XLA_FLAGS", ""):
        return
    add(FUSIONS, "")
    bridge = sys.modules.get("jax._src.xla_bridge")
    has_started = bool(getattr(bridge, "_backends", None))
    if has_started and sys.modules["jax"].default_backend() == "cpu":
        warnings.warn(
            f"jaxlib {version} may compute wrong products with constant matrices on a "
            "CPU (jax-ml/jax#39103): import jax_inr before JAX computes anything, or "
            f"set XLA_FLAGS={FUSIONS}=",
            stacklevel=3,
        )
