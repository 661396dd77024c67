"""The options of `fit`: one line for what is wrong, presets as defaults, groups."""

import dataclasses
import json
import re

import pytest

from jax_inr.cli import main, options, parsing
from jax_inr.config import Config
from jax_inr.errors import ConfigError
from jax_inr.presets import PRESETS, preset

BAD_OPTIONS = [
    (("--steps", "-1"), "steps"),
    (("--steps", "0"), "steps"),
    (("--steps", "nan"), "--steps"),
    (("--steps", "1000000000000000000"), "steps"),
    (("--size", "0"), "size"),
    (("--size", "-3"), "size"),
    (("--size", "nan"), "size"),
    (("--size", "12x"), "size"),
    (("--size", "1000000000"), "size"),
    (("--learning-rate", "nan"), "learning_rate"),
    (("--learning-rate", "-1"), "learning_rate"),
    (("--learning-rate", "0"), "learning_rate"),
    (("--learning-rate", "1e30"), "learning_rate"),
    (("--sigma", "inf"), "sigma"),
    (("--batch-size", "0"), "batch_size"),
    (("--batch-size", "1000", "--size", "10"), "batch_size"),
    (("--hidden-features", "0"), "hidden_features"),
    (("--momentum", "1"), "momentum"),
    (("--preset", "optimised"), "did you mean optimized"),
    (("--preset",), "--preset"),
    (("--optimizer", "sdg"), "adamw"),
    (("--lerning-rate", "1"), "did you mean --learning-rate"),
    (("--device", "tpu"), "tpu"),
    (("--backend", "numpy"), "numpy"),
    (("--preset", "cnn", "--batch-size", "9"), "whole grid"),
    (("--config", "nope.json"), "nope.json"),
    (("--target-psnr", "-1"), "target_psnr"),
    (("--max-seconds", "nan"), "max_seconds"),
    (("--checkpoint-seconds", "nan"), "checkpoint_seconds"),
    (("--max-pixels", "0"), "max_pixels"),
]


@pytest.mark.parametrize("color", [None, "1"])
@pytest.mark.parametrize(("words", "named"), BAD_OPTIONS)
def test_a_bad_option_is_one_line_that_names_it(
    words, named, color, tmp_path, monkeypatch, capsys
):
    """In this process, for speed: parsing does not differ; three cases are real."""
    monkeypatch.chdir(tmp_path)
    if color:
        monkeypatch.setenv("FORCE_COLOR", color)
    assert main.main(["fit", *words, "--out", "run"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert named in printed.err and "\x1b" not in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("--steps", "-1", "--sigma", "nan", "--seed", "-2"),
            ("steps", "sigma", "seed"),
        ),
        (
            ("--optimizer", "lbfgs", "--network", "siren", "--init", "glorot"),
            ("batch_size is 1024", "first weights of its own"),
        ),
        (
            ("--max-pixels", "0", "--max-memory", "0", "--checkpoint-seconds", "nan"),
            ("max_pixels", "max_memory", "checkpoint_seconds"),
        ),
    ],
)
def test_all_that_is_wrong_is_told_at_once(words, named, capsys):
    assert main.main(["fit", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in named), line


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_through_its_options_unchanged(name):
    parsed, config, base = options.parse_fit(["--preset", name])
    assert config == base == preset(name) and parsed.preset == name
    assert name in Config.__dataclass_fields__["preset"].metadata["doc"]


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda f: f.name)
def test_every_field_of_the_config_is_an_option_under_its_name(field, capsys):
    assert main.main(["fit", "--help"]) == 0
    assert f"--{field.name.replace('_', '-')} " in capsys.readouterr().out


def test_a_config_and_a_run_give_the_defaults_of_the_others(tmp_path):
    config = preset("fast").replace(sigma=3.5, seed=7)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    for words in (["--config", f"{tmp_path}/config.json"], ["--resume", str(tmp_path)]):
        assert options.parse_fit(words)[1:] == (config, config)
        changed = options.parse_fit([*words, "--steps", "9"])
        assert changed[1:] == (config.replace(steps=9), config)


def test_the_help_is_grouped_as_the_config_is(capsys):
    assert main.main(["fit", "--help"]) == 0
    titles = r"(?m)^(?:╭─)? (\w+) options[ ─╮]*$"
    _, *parts = re.split(titles, capsys.readouterr().out)
    groups = dict(zip(parts[::2], parts[1::2], strict=True))
    for name, fields in options.sections().items():
        assert name, "the first field of the config after preset begins a section"
        for field in fields:
            assert f"--{field.name.replace('_', '-')} " in groups[name]
    assert [*groups] == [*options.sections()]
    assert len(options.sections()) == 6


@pytest.mark.parametrize(
    ("text", "size"), [("224", 224), ("240x320", (240, 320)), ("1X2", (1, 2))]
)
def test_sizes(text, size):
    assert parsing.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x2x3", "²", "1.5", " 3", "0x1"])
def test_bad_sizes(text):
    with pytest.raises(ConfigError, match="size"):
        parsing.parse_size(text)
