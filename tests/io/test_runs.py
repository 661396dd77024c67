"""io.runs: one run a folder, and nothing in it lost or torn by what goes wrong."""

import errno
import fcntl
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jax_inr.errors import CheckpointError, OutputError
from jax_inr.io import atomic, runs, tensorfile
from jax_inr.io.images import Image
from jax_inr.io.runs import RunFolder

ROOT = Path(__file__).parents[2]
STATE = {"params/w": np.arange(4, dtype=np.float32), "key": np.zeros(2, np.uint32)}


def child(code, *arguments):
    """Run Python code in a process of its own, with the repository importable."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def contents(folder):
    """Path and bytes of every file under a folder; None for a folder."""
    paths = sorted(folder.rglob("*"))
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in paths
    }


def checkpoint_names(run):
    return sorted(path.name for path in (run.path / "checkpoints").iterdir())


def loaded(run):
    """The newest good checkpoint, of a run that has one."""
    found = run.load_checkpoint()
    assert found is not None
    return found


def strays(folder):
    return list(folder.rglob(atomic.TEMP_PATTERN))


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        yield run


# Making, refusing, removing.


def test_folder_is_made_with_parents_and_stays_once_written_to(tmp_path):
    with RunFolder.create(tmp_path / "a" / "b") as run:
        run.write("config.json", b"{}")
    assert contents(tmp_path / "a" / "b") == {"config.json": b"{}"}


def test_nothing_is_left_of_a_run_that_wrote_nothing(tmp_path):
    with RunFolder.create(tmp_path / "a" / "b") as run:
        assert run.path.is_dir()
    assert not (tmp_path / "a").exists()
    (tmp_path / "own").mkdir()
    with RunFolder.create(tmp_path / "own"):
        pass
    assert contents(tmp_path / "own") == {} and (tmp_path / "own").is_dir()


@pytest.mark.parametrize(
    "name", ["summary.json", "metrics.jsonl", "checkpoints/x", "notes.txt", ".git/x"]
)
def test_folder_in_use_is_refused_and_untouched(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="not empty") as caught:
        RunFolder.create(tmp_path)
    assert "overwrite=True" in caught.value.hint and "resume" in caught.value.hint
    assert contents(tmp_path) == before


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        for name in runs.RUN_FILES:
            run.write(name, b"old")
        run.save_original(Image(np.zeros((1, 1, 1), np.float32), "", "", ()), {})
        run.save_checkpoint(3, STATE, {})
    foreign = {
        "notes.txt": b"mine",
        "summary.json.bak": b"mine",
        "checkpoints/step_best.safetensors": b"mine",
        "data/config.json": b"mine",
    }
    for name, data in foreign.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_bytes(data)
    (run.path / atomic.TEMP_PATTERN.replace("*", "1-a")).touch()
    with RunFolder.create(run.path, overwrite=True) as run:
        run.clear()
        left = {name: data for name, data in contents(run.path).items() if data}
        assert left.pop(".jax_inr.lock") == f"{os.getpid()}\n".encode()
        assert left == foreign
        assert not run.finished() and not strays(run.path)


@pytest.mark.parametrize("opened", [RunFolder.create, RunFolder.reopen])
def test_what_a_killed_run_was_about_to_write_goes_however_it_is_opened(run, opened):
    run.save_checkpoint(3, STATE, {})
    run.close()
    temporary = atomic.TEMP_PATTERN.replace("*", "1-a")
    for folder in (run.path, run.path / "checkpoints"):
        (folder / temporary).write_bytes(b"half")
    how = {"overwrite": True} if opened == RunFolder.create else {}
    with opened(run.path, **how) as again:
        assert not strays(again.path)
        assert loaded(again)[1]["step"] == 3


def test_folder_that_cannot_be_is_an_output_error_that_leaves_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in [
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "run", "Not a directory"),
        (tmp_path / "new" / ("n" * 300), "too long"),
        (tmp_path / "loop" / "run", ""),
        (Path("/sys/run"), ""),
        (Path("/proc/run"), ""),
    ]:
        for overwrite in (False, True):
            with pytest.raises(OutputError) as caught:
                RunFolder.create(path, overwrite=overwrite)
            assert str(path) in str(caught.value) and reason in str(caught.value)
            assert caught.value.exit_code == 6 and caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]


@pytest.mark.parametrize("function", ["fsync", "pwrite"])
def test_full_disk_shows_before_any_work(tmp_path, monkeypatch, function):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OutputError, match="No space left") as caught:
            RunFolder.create(tmp_path / "a" / "b")
    assert "free some space" in caught.value.hint
    assert not (tmp_path / "a").exists()


def test_only_a_run_is_reopened(tmp_path):
    for name in ("missing", "empty", "foreign"):
        if name != "missing":
            (tmp_path / name).mkdir()
        if name == "foreign":
            (tmp_path / name / "notes.txt").touch()
        with pytest.raises(OutputError) as caught:
            RunFolder.reopen(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    assert contents(tmp_path) == {
        "empty": None,
        "foreign": None,
        "foreign/notes.txt": b"",
    }


def test_run_is_reopened_as_it_was_but_for_temporary_files(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        run.write("config.json", b"{}")
        run.save_checkpoint(1, STATE, {})
    before = contents(run.path)
    for folder in (run.path, run.path / "checkpoints"):
        (folder / atomic.TEMP_PATTERN.replace("*", "1-a")).write_bytes(b"half")
    with RunFolder.reopen(run.path):
        pass
    assert contents(run.path) == before


def test_files_that_no_overwrite_would_remove_are_not_written(run):
    for name in ("other.json", "../config.json", "checkpoints/x", "/config.json"):
        with pytest.raises(ValueError, match="RUN_FILES"):
            run.write(name, b"")
    assert contents(run.path).keys() == {".jax_inr.lock"}


# The lock.

HOLD = """
import sys
from jax_inr.io.runs import RunFolder
with RunFolder.create(sys.argv[1]) as run:
    run.write("config.json", b"{}")
    print("locked", flush=True)
    sys.stdin.readline()
    run.write("summary.json", b'{"by": "the first"}')
