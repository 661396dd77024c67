"""io.lock: what is no lock of ours stays as it is; without locks, a notice."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jax_inr.errors import OutputError
from jax_inr.io.lock import LOCK_NAME, FolderLock

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "data",
    [b"a letter of the user's\n", b"12 and more", b"x" * 10**5, b"-3\n", b"\xff"],
)
def test_file_that_is_no_lock_is_refused_and_untouched(tmp_path, data):
    """Also through a hard link, which archives carry too."""
    check_linked_file_is_untouched(tmp_path, data)


@pytest.mark.parametrize("data", [b"", b"123\n"])
def test_hard_link_to_what_looks_like_a_lock_is_refused_and_untouched(tmp_path, data):
    check_linked_file_is_untouched(tmp_path, data)


def check_linked_file_is_untouched(tmp_path, data):
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious").write_bytes(data)
    os.link(tmp_path / "precious", tmp_path / "folder" / LOCK_NAME)
    with pytest.raises(OutputError, match=r"\.jax_inr\.lock is no lock of jax_inr"):
        FolderLock(tmp_path / "folder")
    assert (tmp_path / "precious").read_bytes() == data


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make):
    make(tmp_path / LOCK_NAME)
    with pytest.raises(OutputError, match=r"\.jax_inr\.lock(: | is no lock)"):
        FolderLock(tmp_path)
    assert (tmp_path / LOCK_NAME).exists()


@pytest.mark.parametrize("data", [b"", b"123\n", b"123", bytes(4)])
def test_lock_that_a_killed_process_left_is_taken(tmp_path, data):
    (tmp_path / LOCK_NAME).write_bytes(data)
    lock = FolderLock(tmp_path)
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert lock.notice == ""
    lock.close()
    lock.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP]
)
def test_file_system_without_locks_gets_a_notice(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    lock = FolderLock(tmp_path)
    assert str(tmp_path) in lock.notice and os.strerror(number) in lock.notice
    assert "no other run" in lock.notice and lock.notice.isprintable()
    lock.check()
    # Whoever takes the folder's name away is found out all the same.
    (tmp_path / LOCK_NAME).unlink()
    with pytest.raises(OutputError, match="no longer"):
        lock.check()
    lock.close()


def test_any_other_fault_of_locking_is_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Input/output"):
        FolderLock(tmp_path)
    assert os.listdir("/proc/self/fd") == descriptors


WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from jax_inr.cli.main import main
codes = [main(words.split()) for words in sys.argv[2:]]
sys.exit(codes != [7] * len(codes))
"""


@pytest.mark.parametrize("missing", ["fcntl", "fcntl,resource"])
def test_system_without_the_modules_of_unix_is_told_which_are_supported(missing):
    """As Windows is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = ("fit x.png", "fit --sweep seed=0,1")
    commands += ("render x --out a.png",) if "resource" in missing else ()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, *commands],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(commands)
    for line in lines:
        assert line.startswith("error: jax_inr runs on Linux and macOS; this system")
        assert "has no " in line and "Windows Subsystem for Linux" in line
