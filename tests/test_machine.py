"""machine: memory left under cgroups of every kind, cores that are allowed."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jax_inr import cost, machine
from jax_inr.errors import DeviceError

MIB = 2**20
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def make_group(folder, names, limit, used, inactive=None):
    """The files of a memory cgroup."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    if inactive is not None:
        (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {inactive}\nfile 3\n")


@pytest.fixture
def root(tmp_path):
    """A machine with 1 GiB left, in no cgroup."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    text = f"MemTotal: 9 kB\nMemFree: 8 kB\nMemAvailable: {1024 * 1024} kB\n"
    (tmp_path / "proc" / "meminfo").write_text(text)
    return tmp_path


def test_without_a_cgroup_it_is_what_the_machine_has_left(root):
    assert machine.available_bytes(root) == 1024 * MIB


@pytest.mark.parametrize(
    ("limit", "left"),
    [(300 * MIB, 300), (2048 * MIB, 1024), (resource.RLIM_INFINITY, 1024)],
)
def test_a_limit_on_the_address_space_counts(root, monkeypatch, limit, left):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert machine.available_bytes(root) == left * MIB


def test_pages_of_files_that_the_kernel_would_give_up_count_as_free(root):
    group = root / "sys/fs/cgroup"
    make_group(group, V2, 100 * MIB, 100 * MIB, 90 * MIB)
    assert machine.available_bytes(root) == 90 * MIB
    make_group(group, V2, 100 * MIB, 60 * MIB)  # no memory.stat
    (group / "memory.stat").unlink()
    assert machine.available_bytes(root) == 40 * MIB
    make_group(group, V2, "max", 60 * MIB, 0)
    assert machine.available_bytes(root) == 1024 * MIB


@pytest.mark.parametrize("mount", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
@pytest.mark.parametrize("tightest", ["", "slice", "slice/job", "slice/job/step"])
def test_the_tightest_of_nested_groups_counts(root, mount, tightest):
    (root / "proc/self/cgroup").write_text("0::/slice/job/step\n")
    for group in ("", "slice", "slice/job", "slice/job/step"):
        limit = 20 * MIB if group == tightest else 500 * MIB
        make_group(root / mount / group, V2, limit, 5 * MIB, 2 * MIB)
    assert machine.available_bytes(root) == 17 * MIB
    # A neighbour's limit does not.
    make_group(root / mount / "slice/other", V2, 1, 0)
    assert machine.available_bytes(root) == 17 * MIB


@pytest.mark.parametrize("tightest", ["", "docker", "docker/abc"])
def test_groups_of_version_1_count(root, tightest):
    lines = ["9:name=systemd:/", "4:cpu,memory:/docker/abc", "1:cpu:/other", "0::/"]
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")
    for group in ("", "docker", "docker/abc"):
        limit = 20 * MIB if group == tightest else 9223372036854771712  # for none
        make_group(root / "sys/fs/cgroup/memory" / group, V1, limit, 5 * MIB, 4 * MIB)
    assert machine.available_bytes(root) == 19 * MIB


@pytest.mark.parametrize("path", ["/docker/abc", "/../../slice", "/"])
def test_container_that_sees_its_group_as_the_root(root, path):
    (root / "proc/self/cgroup").write_text(f"4:memory:{path}\n0::{path}\n")
    make_group(root / "sys/fs/cgroup/memory", V1, 30 * MIB, 5 * MIB)
    assert machine.available_bytes(root) == 25 * MIB
    make_group(root / "sys/fs/cgroup", V2, 20 * MIB, 5 * MIB)
    assert machine.available_bytes(root) == 15 * MIB


def test_group_over_its_limit_has_nothing_left(root):
    make_group(root / "sys/fs/cgroup", V2, 10 * MIB, 20 * MIB, 0)
    assert machine.available_bytes(root) == 0


@pytest.mark.parametrize("text", ["", "x", "4:memory", ":::\n", "MemAvailable:"])
def test_files_of_another_form_are_passed_over(tmp_path, text):
    for name in ("proc/meminfo", "proc/self/cgroup", "sys/fs/cgroup/memory.max"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine.available_bytes(tmp_path) <= whole


def test_this_machine_has_something_left():
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine.available_bytes() <= whole
    assert cost.available_bytes is machine.available_bytes


def test_cores_are_those_allowed_and_not_the_machines(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 208)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})
    assert machine.allowed_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert machine.allowed_cores() == 208
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.allowed_cores() == 1


def test_memory_and_cores_are_told_without_jax():
    code = (
        "import sys; from jax_inr import cost, machine;"
        "machine.available_bytes(), machine.allowed_cores();"
        "sys.exit('jax' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_device_is_the_first_of_its_kind_and_never_another(monkeypatch):
    def devices(kind):
        if kind == "gpu":
            raise RuntimeError("Unknown backend:\n gpu")
        return [f"{kind} 0", f"{kind} 1"]

    monkeypatch.setattr("jax.devices", devices)
    assert machine.select("auto") == "None 0" and machine.select("cpu") == "cpu 0"
    with pytest.raises(DeviceError, match=r"no GPU here \(Unknown backend: gpu\)"):
        machine.select("gpu")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
@pytest.mark.parametrize("keeps", [True, False])
def test_freed_memory_is_kept_where_the_environment_would_not(keeps):
    code = (
        "import resource; import numpy as np; from jax_inr import machine\n"
        f"if {keeps}: machine.keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(2**18); before = faults()\n"
        "for _ in range(100): np.ones(2**18)\n"
        "print(faults() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment["MALLOC_TRIM_THRESHOLD_"] = "65536"  # what Dask gives its workers
    told = subprocess.check_output([sys.executable, "-c", code], env=environment)
    pages = 100 * 2**21 // resource.getpagesize()
    assert (int(told) < pages / 10) == keeps
