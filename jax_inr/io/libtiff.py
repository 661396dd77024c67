"""libtiff's errors as exceptions: it prints them, and Pillow may go on regardless."""

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import Any

from PIL import Image

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_LOCK = threading.Lock()  # the handler is the process's


def _find_setter() -> Any:
    """TIFFSetErrorHandler of the libtiff that Pillow is linked to; None without one."""
    try:
        setter: Any = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):
        return None
    setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    return setter


_set_handler = _find_setter()


@contextlib.contextmanager
def errors_raised() -> Iterator[None]:
    """Raises ValueError after the block if libtiff reported an error within it.

    A bad code word in a fax stream, say, leaves wrong pixels and no other sign.
    """
    if _set_handler is None:
        yield
        return
    reports: list[str] = []

    def report(module: bytes | None, text: bytes, values: int) -> None:
        line = ctypes.create_string_buffer(200)
        ctypes.pythonapi.PyOS_vsnprintf(line, len(line), text, ctypes.c_void_p(values))
        reports.append(line.value.decode(errors="replace"))

    handler = _Handler(report)
    with _LOCK:
        before = _set_handler(ctypes.cast(handler, ctypes.c_void_p))
        try:
            yield
        finally:
            _set_handler(before)
    if reports:
        raise ValueError(reports[0])