"""


def test_second_process_is_refused_by_pid_and_the_first_unharmed(tmp_path):
    first = child(HOLD, tmp_path / "run")
    assert first.stdout and first.stdout.readline() == "locked\n"
    descriptors = os.listdir("/proc/self/fd")
    for opens in (
        lambda: RunFolder.create(tmp_path / "run"),
        lambda: RunFolder.create(tmp_path / "run", overwrite=True),
        lambda: RunFolder.reopen(tmp_path / "run"),
    ):
        with pytest.raises(OutputError) as caught:
            opens()
        message = f"{tmp_path / 'run'} is locked by pid {first.pid}:"
        assert str(caught.value).startswith(message)
        assert caught.value.exit_code == 6
    assert os.listdir("/proc/self/fd") == descriptors
    first.communicate("go on\n")
    assert first.returncode == 0
    assert contents(tmp_path / "run") == {
        "config.json": b"{}",
        "summary.json": b'{"by": "the first"}',
    }


def test_lock_of_a_killed_process_is_free(tmp_path):
    first = child(HOLD, tmp_path / "run")
    assert first.stdout and first.stdout.readline() == "locked\n"
    first.kill()
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / ".jax_inr.lock").exists()
    with RunFolder.reopen(tmp_path / "run") as run:
        assert not run.finished()
    with RunFolder.create(tmp_path / "run", overwrite=True):
        pass


def test_one_process_locks_once_and_again_after_closing(run):
    with pytest.raises(OutputError, match=f"locked by pid {os.getpid()}:"):
        RunFolder.create(run.path)
    run.write("config.json", b"{}")
    run.close()
    run.close()
    with pytest.raises(OutputError):
        run.write("config.json", b"late")
    with RunFolder.reopen(run.path):
        pass


def test_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    tmp_path, monkeypatch
):
    """Between opening and locking the file, the run before may close."""
    path = tmp_path / "run"
    flock = fcntl.flock

    def remove_then_lock(lock, operation):
        (path / ".jax_inr.lock").unlink()
        flock(lock, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_then_lock)
        with pytest.raises(OutputError):
            RunFolder.create(path)
    assert not path.exists()


CONTEND = """
import os, sys
from jax_inr.errors import OutputError
from jax_inr.io.runs import RunFolder
held = 0
print("ready", flush=True)
sys.stdin.readline()
while held < 100:
    try:
        with RunFolder.create(sys.argv[1]):
            os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
            os.unlink(sys.argv[2])
            held += 1
    except OutputError:
        pass
