"""Compiled programs as files, found by what they are made of, without being traced.

JAX's own cache is asked for the lowered program, and tracing and lowering take half of
a short command's time. Here the name of a file is a fingerprint of all that decides
the program: the function's static arguments, shapes, the package's source, versions,
settings, devices. Whatever goes wrong, the program is compiled as if there were none.

A file holds machine code, in the form of `jax.experimental.serialize_executable`, which
is a pickle. Whoever can write into the folder can thus run code in this process, by the
machine code alone: `cli.programs` takes no folder that others can write to.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jax_inr.fingerprint import fingerprint
from jax_inr.machine import allowed_cores
from jax_inr.tensors import structure

# The variable that says where; without it, as in a library, nothing is kept.
FOLDER = "JAX_INR_PROGRAMS"
# Programs that run once compile in half the time, with the same results.
QUICK_COMPILE: Any = {"xla_backend_optimization_level": 0}

_HIT = "/jax/compilation_cache/cache_hits"
_DIGEST_BYTES = 32


class Kept:
    """A function like `jax.jit`'s, whose programs are kept as files.

    Calls give the same numbers either way. static: positions of the arguments that are
    compiled in; they are hashable.
    """

    def __init__(
        self, function: Callable[..., Any], static: Sequence[int] = (), **options: Any
    ) -> None:
        self.__doc__ = function.__doc__
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._jitted = jax.jit(function, static_argnums=tuple(static), **options)
        self._static, self._options = frozenset(static), options
        self._programs: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        program, given = self._find(arguments)
        return program(*given)

    def prepare(self, *arguments: Any) -> None:
        """Have the program of these arguments ready, where programs are kept."""
        self._find(arguments)

    def _find(self, arguments: tuple[Any, ...]) -> tuple[Any, Sequence[Any]]:
        """The program for some arguments, and those that it is given."""
        if not os.environ.get(FOLDER):
            return self._jitted, arguments
        fixed = [x for i, x in enumerate(arguments) if i in self._static]
        given = [x for i, x in enumerate(arguments) if i not in self._static]
        leaves, tree = jax.tree.flatten(given)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._jitted, arguments
        key = (*fixed, tree, *map(_described, leaves))
        if key not in self._programs:
            about = [self._name, self._options, fixed]
            self._programs[key] = compiled(self._jitted, about, arguments, given)
        return self._programs[key], given


def compiled(
    jitted: Any, about: Any, arguments: Sequence[Any], given: Sequence[Any]
) -> jax.stages.Compiled:
    """A jitted function's program for some arguments, from its file or for its file.

    Args:
        about: tells the function and its static arguments from all others.
        arguments: arrays, or shapes.
        given: those of them that are not static.
    """
    folder, path = os.environ.get(FOLDER), None
    if not folder:
        return jitted.lower(*arguments).compile()
    with contextlib.suppress(Exception):
        path = _path(Path(folder), about, given)
        if path is not None and path.exists():
            return _load(path, given)
    with _unseen_by_jax() as was_loaded:
        program = jitted.lower(*arguments).compile()
    # What XLA has loaded itself cannot be saved again: the copy lacks functions.
    if path is not None and not was_loaded:
        with contextlib.suppress(Exception):
            _save(path, program)
    return program


def _path(folder: Path, about: Any, given: Sequence[Any]) -> Path | None:
    """The file of a program; None for what is not kept."""
    leaves = jax.tree.leaves(given)
    (device,) = _devices(leaves)
    if device.platform != "cpu":
        return None
    # Of this thread, as `float32` sets them.
    from jax._src.config import trace_context

    context = [repr(x) for x in trace_context()]
    made_of = [
        fingerprint([about, structure(given)]),
        *map(_described, leaves),
        [shown for shown in context if " at 0x" not in shown],
        _surroundings(device),
    ]
    digest = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()
    return folder / f"jax_inr-{digest[:32]}"


def _devices(leaves: Sequence[Any]) -> set[Any]:
    placed = [getattr(leaf, "sharding", None) for leaf in leaves]
    found = {device for at in placed if at is not None for device in at.device_set}
    return found or {jax.devices()[0]}


def _described(leaf: Any) -> tuple[Any, ...]:
    """What a compiled program depends on in an argument."""
    aval = jax.typeof(leaf)
    is_weak = getattr(aval, "weak_type", False)
    at = getattr(leaf, "sharding", None)
    return aval.shape, str(aval.dtype), is_weak, str(at), _is_committed(leaf)


def _is_committed(leaf: Any) -> bool:
    # A shape that names a device has its arrays there.
    default = getattr(leaf, "sharding", None) is not None
    return bool(getattr(leaf, "committed", default))


@functools.cache
def _surroundings(device: Any) -> str:
    """All that a program depends on beside its function and arguments."""
    import flax
    import optax

    modules = jax, jax.lib, np, flax, optax
    settings = {
        name: value for name, value in jax.config.values.items() if "cache" not in name
    }
    return "\n".join(
        [
            sys.version,
            *(getattr(module, "__version__", "") for module in modules),
            device.client.platform_version,
            str(jax.devices()),
            str(device),
            str(allowed_cores()),
            os.environ.get("XLA_FLAGS", ""),
            repr(sorted(settings.items())),
            source_digest(Path(__file__).parent),
        ]
    )


def source_digest(package: Path) -> str:
    """A hash of a package's source; raises FileNotFoundError where there is none."""
    digest = hashlib.sha256()
    paths = sorted(package.rglob("*.py"))
    if not paths:
        raise FileNotFoundError(package)
    for path in paths:
        source = path.read_bytes()
        digest.update(f"{path.relative_to(package)}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()


def _load(path: Path, given: Sequence[Any]) -> jax.stages.Compiled:
    from jax.experimental.serialize_executable import deserialize_and_load

    data = path.read_bytes()
    # XLA may end the process over damaged machine code.
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        raise ValueError(f"{path} is damaged")
    devices = list(_devices(jax.tree.leaves(given)))
    content = pickle.loads(data[_DIGEST_BYTES:])
    program = deserialize_and_load(*content, execution_devices=devices)
    os.utime(path)  # those used longest ago go first
    return program


def _save(path: Path, program: jax.stages.Compiled) -> None:
    from jax.experimental.serialize_executable import serialize

    content = pickle.dumps(serialize(program))
    # Whole or absent for whoever reads at the same time.
    temp = path.with_name(f"{path.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        temp.write_bytes(hashlib.sha256(content).digest() + content)
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


@contextlib.contextmanager
def _unseen_by_jax() -> Iterator[list[str]]:
    """Keeps what this thread compiles out of JAX's own cache.

    Gives a list, which is not empty where the program came from there all the same.
    """
    loaded: list[str] = []
    thread = threading.get_ident()

    def listen(event: str, **_: Any) -> None:
        if event == _HIT and threading.get_ident() == thread:
            loaded.append(event)

    with contextlib.ExitStack() as stack:
        jax.monitoring.register_event_listener(listen)
        stack.callback(jax.monitoring.unregister_event_listener, listen)
        # Of a thread; the public setting is the process's.
        with contextlib.suppress(ImportError):
            from jax._src.config import persistent_cache_min_compile_time_secs

            stack.enter_context(persistent_cache_min_compile_time_secs(1e9))
        yield loaded
