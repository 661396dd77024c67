"""What `fit` refuses because the run would not heed it: each in one line, exit 2."""

import dataclasses
import json
from typing import get_args

import pytest

from jax_inr.cli import main, options, refusals
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import preset


def refused(capsys, *words) -> str:
    assert main.main(["fit", *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("several", [("--sweep", "seed=0,1"), ("a.png", "b.png")])
def test_the_reference_takes_one_fit_at_a_time(several, capsys):
    line = refused(capsys, *several, "--backend", "torch")
    assert "--backend torch goes with one fit at a time" in line


@pytest.mark.parametrize(
    "words",
    [
        ("cat.png",),
        ("--sweep", "seed=0,1"),
        ("--size", 8),
        ("--out", "b"),
        ("--overwrite",),
        ("--max-pixels", 9),
        ("--preset", "fast"),
        ("--sigma", 3),
    ],
)
def test_what_a_resumed_run_has_of_its_own(words, tmp_path, capsys):
    config = preset("default")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    line = refused(capsys, "--resume", tmp_path, *words)
    assert "cannot" in line
    assert any(
        str(word).strip("-").replace("-", "_") in line for word in words[:1]
    ) or ("image" in line)


def test_numbers_out_of_their_range_are_told_with_it(capsys):
    line = refused(
        capsys, "--steps", 0, "--checkpoint-seconds", -1, "--max-memory", 0, "cat.png",
        "--max-pixels", 0,
    )  # fmt: skip
    for told in (
        "steps is 0; it must lie in 1 to 1e+09",
        "checkpoint_seconds is -1.0; it must lie in 0 to 1e+09",
        "max_pixels is 0; it must lie in 1 to 1e+09",
        "max_memory is 0.0; it must lie in 0.001 to 1e+06",
    ):
        assert told in line


def test_the_sample_has_no_most_pixels(capsys):
    assert "--max-pixels" in refused(capsys, "--max-pixels", 9)


ALONE = {"cnn": {"encoding": "none"}}  # what a choice goes with


@pytest.mark.parametrize("name", refusals.BELONGS)
def test_a_field_that_would_change_nothing_is_refused(name):
    """Given alone, or swept, under each choice that does not know it."""
    choice, known = refusals.BELONGS[name]
    fields = {field.name: field for field in dataclasses.fields(Config)}
    choices = get_args(fields[choice].type)
    assert set(known) < set(choices)
    default = fields[name].default
    value = "gelu" if default == "relu" else type(default)(float(str(default)) / 2)
    tried = 0
    for other in set(choices) - set(known):
        try:
            config = Config(**ALONE.get(other, {}), **{choice: other})
            given = config.replace(**{name: value})
        except ConfigError:  # refused by the config itself
            continue
        tried += 1
        with pytest.raises(ConfigError, match="changes nothing under"):
            refusals.check(options.RunOptions(), given, config)
        swept = options.RunOptions(sweep=(f"{name}={value}",))
        with pytest.raises(ConfigError, match="changes nothing under"):
            refusals.check(swept, config, config)
    assert tried


def test_what_is_refused_is_said_with_the_way_out(capsys):
    line = refused(capsys, "--octaves", 3, "--omega-0", 5)
    assert "--octaves changes nothing under --encoding gaussian" in line
    assert "use --encoding positional" in line
    assert "--omega-0 changes nothing under --network mlp" in line


def test_a_presets_own_fields_are_no_options_that_were_given():
    """A preset for one encoding keeps its numbers for the other ones."""
    for words in (["--encoding", "basic"], ["--network", "siren"]):
        parsed = options.parse_fit(["--preset", "fourier", *words])
        refusals.check(*parsed)
