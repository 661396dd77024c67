"""Workers and the command killed at random moments: the set has the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from jax_inr import FieldSet
from jax_inr.datasets.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FIELDS, CHUNK = 96, 4
CONFIG = ("--changes", "steps=400", "target_psnr=null", "hidden_features=[32,32]")


def words(folder: Path, name: str, workers: int) -> list[str]:
    script = str(ROOT / "scripts" / "dataset.py")
    found = [sys.executable, script, str(folder / "images.npy")]
    found += ["--out", str(folder / name), "--chunk", str(CHUNK), "--lanes", "4"]
    found += ["--quiet", *CONFIG]
    return found + (["--workers", str(workers)] if workers else [])


def began(command: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, start_new_session=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, and the set of an undisturbed run of two workers."""
    folder = tmp_path_factory.mktemp("kills")
    images = np.random.default_rng(0).random((FIELDS, 16, 16, 3), np.float32)
    np.save(folder / "images.npy", images)
    assert began(words(folder, "whole.zarr", 2)).wait() == 0
    return folder


def chunks(path: Path) -> dict[str, tuple[int, int]]:
    """The chunks that are there, and what tells whether one was written again."""
    # A file that is being written has another name, and is gone in a moment.
    return {
        file.name: (file.stat().st_mtime_ns, file.stat().st_ino)
        for file in (path / "status" / "c").glob("[0-9]*")
        if file.name.isdigit()
    }


def wait_for(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while len(chunks(path)) < count and process.poll() is None:
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """The worker processes below a command."""
    found, parents = [], {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat[1]), line
    for child, (parent, line) in parents.items():
        if parent == pid and b"spawn_main" in line:
            found.append(child)
    return found


def differences(folder: Path, name: str) -> list[str]:
    """The arrays of a set that are not byte for byte those of the undisturbed run."""
    one, other = Store(folder / "whole.zarr"), Store(folder / name)
    names = sorted(n for n, _ in one.group.arrays())
    assert names == sorted(n for n, _ in other.group.arrays())
    return [
        n for n in names if one.group[n][...].tobytes() != other.group[n][...].tobytes()
    ]


def test_workers_that_are_killed_lose_their_chunk_alone(folder):
    rng, path = random.Random(1), folder / "workers.zarr"
    process = began(words(folder, path.name, 2))
    killed = 0
    for count in sorted(rng.sample(range(1, FIELDS // CHUNK - 4), 5)):
        wait_for(path, count, process)
        time.sleep(rng.random() * 0.5)
        there = chunks(path)
        if victims := children(process.pid):
            os.kill(rng.choice(victims), signal.SIGKILL)
            killed += 1
    assert process.wait() == 0
    assert killed == 5
    assert differences(folder, path.name) == []
    # What was there at the last kill was not written again.
    after = chunks(path)
    assert [n for n in there if after[n] != there[n]] == []
    assert FieldSet.open(path).verify(folder / "images.npy") == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_command_that_is_killed_goes_on(folder, workers):
    rng, path = random.Random(2 + workers), folder / f"command{workers}.zarr"
    for count in sorted(rng.sample(range(1, FIELDS // CHUNK - 2), 5)):
        before = chunks(path)
        process = began(words(folder, path.name, workers))
        wait_for(path, count, process)
        time.sleep(rng.random() * 0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after = chunks(path)
        assert [n for n in before if after[n] != before[n]] == []
    assert began(words(folder, path.name, workers)).wait() == 0
    assert differences(folder, path.name) == []


def test_the_comparison_finds_a_byte(folder):
    assert began(words(folder, "other.zarr", 0)).wait() == 0
    store = Store(folder / "other.zarr")
    assert differences(folder, "other.zarr") == []
    row = store.group["params"][7].view(np.uint32)
    row[3] ^= 1
    store.group["params"][7] = row.view(np.float32)
    assert differences(folder, "other.zarr") == ["params"]
