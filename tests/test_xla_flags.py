"""Flags of XLA: what is set, for which versions, and what a user has set stays."""

import importlib.metadata
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from jax_inr import xla_flags
from jax_inr.xla_flags import FUSIONS

# 0.10.2 and later say a ninth of it.
PROGRAM = """
import sys
if "late" in sys.argv:
    import jax.numpy
    jax.numpy.zeros(3).block_until_ready()
import jax_inr, jax, jax.numpy as jnp
ones = jnp.ones((3, 3))
total = jax.jit(lambda x: jnp.sum(jax.vmap(lambda row: ones @ row)(x) ** 2))
print(total(jnp.ones((32_768, 3))) == 884_736)
"""


def version_is(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)


@pytest.fixture(autouse=True)
def unstarted(monkeypatch):
    """No flags, and a JAX that has not started."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delitem(sys.modules, "jax._src.xla_bridge", raising=False)


@pytest.mark.parametrize(
    ("version", "is_set"),
    [
        ("0.9.10", False),
        ("0.10.1", False),
        ("0.10.2", True),
        ("0.11.0.dev20260101", True),
        ("0.12.0.1", True),
        ("1.0.0", True),
    ],
)
def test_the_fusion_is_left_out_from_the_first_wrong_version_on(
    version, is_set, monkeypatch
):
    version_is(monkeypatch, version)
    xla_flags.keep_numbers_right()
    assert os.environ.get("XLA_FLAGS", "") == (f"{FUSIONS}=" if is_set else "")


def test_a_users_flags_stay(monkeypatch):
    version_is(monkeypatch, "0.12.0")
    monkeypatch.setenv("XLA_FLAGS", "--other=1")
    xla_flags.keep_numbers_right()
    xla_flags.keep_numbers_right()
    assert os.environ["XLA_FLAGS"] == f"--other=1 {FUSIONS}="
    monkeypatch.setenv("XLA_FLAGS", f"{FUSIONS}=all")
    xla_flags.keep_numbers_right()
    assert os.environ["XLA_FLAGS"] == f"{FUSIONS}=all"


def test_without_jaxlib_there_is_nothing_to_set(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    xla_flags.keep_numbers_right()
    assert "XLA_FLAGS" not in os.environ


def test_too_late_is_said(monkeypatch):
    version_is(monkeypatch, "0.12.0")
    monkeypatch.setitem(
        sys.modules,
        "jax._src.xla_bridge",
        type("Bridge", (), {"_backends": {"cpu": 1}}),
    )
    with pytest.warns(UserWarning, match=r"jaxlib 0\.12\.0 may compute wrong products"):
        xla_flags.keep_numbers_right()


@pytest.mark.parametrize("when", ["early", "late"])
def test_numbers_are_right_in_a_new_process_or_a_warning_is_given(when):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, when],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
        | {"PYTHONPATH": str(ROOT)},
    )
    is_right = ended.stdout.strip() == "True"
    assert is_right or (when == "late" and "may compute wrong" in ended.stderr)
    assert ended.stderr.count("\n") <= 2
