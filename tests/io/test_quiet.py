"""Warnings ignored in threads: none is heard inside, all are afterwards."""

import threading
import warnings

import pytest

from jax_inr.io.quiet import WARNINGS_IGNORED


def test_threads_that_leave_in_the_order_they_came_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    inside, leave = [threading.Event() for _ in "ab"], [threading.Event() for _ in "ab"]

    def stay(index):
        with WARNINGS_IGNORED:
            inside[index].set()
            leave[index].wait(10)
            warnings.warn("unheard", stacklevel=1)

    threads = [threading.Thread(target=stay, args=(index,)) for index in (0, 1)]
    for thread, event in zip(threads, inside, strict=True):
        thread.start()
        event.wait(10)
    for thread, event in zip(threads, leave, strict=True):
        event.set()
        thread.join()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_an_error_inside_leaves_too():
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="a"), WARNINGS_IGNORED:
        raise ValueError("a")
    assert list(warnings.filters) == before
