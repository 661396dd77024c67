"""The fingerprint of a caller's object: equal for equal objects, in every process.

Its type, its fields, its arrays, what a function closes over, and the code of functions
and classes that no installed package holds, with the names of their module that the
code uses. Addresses, modules, lines and names of files do not count.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import os
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

DIGITS = 12
_FOLDERS = (os.path.dirname(__file__), sysconfig.get_path("stdlib"))
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]|^<frozen ")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def fingerprint(thing: Any, *, with_code: bool = True) -> str:
    """Twelve digits that tell an object from others.

    with_code: whether the code of the caller's own functions and classes counts. Other
    versions of Python compile it otherwise.
    """
    walk = _Walk(with_code)
    walk.feed(thing)
    return walk.digest.hexdigest()[:DIGITS]


class Held:
    """Stands for a caller's object as a static argument of a program.

    Equal where the objects are equal by JAX's rule, as hashable things, and what they
    hold is still the same; objects without a hash are equal where their fingerprints
    are.
    """

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        try:
            hash(thing)
            self.key = fingerprint(thing), thing
        except TypeError:
            self.key = fingerprint(thing), None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key[0])

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.thing(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["thing"], name)


def held(thing: Any) -> Any:
    """An object to key a program by; None and functions of ours are as they are."""
    if isinstance(thing, Held) or thing is None:
        return thing
    inner = inspect.unwrap(thing) if callable(thing) else None
    if inspect.isfunction(inner) and not inner.__closure__:
        return thing if _is_installed(inner.__code__.co_filename) else Held(thing)
    return Held(thing)


class _Walk:
    def __init__(self, with_code: bool) -> None:
        self.with_code, self.digest = with_code, hashlib.sha256()
        # The things are kept, so that no id is used again.
        self.seen: dict[int, tuple[int, Any]] = {}

    def say(self, *words: object) -> None:
        self.digest.update("\0".join(map(str, words)).encode() + b"\1")

    def feed(self, thing: Any) -> None:
        """Add an object and all that it holds."""
        if isinstance(thing, Held):
            thing = thing.thing
        if isinstance(thing, _PLAIN):
            self.say(type(thing).__name__, repr(thing))
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
            self.say("builtin", thing.__qualname__)
            self.feed(thing.__self__)
        elif isinstance(thing, functools.partial):
            self.feed(["partial", thing.func, thing.args, thing.keywords])
        elif isinstance(thing, np.ndarray | np.generic | jax.Array):
            self._array(thing)
        elif isinstance(thing, jax.ShapeDtypeStruct):
            self.say("shape", thing.dtype, thing.shape)
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
        self.digest.update(np.asarray(array).tobytes())

    def _function(self, function: Any) -> None:
        code = function.__code__
        is_installed = _is_installed(code.co_filename)
        self.say("function", function.__module__ if is_installed else "")
        self.say(function.__qualname__)
        self.feed([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.feed(cell.cell_contents)
            except ValueError:
                self.say("empty")
        # The versions of installed packages are recorded beside.
        if self.with_code and not is_installed:
            self._code(code, function.__globals__, function.__doc__)

    def _code(
        self, code: types.CodeType, names: dict[str, Any], doc: str | None = None
    ) -> None:
        self.say("code", code.co_code.hex(), code.co_names, code.co_varnames)
        for index, constant in enumerate(code.co_consts):
            if isinstance(constant, types.CodeType):
                self._code(constant, names)
            elif index or constant != doc:
                self.feed(constant)
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                self._named(names.get(instruction.argval), code.co_names)

    def _named(self, thing: Any, attributes: Iterable[str]) -> None:
        """What a name of the code's module stands for."""
        if isinstance(thing, types.ModuleType):
            if not _is_installed(getattr(thing, "__file__", None) or ""):
                self.feed([vars(thing).get(name) for name in attributes])
        elif _is_of_others(thing):  # as a logger, which holds the whole process
            self.say(type(thing).__qualname__, _shown(thing))
        else:
            self.feed(thing)

    def _class(self, kind: type) -> None:
        is_installed = _is_installed_class(kind)
        self.say("class", kind.__module__ if is_installed else "", kind.__qualname__)
        if not self.with_code:
            return
        self.feed([base for base in kind.__bases__ if not _is_installed_class(base)])
        if is_installed:
            return
        for name, member in sorted(vars(kind).items()):
            # "func" is that of cached properties, "method" Equinox's.
            for held_by in ("__func__", "fget", "func", "method"):
                member = getattr(member, held_by, member)
            member = inspect.unwrap(member) if callable(member) else member
            is_hidden = name.startswith("__") or _is_of_others(member)
            if inspect.isfunction(member) or not is_hidden:
                self.say(name)
                self.feed(member)

    def _object(self, thing: Any) -> None:
        self.feed(type(thing))
        names = {
            name: value
            for name, value in (getattr(thing, "__dict__", None) or {}).items()
            if not isinstance(
                inspect.getattr_static(type(thing), name, None),
                functools.cached_property,
            )
        }
        if dataclasses.is_dataclass(thing):
            fields = [field.name for field in dataclasses.fields(thing)]
            # Flax keeps where a module is bound beside its fields.
            names = {} if isinstance(thing, nn.Module) else names
            names |= {name: getattr(thing, name, None) for name in fields}
        for kind in type(thing).__mro__:
            slots = vars(kind).get("__slots__", ())
            slots = (slots,) if isinstance(slots, str) else slots
            names |= {name: getattr(thing, name, None) for name in slots}
        self.feed(getattr(thing, "__wrapped__", None))  # jitted, or otherwise
        held_names = [name for name in sorted(names) if not name.startswith("__")]
        for name in held_names:
            self.say(name)
            self.feed(names[name])
        # Python's own repr of an object says its module and address alone.
        if not held_names and type(thing).__repr__ is not object.__repr__:
            self.say(_shown(thing))


def _shown(thing: Any) -> str:
    """What an object shows of itself, but for its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing))


def _is_of_others(thing: Any) -> bool:
    """Whether an object is of an installed class, and no function nor plain data."""
    data = (*_PLAIN, list, tuple, set, frozenset, Mapping, np.ndarray, np.generic)
    is_data = isinstance(thing, (*data, jax.Array)) or dataclasses.is_dataclass(thing)
    return not is_data and not callable(thing) and _is_installed_class(type(thing))


def _is_installed_class(kind: type) -> bool:
    if kind.__module__ in sys.builtin_module_names:
        return True
    # A user's script or notebook; the file of that name may be pytest's.
    if kind.__module__ == "__main__":
        return False
    module = sys.modules.get(kind.__module__)
    return _is_installed(getattr(module, "__file__", None) or "")


def _is_installed(filename: str) -> bool:
    folders = tuple(folder + os.sep for folder in _FOLDERS)
    return filename.startswith(folders) or bool(_INSTALLED.search(filename))
