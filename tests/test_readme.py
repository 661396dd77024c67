"""What the README promises: its Python example runs, its options and files exist."""

import re
import shlex

import pytest
from conftest import ROOT

from jax_inr.cli import options
from jax_inr.presets import PRESETS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "dB after 300 steps" in printed and "(2, 3, 2)" in printed
    assert names["large"].shape == (256, 256, 3)
    assert (names["again"].render() == names["field"].render()).all()


def test_the_two_commands_are_printed_as_the_project_promises():
    assert "\npip install -e . && python scripts/fit.py --backend jax\n" in README
    assert '\npip install -e ".[test]" && python -m pytest\n' in README


def test_every_option_in_a_command_exists():
    commands = re.findall(r"^python scripts/fit\.py ([^#\n]*)", README, re.M)
    assert len(commands) >= 2
    for command in commands:
        words = [w for w in shlex.split(command) if not w.startswith("--resume")]
        if "runs/cat" in words and "--out" not in words:
            continue  # resumes a run that is not there
        options.parse_fit(words)


def test_every_preset_has_a_row():
    for name in PRESETS:
        assert f"| `{name}` |" in README


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_and_picture_is_there(link):
    assert (ROOT / link).exists()