"""


def test_two_processes_never_hold_one_folder_at_once(tmp_path):
    """Each makes and removes a marker inside the lock; a marker found fails it."""
    processes = [child(CONTEND, tmp_path / "a" / "run", tmp_path / "m") for _ in "12"]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def write_everything(run):
    yield lambda: run.write("reconstruction.png", b"x")
    yield lambda: run.write_json("summary.json", {})
    yield lambda: run.append_metrics({"step": 1})
    yield lambda: run.truncate_metrics(1)
    yield lambda: run.save_checkpoint(1, STATE, {})
    yield lambda: run.save_original(Image(np.zeros((1, 1, 1)), "", "", ()), {})


def test_folder_removed_or_replaced_during_the_run_is_an_output_error(tmp_path):
    with RunFolder.create(tmp_path / "run") as run:
        shutil.rmtree(run.path)
        for write in write_everything(run):
            with pytest.raises(OutputError, match=str(run.path)):
                write()
        assert not run.path.exists()
        with RunFolder.create(tmp_path / "run") as other:
            other.write("config.json", b"{}")
            for write in write_everything(run):
                with pytest.raises(OutputError, match=str(run.path)):
                    write()
            run.close()
            other.write("summary.json", b'{"a": 1}')
    assert contents(run.path) == {"config.json": b"{}", "summary.json": b'{"a": 1}'}


# JSON and the log.


def test_json_files_are_valid_and_readable(run):
    value = {"psnr_db": math.inf, "path": "ü", "list": (1, 2), "a": None}
    run.write_json("config.json", value)
    text = (run.path / "config.json").read_text("utf-8")
    assert text.endswith("}\n") and '"ü"' in text
    read = run.read_json("config.json")
    assert read == {"psnr_db": "inf", "path": "ü", "list": [1, 2], "a": None}
    assert list(read) == list(value)


@pytest.mark.parametrize(
    ("data", "finished"),
    [
        (b'{"psnr_db": 30.0}', True),
        (b'{"psnr_db": 30.', False),
        (b"", False),
        (b"[]", False),
        (b"[[1, 2]]", False),
        (b'{"a": NaN}', False),
        (b'{"a": 1, "a": 2}', False),
        (b"\xff", False),
        (None, False),
    ],
)
def test_run_is_finished_when_its_summary_is_there_and_whole(run, data, finished):
    if data is not None:
        run.write("summary.json", data)
    assert run.finished() == finished
    if not finished:
        with pytest.raises(CheckpointError, match=r"summary\.json"):
            run.read_json("summary.json")


# Checkpoints.


def test_checkpoint_comes_back_and_the_last_two_are_kept(run):
    assert run.load_checkpoint() is None
    for step in (0, 7, 123, 10**9 - 1, 10**9):
        run.save_checkpoint(step, {"x": np.float32(step)}, {"seed": 3})
        tensors, header, notices = loaded(run)
        assert tensors["x"] == np.float32(step)
        assert (header, notices) == ({"seed": 3, "step": step}, [])
    names = {"step_999999999.safetensors", "step_1000000000.safetensors"}
    assert set(checkpoint_names(run)) == names
    run.save_checkpoint(10**9, STATE, {})
    assert set(checkpoint_names(run)) == names
    assert loaded(run)[1] == {"step": 10**9}


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_damaged_checkpoint_is_named_and_the_older_used(run):
    run.save_checkpoint(10, STATE, {"n": 1})
    run.save_checkpoint(20, STATE, {"n": 2})
    newest = run.path / "checkpoints" / "step_000000020.safetensors"
    damage(newest)
    _, header, notices = loaded(run)
    assert header == {"n": 1, "step": 10}
    assert len(notices) == 1
    assert str(newest) in notices[0] and "damaged" in notices[0]
    assert "using step_000000010.safetensors" in notices[0]


def test_no_good_checkpoint_names_each_and_why(run):
    run.save_checkpoint(10, STATE, {})
    run.save_checkpoint(20, {"params/w": np.array(np.nan, np.float32)}, {})
    damage(run.path / "checkpoints" / "step_000000010.safetensors")
    with pytest.raises(CheckpointError) as caught:
        loaded(run)
    message = str(caught.value)
    assert "step_000000010.safetensors is damaged" in message
    assert "step_000000020.safetensors: tensor 'params/w'" in message


@pytest.mark.parametrize("next_step", [15, 20, 25])
def test_saving_after_a_fallback_keeps_the_checkpoint_that_was_good(
    tmp_path, next_step
):
    with RunFolder.create(tmp_path / "run") as run:
        run.save_checkpoint(10, STATE, {})
        run.save_checkpoint(20, STATE, {})
        damage(run.path / "checkpoints" / "step_000000020.safetensors")
    with RunFolder.reopen(run.path) as run:
        loaded(run)
        run.save_checkpoint(next_step, STATE, {})
        good = [f"step_{step:09d}.safetensors" for step in (10, next_step)]
        assert checkpoint_names(run) == good
        assert loaded(run)[1]["step"] == next_step


def test_failed_save_leaves_the_checkpoints_before(run, monkeypatch):
    run.save_checkpoint(1, STATE, {})
    run.save_checkpoint(2, STATE, {})
    before = contents(run.path)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OutputError, match=r"step_000000003.*No space left"):
            run.save_checkpoint(3, STATE, {})
    assert contents(run.path) == before


FULL_DISK = """
import resource, sys, numpy as np
from jax_inr.errors import OutputError
from jax_inr.io.runs import RunFolder
with RunFolder.create(sys.argv[1]) as run:
    run.save_checkpoint(1, {"x": np.zeros(100, np.float32)}, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        run.save_checkpoint(2, {"x": np.zeros(10_000, np.float32)}, {})
    except OutputError as error:
        print(error)
        sys.exit(error.exit_code)
"""


def test_full_disk_leaves_the_checkpoint_before(tmp_path):
    process = child(FULL_DISK, tmp_path / "run")
    output, _ = process.communicate()
    assert process.returncode == 6 and "File too large" in output
    assert not strays(tmp_path)
    with RunFolder.reopen(tmp_path / "run") as run:
        assert loaded(run)[1]["step"] == 1
        assert checkpoint_names(run) == ["step_000000001.safetensors"]


KILLED = """
import os, signal, sys, numpy as np
from jax_inr.io.runs import RunFolder
function = sys.argv[2]
with RunFolder.create(sys.argv[1]) as run:
    run.save_checkpoint(1, {"x": np.float32(1)}, {})
    setattr(os, function, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    run.save_checkpoint(2, {"x": np.float32(2)}, {})
"""


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_kill_in_a_save_leaves_the_checkpoint_before_and_no_strays(tmp_path, function):
    process = child(KILLED, tmp_path / "run", function)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(strays(tmp_path)) == 1
    with RunFolder.reopen(tmp_path / "run") as run:
        tensors, header, notices = loaded(run)
        assert (tensors["x"], header["step"], notices) == (1, 1, [])
        assert not strays(tmp_path)


ENDLESS_RUN = """
import sys, numpy as np
from jax_inr.io.runs import RunFolder
path = sys.argv[1]
run = RunFolder.create(path) if sys.argv[2] == "new" else RunFolder.reopen(path)
step = 0
if sys.argv[2] == "old":
    _, header, notices = run.load_checkpoint()
    step = header["step"]
    assert not notices
    run.truncate_metrics(step)
while True:
    step += 1
    row = dict.fromkeys(("seconds", "loss", "psnr_db", "pooled_psnr_db"), 0.5)
    run.append_metrics({"step": step, **row})
    run.save_checkpoint(step, {"x": np.full(20_000, step, np.float32)}, {})
    print(step, flush=True)
"""


def test_run_killed_at_any_time_goes_on_from_a_good_checkpoint(tmp_path):
    path = tmp_path / "run"
    generator = random.Random(1)
    shown = 0
    for attempt in range(8):
        process = child(ENDLESS_RUN, path, "old" if attempt else "new")
        assert process.stdout
        shown = int(process.stdout.readline())
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        shown = int((f"{shown}\n" + process.communicate()[0]).splitlines()[-1])
        assert process.returncode == -signal.SIGKILL
        with RunFolder.reopen(path) as run:
            tensors, header, notices = loaded(run)
            assert not notices and not strays(path)
            assert header["step"] in (shown, shown + 1)
            np.testing.assert_array_equal(tensors["x"], np.full(20_000, header["step"]))
            run.truncate_metrics(header["step"])
            steps = [row["step"] for row in run.read_metrics()]
            assert steps == list(range(1, header["step"] + 1))


def test_log_is_on_the_disk_before_the_checkpoint_that_relies_on_it(run, monkeypatch):
    synced = []
    fsync = os.fsync

    def note(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    run.append_metrics({"step": 1})
    monkeypatch.setattr(os, "fsync", note)
    run.save_checkpoint(1, STATE, {})
    assert synced[0] == "metrics.jsonl"


def test_picture_comes_back(run):
    image = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 4, 3)
    run.save_original(Image(image, "cat.png", "0" * 64, ("a notice",)), {"a": 1})
    run.save_checkpoint(1, STATE, {})
    picture, about = run.load_original()
    assert picture is not None and about == {"a": 1}
    np.testing.assert_array_equal(picture.image, image)
    assert picture[1:] == ("cat.png", "0" * 64, ("a notice",))
    path = run.path / "checkpoints" / "picture.safetensors"
    tensorfile.save_tensors(path, "picture", {"image": image}, {})
    with pytest.raises(CheckpointError, match="picture"):
        run.load_original()
    run.save_original(None, {"b": 2})  # of a task that measured no image
    assert run.load_original() == (None, {"b": 2})
    path.unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        run.load_original()
