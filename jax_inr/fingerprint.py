"""The fingerprint of a caller's object: equal for equal objects, in every process.

Its type, its fields, its arrays, what a function closes over, and the code of functions
and classes that no installed package holds, with the numbers and functions that the
code names. Addresses, lines and names of files do not count.
"""

import dataclasses
import functools
import hashlib
import inspect
import os
import re
import sys
import sysconfig
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

DIGITS = 12
_PACKAGES = (os.path.dirname(__file__), sysconfig.get_path("stdlib"))
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]|^<frozen ")
# What a name of a module or class may hold to count; anything else may change in use.
_CONSTANT = (
    bool | int | float | complex | str | tuple | np.ndarray | np.generic | jax.Array
)


def fingerprint(thing: Any, *, is_exact: bool = True) -> str:
    """Twelve digits that tell an object from others.

    is_exact: whether numbers of arrays and code count. Without them, another start of
    the same network and another Python give the same digits.
    """
    walk = _Walk(is_exact)
    walk.feed(thing)
    return walk.digest.hexdigest()[:DIGITS]


class _Walk:
    def __init__(self, is_exact: bool) -> None:
        self.is_exact, self.digest = is_exact, hashlib.sha256()
        # The things are kept, so that no id is used again.
        self.seen: dict[int, tuple[int, Any]] = {}

    def say(self, *words: object) -> None:
        self.digest.update("\0".join(map(str, words)).encode() + b"\1")

    def feed(self, thing: Any) -> None:
        """Add an object and all that it holds."""
        if thing is None or isinstance(thing, bool | int | float | complex | str):
            self.say(type(thing).__name__, repr(thing))
        elif isinstance(thing, bytes):
            self.say("bytes", thing.hex())
        elif id(thing) in self.seen:
            self.say("again", self.seen[id(thing)][0])
        else:
            self.seen[id(thing)] = len(self.seen), thing
            self._feed(thing)

    def _feed(self, thing: Any) -> None:
        if isinstance(thing, types.ModuleType):
            self.say("module", thing.__name__)
        elif inspect.isclass(thing):
            self._class(thing)
        elif inspect.isfunction(thing):
            self._function(thing)
        elif inspect.ismethod(thing):
            self.feed([thing.__func__, thing.__self__])
        elif inspect.isbuiltin(thing):
            self.say("builtin", thing.__module__, thing.__qualname__)
        elif isinstance(thing, functools.partial):
            self.feed(["partial", thing.func, thing.args, thing.keywords])
        elif isinstance(thing, np.ndarray | np.generic | jax.Array):
            self._array(thing)
        elif isinstance(thing, Mapping):
            self.say("mapping", type(thing).__qualname__, len(thing))
            for key in sorted(thing, key=repr):
                self.feed(key)
                self.feed(thing[key])
        elif isinstance(thing, list | tuple):
            self.say("sequence", type(thing).__qualname__, len(thing))
            for each in thing:
                self.feed(each)
        elif isinstance(thing, set | frozenset):
            self.say("set", sorted(map(repr, thing)))
        else:
            self._object(thing)

    def _array(self, array: Any) -> None:
        if jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
            array = jax.random.key_data(array)
        self.say("array", array.dtype, array.shape)
        if self.is_exact:
            self.digest.update(np.asarray(array).tobytes())

    def _function(self, function: Any) -> None:
        self.say("function", function.__module__, function.__qualname__)
        self.feed([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.feed(cell.cell_contents)
            except ValueError:
                self.say("empty")
        # The versions of installed packages are recorded beside.
        if self.is_exact and not _is_installed(function.__code__.co_filename):
            self._code(function.__code__, function.__globals__)

    def _code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        self.say("code", code.co_code.hex(), code.co_names, code.co_varnames)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, names)
            else:
                self.feed(constant)
        for name in code.co_names:
            there = names.get(name)
            if isinstance(there, _CONSTANT) or inspect.isfunction(there):
                self.feed(there)

    def _class(self, kind: type) -> None:
        self.say("class", kind.__module__, kind.__qualname__)
        module = sys.modules.get(kind.__module__)
        if not self.is_exact or _is_installed(getattr(module, "__file__", None) or ""):
            return
        self.feed(kind.__bases__)
        for name, member in sorted(vars(kind).items()):
            for held in ("__func__", "fget", "method"):  # the last one Equinox's
                member = getattr(member, held, member)
            member = inspect.unwrap(member) if callable(member) else member
            is_constant = isinstance(member, _CONSTANT) and not name.startswith("__")
            if is_constant or inspect.isfunction(member):
                self.say(name)
                self.feed(member)

    def _object(self, thing: Any) -> None:
        self.feed(type(thing))
        wrapped = getattr(thing, "__wrapped__", None)
        if wrapped is not None and callable(thing):  # jitted, or otherwise wrapped
            self.feed(wrapped)
        elif dataclasses.is_dataclass(thing):
            for field in dataclasses.fields(thing):
                self.say(field.name)
                self.feed(getattr(thing, field.name, None))
        elif getattr(thing, "__dict__", None):
            self.feed(vars(thing))
        else:
            self.say(re.sub(r" at 0x[0-9a-f]+", "", repr(thing)))


def _is_installed(filename: str) -> bool:
    return filename.startswith(_PACKAGES) or bool(_INSTALLED.search(filename))
