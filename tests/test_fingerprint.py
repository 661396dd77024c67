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
from conftest import ROOT

from jax_inr.fingerprint import Held, fingerprint, held

SOURCE = '''
import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

WIDTH = 3
TABLE = (1.0, 2.0)
SETTINGS = {"a": [1, 2]}
ACT = nn.relu
mean = 3


@jax.jit
def squash(x):
    return jnp.tanh(x)


@jax.custom_jvp
def odd(x):
    return x**3


@odd.defjvp
def odd_jvp(primals, tangents):
    return primals[0], tangents[0]


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return ACT(nn.Dense(3)(x))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return squash(Block()(x))


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate


class Cached:
    rates = [1.0, 2.0]

    @functools.cached_property
    def size(self):
        return 7

    def __call__(self, x):
        return odd(x).mean() + len(SETTINGS["a"])


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
others = [Net(), Slotted(2.0), Cached(), nn.remat(Block)(), jnp.arange(3.0).dot]
'''


def module_of(
    source: str = SOURCE, path: str = "/tmp/of_a_user.py", name: str = "of_a_user"
) -> dict[str, Any]:
    """What a module of the source holds."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(source, path, "exec"), names)
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


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("ACT = nn.relu", "ACT = nn.tanh", "YNNYN"),
        ("nn.Dense(3)", "nn.Dense(4)", "YNNYN"),
        ("jnp.tanh(x)", "jnp.sin(x)", "YNNNN"),
        ("x**3", "x**5", "NNYNN"),
        ("return primals[0]", "return primals[0] + 0", "NNYNN"),
        ("Slotted(2.0)", "Slotted(3.0)", "NYNNN"),
        ("rates = [1.0", "rates = [1.5", "NNYNN"),
        ("return 7", "return 8", "NNYNN"),
        ('{"a": [1, 2]}', '{"a": [1, 3]}', "NNYNN"),
        ("jnp.arange(3.0).dot", "jnp.arange(4.0).dot", "NNNNY"),
        # An attribute of that name is no name of the module.
        ("mean = 3", "mean = 4", "NNNNN"),
    ],
)
def test_what_the_code_names_counts(old, new, changed):
    assert SOURCE.count(old) == 1
    first = module_of()["others"]
    second = module_of(SOURCE.replace(old, new))["others"]
    found = [
        fingerprint(a) != fingerprint(b) for a, b in zip(first, second, strict=True)
    ]
    assert "".join("NY"[is_other] for is_other in found) == changed


def test_the_modules_name_does_not_count():
    for name in ("__main__", "train"):
        other = module_of(name=name)
        for group in ("made", "others"):
            for one, two in zip(module_of()[group], other[group], strict=True):
                assert fingerprint(one) == fingerprint(two)
                assert fingerprint(one, with_code=False) == fingerprint(
                    two, with_code=False
                )


def test_what_is_cached_by_use_does_not_count():
    cached = module_of()["others"][2]
    before = fingerprint(cached)
    assert cached.size == 7 and fingerprint(cached) == before


def test_a_package_beside_ours_is_not_ours():
    source = SOURCE.replace("x + WIDTH", "WIDTH + x")
    places = [str(ROOT / name / "own.py") for name in ("jax_inr", "jax_inr_mine")]
    digits = [
        [fingerprint(module_of(text, place)["made"][3]) for text in (SOURCE, source)]
        for place in places
    ]
    assert digits[0][0] == digits[0][1] and digits[1][0] != digits[1][1]


def network(width: int = 8, activation: Any = nn.relu) -> Any:
    return nn.Sequential([nn.Dense(width), activation, nn.Dense(3)])


OBJECTS: dict[str, tuple[Any, Any]] = {
    "optax rate": (lambda: optax.adam(1e-2), lambda: optax.adam(1e-3)),
    "optax rule": (lambda: optax.adam(1e-2), lambda: optax.lion(1e-2)),
    "optax schedule": (
        lambda: optax.sgd(optax.cosine_decay_schedule(0.1, 100)),
        lambda: optax.sgd(optax.cosine_decay_schedule(0.1, 200)),
    ),
    "linen width": (network, lambda: network(9)),
    "linen activation": (network, lambda: network(activation=nn.tanh)),
    "array": (lambda: np.arange(3.0), lambda: np.arange(3.0) + 1),
    "array shape": (lambda: np.zeros(4), lambda: np.zeros((2, 2))),
    "array type": (lambda: np.zeros(4, "f4"), lambda: np.zeros(4, "i4")),
    "device array": (lambda: jnp.arange(3), lambda: jnp.arange(3) + 1),
    "random key": (lambda: jax.random.key(0), lambda: jax.random.key(1)),
    "number": (lambda: 1, lambda: 1.0),
    "text": (lambda: "a", lambda: b"a"),
    "order": (lambda: [1, 2], lambda: [2, 1]),
    "nesting": (lambda: [[1], 2], lambda: [1, [2]]),
    "key": (lambda: {"a": 1, "b": 2}, lambda: {"b": 1, "a": 2}),
    "set": (lambda: {"a", "b"}, lambda: {"a", "c"}),
    "jitted": (lambda: jax.jit(jnp.sin), lambda: jax.jit(jnp.cos)),
    "module": (lambda: np, lambda: jnp),
    "bound": (lambda: nn.Dense(3).init, lambda: nn.Dense(4).init),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_objects_digits_are_its_own(name):
    first, other = OBJECTS[name]
    for with_code in (True, False):
        digits = [
            fingerprint(make(), with_code=with_code) for make in (first, first, other)
        ]
        assert digits[0] == digits[1] != digits[2]


def test_code_is_no_part_of_the_structure():
    other = module_of(SOURCE.replace("* self.rate", "/ self.rate"))
    for one, two in zip(module_of()["made"], other["made"], strict=True):
        assert fingerprint(one, with_code=False) == fingerprint(two, with_code=False)


def test_equinox_modules_are_told_apart():
    eqx = pytest.importorskip("equinox")

    def made(seed: int = 0, width: int = 4, activation: Any = jax.nn.relu) -> Any:
        return eqx.nn.MLP(2, 3, width, 1, activation, key=jax.random.key(seed))

    whole = [fingerprint(each) for each in (made(), made(), made(1), made(0, 5))]
    assert whole[0] == whole[1] and len(set(whole)) == 3


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


# What keys a program


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, a, b):
        return self.factor * (a - b) ** 2


def test_what_is_held_is_equal_by_jaxs_rule_while_it_stays_the_same():
    loss = Scaled(1.0)
    before = Held(loss)
    assert before == Held(loss) and hash(before) == hash(Held(loss))
    # Another object may differ in what no fingerprint sees.
    assert before != Held(Scaled(1.0))
    loss.factor = 2.0
    assert before != Held(loss)
    assert before(3.0, 1.0) == 8.0 and before.factor == 2.0


def test_what_has_no_hash_is_equal_where_it_holds_the_same():
    assert Held([1, 2]) == Held([1, 2]) != Held([1, 3])
    assert hash(Held([1, 2])) == hash(Held([1, 2]))


def test_our_own_functions_are_not_held():
    from jax_inr.tasks import squared

    assert held(squared) is squared and held(None) is None
    assert held(held(Scaled)) == held(Scaled)
