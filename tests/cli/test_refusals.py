"""What `fit` refuses because the run would not heed it: each in one line, exit 2."""

import dataclasses
import json
from typing import get_args

import pytest

from jax_inr.cli import main, options, refusals
from jax_inr.config import Config
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


def test_the_sample_has_no_most_pixels(capsys):
    assert "--max-pixels" in refused(capsys, "--max-pixels", 9)


@pytest.mark.parametrize("name", refusals.BELONGS)
def test_a_field_that_would_change_nothing_is_refused(name, capsys):
    """Given alone, or swept, under each choice that does not know it."""
    choice, known = refusals.BELONGS[name]
    fields = {field.name: field for field in dataclasses.fields(Config)}
    assert set(known) < set(get_args(fields[choice].type))
    default = fields[name].default
    numbers = {True: lambda: "gelu", False: lambda: default / 2}
    value = numbers[isinstance(default, str)]()
    value = int(value) if isinstance(default, int) else value
    words = (f"--{name.replace('_', '-')}", value)
    for other in set(get_args(fields[choice].type)) - set(known):
        base = Config().replace(steps=1)
        try:
            config = base.replace(**{choice: other})
        except ValueError:
            continue
        except Exception as error:  # conflicts of other fields, told elsewhere
            assert "--" in str(getattr(error, "hint", "")) or "(" in str(error)
            continue
        given = config.replace(**{name: value})
        with pytest.raises(Exception, match="changes nothing under"):
            refusals.check(options.RunOptions(), given, config)
        if not isinstance(default, str):
            swept = options.RunOptions(sweep=(f"{name}={value}",))
            with pytest.raises(Exception, match="changes nothing under"):
                refusals.check(swept, config, config)
    assert words


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
