"""io.atomic: a file is whole or absent, whatever goes wrong."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jax_inr.errors import OutputError
from jax_inr.io.atomic import TEMP_PATTERN, sync, write_atomic
from jax_inr.io.images import load_image, save_image
from jax_inr.io.reading import reading
from jax_inr.io.runs import RunFolder
from jax_inr.io.tensorfile import load_tensors

ROOT = Path(__file__).parents[2]


def child(code, *arguments, **options):
    """Run Python code in a process of its own, with the repository importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, **options
    )


def test_write_replaces_the_whole_content(tmp_path):
    for data in (b"a long content", b"", b"short"):
        write_atomic(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == data
        assert os.listdir(tmp_path) == ["a"]


def test_written_file_has_the_mode_of_any_new_file(tmp_path):
    write_atomic(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("name", ["x" * 255, "-leading", "two words", "ü", "a\nb"])
def test_any_name_that_the_file_system_takes_is_written(tmp_path, name):
    write_atomic(tmp_path / name, b"data")
    assert os.listdir(tmp_path) == [name]


def test_content_reaches_the_disk_before_its_name_and_the_name_last(
    tmp_path, monkeypatch
):
    calls = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor):
        calls.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def note_replace(source, target):
        assert Path(source).read_bytes() == b"data"
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomic(tmp_path / "a", b"data")
    assert calls[0].startswith("sync .jax_inr-")
    assert calls[1:] == ["replace", f"sync {tmp_path.name}"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()]
)
def test_failure_leaves_the_old_content_and_nothing_else(
    tmp_path, monkeypatch, function, error
):
    write_atomic(tmp_path / "a", b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, function, fail)
    expected = (
        KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    )
    with pytest.raises(expected):
        write_atomic(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    for path, reason in [
        (tmp_path / "missing" / "a", "No such file"),
        (tmp_path / "file" / "a", "Not a directory"),
        (tmp_path, "no file"),
        (tmp_path / "fifo", "no file"),
        (tmp_path / ("n" * 300), "too long"),
        (Path("/sys/a"), ""),
    ]:
        with pytest.raises(OutputError) as caught:
            write_atomic(path, b"data")
        assert str(path) in str(caught.value) and reason in str(caught.value)
        assert caught.value.exit_code == 6 and "\n" not in str(caught.value)
    assert (tmp_path / "fifo").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file"]


FULL_DISK = """
import resource, sys
from jax_inr.errors import OutputError
from jax_inr.io.atomic import write_atomic
write_atomic(sys.argv[1], b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_atomic(sys.argv[1], bytes(20_000))
except OutputError as error:
    print(error, error.hint, sep="\\n")
    sys.exit(error.exit_code)
"""


def test_full_disk_leaves_the_old_content_and_says_so(tmp_path):
    process = child(FULL_DISK, tmp_path / "a")
    output, _ = process.communicate()
    assert process.returncode == 6
    assert str(tmp_path / "a") in output and "File too large" in output
    assert "free some space" in output
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


ENDLESS_SAVES = """
import sys, numpy as np
from jax_inr.io.tensorfile import save_tensors
n = 0
while True:
    tensors = {"x": np.full(50_000, n, np.float32)}
    save_tensors(sys.argv[1], "field", tensors, {"n": n})
    n += 1
    if n == 1:
        print("saved", flush=True)
"""


def test_process_killed_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a"
    generator = random.Random(0)
    for _ in range(8):
        process = child(ENDLESS_SAVES, path)
        assert process.stdout and process.stdout.readline() == "saved\n"
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        tensors, header = load_tensors(path, "field")
        np.testing.assert_array_equal(tensors["x"], np.full(50_000, header["n"]))
        strays = set(os.listdir(tmp_path)) - {"a"}
        assert strays == {temp.name for temp in tmp_path.glob(TEMP_PATTERN)}


# Links, homes, file systems.


def test_link_that_the_caller_names_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to(Path("real") / "a.png")
    (tmp_path / "second.png").symlink_to("link.png")
    for name in ("link.png", "second.png"):
        write_atomic(tmp_path / name, name.encode(), follow=True)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / "a.png").read_bytes() == name.encode()
    assert os.listdir(tmp_path / "real") == ["a.png"]
    (tmp_path / "new.png").symlink_to(Path("real") / "b.png")  # not there yet
    write_atomic(tmp_path / "new.png", b"new", follow=True)
    assert (tmp_path / "real" / "b.png").read_bytes() == b"new"


def test_link_that_leads_nowhere_is_an_output_error(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to(Path("missing") / "a")
    (tmp_path / "device").symlink_to("/dev/null")
    for name, reason in (
        ("loop", "symbolic links"),
        ("lost", "No such file"),
        ("device", "no file"),
    ):
        with pytest.raises(OutputError, match=reason):
            write_atomic(tmp_path / name, b"data", follow=True)
        assert (tmp_path / name).is_symlink()
    assert len(os.listdir(tmp_path)) == 3


def test_other_links_are_replaced_and_their_targets_left(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("precious")
    write_atomic(tmp_path / "link", b"data")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert (tmp_path / "link").read_bytes() == b"data"


def test_tilde_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_atomic("~/a", b"data")
    with reading("~/a") as file:
        assert file.read() == b"data"
    image = np.full((2, 3, 1), 0.2, np.float32)
    save_image("~/a.png", image)
    np.testing.assert_array_equal(load_image("~/a.png").image, image)
    with RunFolder.create("~/run") as run:
        run.write("config.json", b"{}")
    assert sorted(os.listdir(tmp_path)) == ["a", "a.png", "run"]


@pytest.mark.parametrize("name", ["EINVAL", "EBADF", "ENOSYS", "EOPNOTSUPP", "ENOTSUP"])
def test_folder_that_cannot_be_synced_is_forgiven(tmp_path, monkeypatch, name):
    """FUSE, SMB and others say so each in their way."""
    fsync = os.fsync

    def fail_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, name), "no sync of folders")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    write_atomic(tmp_path / "a", b"data")
    assert (tmp_path / "a").read_bytes() == b"data"


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a")
    sync(tmp_path / "a")
