"""One process's hold on a folder: the kernel's lock on a file in it.

A killed process leaves no lock, for the kernel frees it. Imports neither JAX nor torch.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

from jax_inr.errors import OutputError, unsupported
from jax_inr.io.reading import refuse_link
from jax_inr.io.text import shown

try:
    import fcntl
except ImportError as error:
    raise unsupported(error) from error

LOCK_NAME = ".jax_inr.lock"

# What file systems without locks say, as Lustre mounted without them does.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


class FolderLock:
    """A folder, locked from the making of this object to `close`.

    `notice` is what the user is to be told, or nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Lock the folder, which has to be there; an OSError where it is not writable.

        Raises:
            OutputError: another process has it, or its lock file is none of ours.
        """
        self.notice = ""
        self._folder, self._path = folder, folder / LOCK_NAME
        refuse_link(self._path, OutputError)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self._path, flags, 0o666)
        except IsADirectoryError as error:
            raise self._foreign() from error
        try:
            self._acquire()
        except BaseException:
            os.close(self._descriptor)
            raise
        try:
            # This also shows that the folder can be written to.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._descriptor)
        except BaseException:
            self.close()
            raise

    def _acquire(self) -> None:
        status = os.fstat(self._descriptor)
        is_file = stat.S_ISREG(status.st_mode)
        holder = os.pread(self._descriptor, 100, 0).strip(b"\0\n") if is_file else b"?"
        # A folder of others may hold anything under this name, and it is overwritten;
        # by a second name that file may be the user's.
        if (holder and not holder.isdigit()) or status.st_nlink > 1:
            raise self._foreign()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            reason = f"is locked by pid {holder.decode()}: another run is writing there"
            hint = "wait for it to end, or choose another folder"
            raise OutputError(f"{shown(self._folder)} {reason}", hint) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self.notice = (
                f"{shown(self._folder)} is on a file system without locks "
                f"({error.strerror}): take care that no other run writes there"
            )
        # Whoever closes removes the lock file first and frees the lock then, so a lock
        # counts only if its file is still there.
        self.check()

    def _foreign(self) -> OutputError:
        problem = f"{shown(self._path)} is no lock of jax_inr"
        return OutputError(problem, "remove it, if it may go")

    def check(self) -> None:
        """Raise an OutputError where the folder is no longer this process's."""
        with contextlib.suppress(OSError):
            ours, there = os.fstat(self._descriptor), os.lstat(self._path)
            if os.path.samestat(ours, there):
                return
        hint = "was the folder removed or replaced?"
        raise OutputError(f"{shown(self._folder)} is no longer this run's", hint)

    def close(self) -> None:
        """Free the folder, and remove the lock's file if it is this lock's."""
        with contextlib.suppress(OSError, OutputError):
            self.check()
            self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
