"""A context in which warnings are ignored, in any number of threads."""

import threading
import warnings


class _Ignored:
    """Ignores warnings as long as a thread is inside.

    `warnings.catch_warnings` puts back the filters of when it was entered: threads that
    leave in another order than they came leave "ignore" behind for good.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


WARNINGS_IGNORED = _Ignored()
