"""Fingerprints: equal for equal objects in every process, other for all that counts."""

import subprocess
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_inr.fingerprint import fingerprint

SOURCE = '''
import dataclasses
import functools

WIDTH = 3
TABLE = (1.0, 2.0)


def double(x):
    return 2 * x


@dataclasses.dataclass(frozen=True)
class Wave:
    """A class as a user writes it."""

    rate: float = 1.0
    depth = 2

    def apply(self, x):
        return double(x) * self.rate + WIDTH + TABLE[0]

    @property
    def size(self):
        return 5

    @staticmethod
    def start(key):
        return key


def outer(scale):
    def inner(x, power=2):
        return [scale * y for y in (x**power, double(x))]

    return inner


made = [Wave(), outer(3.0), functools.partial(double, x=1), lambda x: x + WIDTH]
'''


def module_of(source: str = SOURCE) -> dict[str, Any]:
    """What a module of the source holds, under the name that every one has."""
    names: dict[str, Any] = {"__name__": "of_a_user"}
    exec(compile(source, "/tmp/of_a_user.py", "exec"), names)
    return names


def test_the_same_source_gives_the_same_digits_wherever_it_stands():
    first = module_of()["made"]
    moved = module_of("\n\n# Moved.\n" + SOURCE)["made"]
    for one, other in zip(first, moved, strict=True):
        assert one is not other and fingerprint(one) == fingerprint(other)
    assert len({fingerprint(each) for each in first}) == len(first)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("WIDTH = 3", "WIDTH = 4", (True, False, False, True)),
        ("TABLE = (1.0", "TABLE = (1.5", (True, False, False, False)),
        ("return 2 * x", "return x * 2", (True, True, True, False)),
        ("rate: float = 1.0", "rate: float = 1.5", (True, False, False, False)),
        ("depth = 2", "depth = 1", (True, False, False, False)),
        ("* self.rate", "/ self.rate", (True, False, False, False)),
        ("return 5", "return 6", (True, False, False, False)),
        ("return key", "return None", (True, False, False, False)),
        ("outer(3.0)", "outer(2.0)", (False, True, False, False)),
        ("power=2", "power=3", (False, True, False, False)),
        ("in (x**power", "in (x - power", (False, True, False, False)),
        ("double, x=1", "double, x=2", (False, False, True, False)),
        ("x + WIDTH", "x - WIDTH", (False, False, False, True)),
        ('"""A class as a user writes it."""', '"""Other words."""', (False,) * 4),
    ],
)
def test_what_counts_changes_the_digits_and_the_rest_does_not(old, new, changed):
    assert SOURCE.count(old) == 1
    pairs = zip(
        module_of()["made"], module_of(SOURCE.replace(old, new))["made"], strict=True
    )
    found = tuple(fingerprint(one) != fingerprint(other) for one, other in pairs)
    assert found == changed


def network(width: int = 8, activation: Any = nn.relu) -> Any:
    return nn.Sequential([nn.Dense(width), activation, nn.Dense(3)])


OBJECTS: dict[str, tuple[Any, Any, Any]] = {
    "optax rate": (lambda: optax.adam(1e-2), lambda: optax.adam(1e-3), True),
    "optax rule": (lambda: optax.adam(1e-2), lambda: optax.lion(1e-2), True),
    "optax schedule": (
        lambda: optax.sgd(optax.cosine_decay_schedule(0.1, 100)),
        lambda: optax.sgd(optax.cosine_decay_schedule(0.1, 200)),
        True,
    ),
    "linen width": (network, lambda: network(9), True),
    "linen activation": (network, lambda: network(activation=nn.tanh), True),
    "array": (lambda: np.arange(3.0), lambda: np.arange(3.0) + 1, False),
    "array shape": (lambda: np.zeros(4), lambda: np.zeros((2, 2)), True),
    "array type": (lambda: np.zeros(4, "f4"), lambda: np.zeros(4, "i4"), True),
    "device array": (lambda: jnp.arange(3), lambda: jnp.arange(3) + 1, False),
    "random key": (lambda: jax.random.key(0), lambda: jax.random.key(1), False),
    "number": (lambda: 1, lambda: 1.0, True),
    "text": (lambda: "a", lambda: b"a", True),
    "order": (lambda: [1, 2], lambda: [2, 1], True),
    "nesting": (lambda: [[1], 2], lambda: [1, [2]], True),
    "key": (lambda: {"a": 1, "b": 2}, lambda: {"b": 1, "a": 2}, True),
    "set": (lambda: {"a", "b"}, lambda: {"a", "c"}, True),
    "jitted": (lambda: jax.jit(jnp.sin), lambda: jax.jit(jnp.cos), True),
    "module": (lambda: np, lambda: jnp, True),
    "bound": (lambda: nn.Dense(3).init, lambda: nn.Dense(4).init, True),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_objects_digits_are_its_own(name):
    first, other, is_structure = OBJECTS[name]
    assert fingerprint(first()) == fingerprint(first()) != fingerprint(other())
    # The start of a network is no part of what the network is.
    structures = [fingerprint(make(), is_exact=False) for make in (first, first, other)]
    assert structures[0] == structures[1]
    assert (structures[0] != structures[2]) == is_structure


def test_code_is_no_part_of_the_structure():
    other = module_of(SOURCE.replace("* self.rate", "/ self.rate"))
    for one, two in zip(module_of()["made"], other["made"], strict=True):
        assert fingerprint(one, is_exact=False) == fingerprint(two, is_exact=False)


def test_equinox_modules_are_told_apart():
    eqx = pytest.importorskip("equinox")

    def made(seed: int = 0, width: int = 4, activation: Any = jax.nn.relu) -> Any:
        return eqx.nn.MLP(2, 3, width, 1, activation, key=jax.random.key(seed))

    whole = [fingerprint(each) for each in (made(), made(), made(1), made(0, 5))]
    assert whole[0] == whole[1] and len(set(whole)) == 3
    shapes = [
        fingerprint(each, is_exact=False)
        for each in (made(), made(1), made(0, 5), made(activation=jax.nn.tanh))
    ]
    assert shapes[0] == shapes[1] and len(set(shapes)) == 3


def test_what_holds_itself_has_digits():
    loop: list[Any] = [1]
    loop.append(loop)
    twin: list[Any] = [1]
    twin.append(twin)
    assert fingerprint(loop) == fingerprint(twin) != fingerprint([1, [1]])


def test_an_object_without_fields_has_no_address_in_its_digits():
    assert fingerprint(object()) == fingerprint(object())


def test_another_process_finds_the_same_digits():
    program = f"""
from jax_inr.fingerprint import fingerprint
import optax, flax.linen as nn
names = {{"__name__": "of_a_user"}}
exec(compile({SOURCE!r}, "/elsewhere.py", "exec"), names)
things = [*names["made"], optax.adam(1e-2), nn.Dense(3), {{"a", "b", "c"}}]
print([fingerprint(each) for each in things])
"""
    things = [*module_of()["made"], optax.adam(1e-2), nn.Dense(3), {"a", "b", "c"}]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    )
    assert ended.stdout.strip() == str([fingerprint(each) for each in things])
