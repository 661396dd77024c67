"""Fit and FitMany: what their properties say, in one line, and what they raise."""

import types

import numpy as np
import pytest

from jax_inr.config import Config
from jax_inr.results import Fit, FitMany

HEADER = {"config": Config().to_dict(), "height": 4, "width": 5, "channels": 3}


def made(**summary):
    about = {"psnr_db": 31.256, "ssim": None, "steps": 7, "stopped": "steps", **summary}
    tensors = {"params/a": np.zeros((1000, 100), np.float32)}
    return Fit(about, [], tensors, HEADER, None, np.zeros((4, 5, 3), np.float32))


def run(name, fit=None, error=None):
    def kept():
        if fit is None:
            raise error
        return fit

    return types.SimpleNamespace(name=name, fit=fit, error=error, kept=kept)


def test_a_fit_is_told_in_one_short_line():
    assert repr(made()) == "Fit(4x5x3, 31.26 dB, 7 steps, ended by steps)"
    assert repr(made(psnr_db=None)) == "Fit(4x5x3, 7 steps, ended by steps)"


def test_typed_results_are_those_of_the_summary():
    fit = made(seconds={"fit": 1.5})
    assert (fit.psnr_db, fit.ssim, fit.steps, fit.stopped) == (31.256, None, 7, "steps")
    assert fit.seconds == {"fit": 1.5}


def test_a_notebook_shows_the_image():
    import io

    from PIL import Image

    with Image.open(io.BytesIO(made()._repr_png_())) as shown:
        assert (shown.format, shown.size) == ("PNG", (5, 4))


def test_many_are_a_sequence_whose_failures_are_raised_where_they_are_asked_for():
    good, partial, error = made(), made(), ZeroDivisionError("a bug")
    fits = FitMany(
        [run("a", good), run("b", None, error), run("c", partial, OSError("disk"))]
    )
    assert len(fits) == 3 and fits.names == ["a", "b", "c"]
    assert fits[0] is good and fits[-1] is partial and fits[:1] == [good]
    with pytest.raises(ZeroDivisionError):
        fits[1]
    with pytest.raises(IndexError):
        fits[3]
    assert {*fits.failures} == {"b", "c"} and fits.failures["b"] is error
    assert fits.done == {"a": good}
    assert repr(fits) == "FitMany(3 fits, 2 failures)"
