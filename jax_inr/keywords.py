"""Keywords that do not exist are refused with the nearest that does."""

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def suggests(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function's TypeError for an unknown keyword name the nearest one."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(
                    f"{function.__name__}() got an unexpected keyword argument "
                    f"{name!r}{hint or '; it takes ' + ', '.join(known)}"
                )
        return function(*args, **kwargs)

    return checked
