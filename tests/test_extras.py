"""A package that is missing is named with what needs it and what installs it."""

import json
import sys

import pytest
from conftest import ROOT

from jax_inr import extras
from jax_inr.errors import ConfigError


def test_a_module_is_imported_or_the_extra_that_has_it_is_named():
    assert extras.load("json", "a file needs json", "files") is json
    with pytest.raises(ConfigError, match="a file needs it, which is not") as caught:
        extras.load("no_such_module", "a file needs it", "files")
    assert caught.value.hint == 'pip install -e ".[files]"'


def test_who_has_no_gpu_reads_of_the_cpu_build_before_torch_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    with pytest.raises(ConfigError) as caught:
        extras.load("torch", "a file needs torch", "torch")
    cpu, both = caught.value.hint.split("; then ")
    assert cpu.endswith("https://download.pytorch.org/whl/cpu")
    assert both == 'pip install -e ".[torch]"'
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert extras.CPU_TORCH in readme
