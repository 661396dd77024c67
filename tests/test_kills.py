"""The command killed for good again and again, and repeated word for word until done.

From the start of Python to the last file written; for one image and for a batch. That
a run goes on by --resume is in test_faults.py.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from fakes import assert_same_run, written
from PIL import Image

from jax_inr.io import tensorfile

STEPS, SIDE = 6000, 12
COMMAND = (
    *("--device", "cpu", "--hidden-features", 8, "--num-frequencies", 4),
    *("--size", SIDE, "--batch-size", 16, "--steps", STEPS, "--eval-every", 20),
    *("--checkpoint-seconds", 0.1),
)
# Of twenty: before the first checkpoint, among the steps, and inside the ending.
EARLY, AMID, LATE = 7, 7, 6
# What a run writes once its steps are taken, in this order.
ENDING = (
    "field.safetensors",
    "reconstruction.png",
    "comparison.png",
    "curves.png",
    "encoding.png",
    "summary.json",
)
# And a batch after its runs.
BATCH = ("runs.csv", "contact-sheet.png", "summary.json")
SAME = [name for name in ENDING if name not in ("curves.png", "summary.json")]
# Runs the command, and kills it at the n-th time that a file of a name is put in its
# place: before that, or at whatever comes next.
KILL = """
import os, runpy, signal, sys

name, left, is_before = {name!r}, {number}, {is_before}


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # some kernels take a moment
        signal.pause()


def watch(event, arguments):
    global left
    # os.kill is an event too.
    if left == 0 and event != "os.kill":
        die()
    if event == "os.rename" and os.path.basename(arguments[1]) == name:
        left -= 1
        if left == 0 and is_before:
            die()


sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """A test that fails kills what it started."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def start(folder: Path, words: list, *python: str) -> subprocess.Popen[str]:
    """The command in a process of its own; `python` is what runs it, if not Python."""
    script = str(ROOT / "scripts" / "fit.py")
    STARTED.append(
        subprocess.Popen(
            [sys.executable, *python, script, *map(str, words)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    return STARTED[-1]


def ends(process: subprocess.Popen[str]) -> str:
    """What a command that ends well has printed."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def kill_when(process: subprocess.Popen[str], is_time: Callable[[], bool]) -> float:
    """Kill the process for good at its moment; the seconds that it had."""
    began = time.monotonic()
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < began + 240
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return time.monotonic() - began


class Steps:
    """The step of the last whole row that a process has logged from now on."""

    def __init__(self, run: Path) -> None:
        self._log = run / "metrics.jsonl"
        self._before = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._log.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def __call__(self) -> int:
        if self._stamp() in (None, self._before):
            return 0
        try:
            rows = self._log.read_text(encoding="utf-8").split("\n")[:-1]
        except FileNotFoundError:
            return 0
        return json.loads(rows[-1])["step"] if rows else 0


def checkpoints(out: Path) -> list[Path]:
    return sorted(out.glob("**/checkpoints/step_*.safetensors"))


def make_images(folder: Path, count: int) -> list[str]:
    generator = np.random.default_rng(count)
    for name in "abc"[:count]:
        colours = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(colours).save(folder / f"{name}.png")
    return [f"{name}.png" for name in "abc"[:count]]


def kill_early(folder: Path, command: list, run: Path, seconds: float) -> str:
    """Kill a new process after so many seconds, but no later than its first row."""
    steps, until = Steps(run), time.monotonic() + seconds
    process = start(folder, command)
    spent = kill_when(process, lambda: time.monotonic() >= until or steps() > 0)
    stage = "amid" if checkpoints(folder / "out") else "early"
    return f"{stage}: after {spent:.2f} s"


def kill_amid(folder: Path, command: list, run: Path, step: int) -> str:
    """Kill a process that has logged a step."""
    steps = Steps(run)
    kill_when(start(folder, command), lambda: steps() >= step)
    return f"amid: at step {steps()}"


def kill_late(
    folder: Path, command: list, number: int, path: Path, is_before: bool
) -> str:
    """Have a process kill itself as it puts a file of the ending in its place."""
    code = KILL.format(name=path.name, number=number, is_before=is_before)
    process = start(folder, command, "-c", code)
    said = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL, said
    when = "before" if is_before else "after"
    return f"late: {when} {path.relative_to(folder)}"


