"""A package that is missing is named with what needs it and what installs it."""

import json

import pytest

from jax_inr import extras
from jax_inr.errors import ConfigError


def test_a_module_is_imported_or_the_extra_that_has_it_is_named():
    assert extras.load("json", "a file needs json", "files") is json
    with pytest.raises(ConfigError, match="a file needs it, which is not") as caught:
        extras.load("no_such_module", "a file needs it", "files")
    assert caught.value.hint == 'pip install -e ".[files]"'
