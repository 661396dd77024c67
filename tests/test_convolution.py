"""conv3x3 against XLA's convolution and scipy's, and the programs it becomes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax import export, lax

from jax_inr.convolution import conv3x3

# Channels that take each form on a CPU: few in, few out, many (and uneven) both ways.
FORMS = [(1, 1), (2, 19), (19, 3), (16, 17)]

# One pixel, thin, even and odd.
SIZES = [(1, 1), (1, 2), (3, 1), (5, 8)]

# Many channels work on tiles of 2x2 pixels in strips of about 1000: whole tiles, two
# strips with a row of tiles to spare, and strips of a single row.
TILED = [(4, 4), (70, 71), (5, 2100)]

CASES = [(size, features) for features in FORMS for size in SIZES]
CASES += [(size, FORMS[-1]) for size in TILED]


@pytest.fixture(autouse=True)
def on_cpu():
    """The forms under test are the CPU's, whatever other device there is."""
    with jax.default_device(jax.devices("cpu")[0]):
        yield


def draw(height, width, features_in, features_out, leading=()):
    """A random image, kernel, bias and cotangent."""
    rng = np.random.default_rng(height + 10 * width + 100 * features_in)
    shapes = [
        (height, width, features_in),
        (3, 3, features_in, features_out),
        (features_out,),
        (height, width, features_out),
    ]
    return [
        jnp.asarray(rng.standard_normal((*leading, *shape), np.float32))
        for shape in shapes
    ]


def reference(image, kernel, bias):
    layout = ("NHWC", "HWIO", "NHWC")
    return bias + lax.conv_general_dilated(
        image[None],
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=layout,
        precision="highest",
    ).squeeze(0)


def value_and_gradients(convolve, image, kernel, bias, cotangent):
    value, pull_back = jax.vjp(convolve, image, kernel, bias)
    return value, *pull_back(cotangent)


compiled = jax.jit(value_and_gradients, static_argnums=0)


def assert_equal_but_for_rounding(got, want, bound):
    """Equal within 8 float32 roundings of the largest sum of absolute terms.

    Both sides round every sum once a term, in another order: the errors are random and
    largely cancel, so 8 is ample (2 is the most seen) and one wrong term of thousands
    stands out.
    """
    assert got.shape == want.shape
    atol = 8 * np.finfo(np.float32).eps * np.max(bound)
    np.testing.assert_allclose(got, want, rtol=0, atol=atol)


@pytest.mark.slow_cases("size14-features14", "size17-features17", "size18-features18")
@pytest.mark.parametrize(("size", "features"), CASES)
def test_value_and_gradients_are_those_of_xla(size, features):
    arrays = draw(*size, *features)
    got = compiled(conv3x3, *arrays)
    want = compiled(reference, *arrays)
    bound = compiled(reference, *map(jnp.abs, arrays))
    for triple in zip(got, want, bound, strict=True):
        assert_equal_but_for_rounding(*triple)


@pytest.mark.parametrize("features", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_value_is_the_direct_sum_in_float64(size, features):
    image, kernel, bias, _ = draw(*size, *features)

    def direct(image, kernel, bias):
        image, kernel, bias = (np.asarray(a, np.float64) for a in (image, kernel, bias))
        value = np.zeros((*size, features[1])) + bias
        for k, o in np.ndindex(features):
            value[..., o] += scipy.signal.correlate2d(
                image[..., k], kernel[..., k, o], mode="same"
            )
        return value

    bound = direct(abs(image), abs(kernel), abs(bias))
    got = conv3x3(image, kernel, bias)
    assert got.dtype == jnp.float32
    assert_equal_but_for_rounding(got, direct(image, kernel, bias), bound)


@pytest.mark.slow_cases("in_axes0-features3", "in_axes1-features3")
@pytest.mark.parametrize("features", FORMS)
@pytest.mark.parametrize("in_axes", [(0, 0, 0, 0), (0, None, None, 0)])
def test_vmap_is_a_loop(features, in_axes):
    arrays = draw(7, 6, *features, leading=(3,))
    arrays = [a if axis == 0 else a[0] for a, axis in zip(arrays, in_axes, strict=True)]

    def one(*arrays):
        return value_and_gradients(conv3x3, *arrays)

    got = jax.jit(jax.vmap(one, in_axes))(*arrays)
    for i in range(3):
        single = [a[i] if ax == 0 else a for a, ax in zip(arrays, in_axes, strict=True)]
        want = compiled(reference, *single)
        bound = compiled(reference, *map(jnp.abs, single))
        for value, *rest in zip(got, want, bound, strict=True):
            assert_equal_but_for_rounding(value[i], *rest)


def lowered(platform, features, precision):
    """The program for value and gradients on a platform that need not be present."""

    def run(*arrays):
        def convolve(image, kernel, bias):
            return conv3x3(image, kernel, bias, precision=precision)

        return value_and_gradients(convolve, *arrays)

    arrays = draw(5, 8, *features)
    text = export.export(jax.jit(run), platforms=[platform])(*arrays).mlir_module()
    return [line for line in text.splitlines() if "stablehlo." in line]


@pytest.mark.parametrize("features", FORMS)
@pytest.mark.parametrize(
    ("platform", "used", "unused"),
    [("cpu", "dot_general", "convolution"), ("cuda", "convolution", "dot_general")],
)
def test_each_platform_gets_its_form_in_the_precision_asked_for(
    platform, used, unused, features
):
    for precision, name in [("highest", "HIGHEST"), (lax.Precision.HIGH, "HIGH")]:
        lines = lowered(platform, features, precision)
        products = [line for line in lines if f"stablehlo.{used}" in line]
        # One for the value and one for each gradient, at least.
        assert len(products) >= 3
        for line in products:
            assert re.findall(r"\b(?:DEFAULT|HIGH|HIGHEST)\b", line) == [name, name]
        assert not [line for line in lines if f"stablehlo.{unused}" in line]


@pytest.mark.parametrize("features", FORMS)
def test_the_choice_of_form_is_gone_from_the_compiled_program(features):
    arrays = draw(5, 8, *features)
    text = compiled.lower(conv3x3, *arrays).compile().as_text() or ""
    assert " dot(" in text
    assert " conditional(" not in text
    assert " convolution(" not in text