def kill_twenty_times(folder: Path, command: list, runs: list[Path], seconds: float):
    """Start the command and kill it, over and over; where each kill fell.

    Nothing hangs on the speed of the machine: the early kills come at a random time
    but no later than the log, those amid the steps when a random step has been logged,
    and the late ones at a random file of the ending. The folder "control" holds the
    runs as the last kill amid the steps left them.

    Args:
        runs: the runs' folders, whose ending comes in this order.
        seconds: what the command took to its first logged step.
    """
    generator = random.Random(len(runs))
    times = sorted(generator.uniform(0, seconds) for _ in range(EARLY))
    told = [kill_early(folder, command, runs[0], moment) for moment in times]
    steps = sorted(generator.randrange(1, STEPS * 9 // 10) for _ in range(AMID))
    told += [kill_amid(folder, command, runs[0], step) for step in steps]
    shutil.copytree(folder / "out", folder / "control")
    files = [run / name for run in runs for name in ENDING]
    files += [folder / "out" / name for name in BATCH if len(runs) > 1]
    moments = [(path, is_before) for path in files for is_before in (True, False)]
    # After its last file the command is about to say that it is done.
    chosen = sorted(generator.sample(range(len(moments) - 1), LATE))
    # In the order of the ending, so that batches are killed with some runs done.
    for path, is_before in (moments[index] for index in chosen):
        undone = [run for run in runs if not (run / "summary.json").exists()]
        # Runs that come before and are not done have files of that name too.
        number = 1 + undone.index(path.parent) if path.parent in runs else 1
        if path.name == "summary.json" and path.parent not in runs:
            number += len(undone)
        told.append(kill_late(folder, command, number, path, is_before))
    return told


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [1, 3])
def test_the_same_command_killed_twenty_times_ends_as_if_it_had_not_been(
    count, tmp_path
):
    words = [*make_images(tmp_path, count), *COMMAND]
    command = [*words, "--out", "out"]

    def runs(name: str) -> list[Path]:
        root = tmp_path / name
        return [root] if count == 1 else [root / stem for stem in "abc"[:count]]

    began, steps = time.monotonic(), Steps(runs("whole")[0])
    process = start(tmp_path, [*words, "--out", "whole"])
    while not steps():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    seconds = time.monotonic() - began
    ends(process)
    total = time.monotonic() - began
    print(f"\nuninterrupted: {total:.1f} s, the first row after {seconds:.1f} s")

    told = kill_twenty_times(tmp_path, command, runs("out"), seconds)
    print(*(f"killed {where}" for where in told), sep="\n")
    stages = [where.split(":")[0] for where in told]
    assert len(told) == 20 and stages.count("early") >= 5
    said = ends(start(tmp_path, command))
    # The second where nothing but the ending was missing.
    assert "written to out" in said or "out is finished" in said
    for mine, expected in zip(runs("out"), runs("whole"), strict=True):
        assert_same_run(mine, expected)
        for name in SAME:
            assert (mine / name).read_bytes() == (expected / name).read_bytes(), name
    assert not list((tmp_path / "out").rglob("*.tmp"))
    # Once more says that it is done, and changes nothing.
    before = written(tmp_path / "out")
    said = ends(start(tmp_path, command))
    assert "out is finished" in said or count > 1
    assert written(tmp_path / "out") == before

    # The control: a state without its momentum does not pass.
    for path in checkpoints(tmp_path / "control"):
        tensors, header = tensorfile.load_tensors(path, "checkpoint")
        lost = {k: v * 0 if "trace" in k else v for k, v in tensors.items()}
        assert any((lost[name] != tensors[name]).any() for name in tensors)
        tensorfile.save_tensors(path, "checkpoint", lost, header)
    ends(start(tmp_path, [*words, "--out", "control"]))
    for mine, expected in zip(runs("control"), runs("whole"), strict=True):
        with pytest.raises(AssertionError):
            assert_same_run(mine, expected)
