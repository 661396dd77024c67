"""What the README promises: its Python example runs, its options and files exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from jax_inr.cli import options
from jax_inr.presets import PRESETS

README = (ROOT / "README.md").read_text(encoding="utf-8")


EXAMPLE, OWN = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(EXAMPLE, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "dB after 300 steps" in printed and "(2, 3, 2)" in printed
    assert names["doubt"](names["fits"].stacked).std(axis=0).max() > 0
    assert names["large"].shape == (256, 256, 3)
    assert (names["again"].render() == names["field"].render()).all()


def test_pieces_of_ones_own_are_used_as_the_readme_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "own"}
    exec(compile(OWN, "README.md", "exec"), names)
    fit, field = names["fit"], names["field"]
    assert fit.psnr_db > 15 and "network of one's own" in capsys.readouterr().out
    np.testing.assert_array_equal(field.render(), fit.field.render())
    assert np.isfinite(field.gradient(np.array([[0.3, 0.4]], np.float32))).all()


def recipe(title: str) -> str:
    """A recipe of "How it is made", on one line."""
    (text,) = re.findall(rf"\*\*{title}\*\*(.*?)\n- ", README, re.S)
    return " ".join(text.split())


def test_the_recipe_for_an_encoding_is_all_there_is(tmp_path):
    """Followed to the letter in a copy of the package, by a process of its own."""
    assert "`encodings.from_config`" in recipe("A new encoding")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "jax_inr", copy / "jax_inr")
    changes = {
        "encodings.py": (
            ("def from_config(", NEW_ENCODING + "\n\ndef from_config("),
            (
                '        case "basic":',
                '        case "ring":\n            return '
                'Ring()\n        case "basic":',
            ),
        ),
        "config.py": (('    "basic",\n', '    "basic",\n    "ring",\n'),),
    }
    for name, edits in changes.items():
        path = copy / "jax_inr" / name
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-c", USE_RING, str(tmp_path / "run")],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "encoding.png").stat().st_size > 0


NEW_ENCODING = '''
@pytree_dataclass()
class Ring:
    """The position on a circle."""

    is_trained = False
    num_features = 2

    def init(self, key: PRNGKeyArray) -> Variables:
        return {}

    def apply(self, variables: Variables, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return jnp.sin(6 * x)

'''
USE_RING = """
import sys
import jax_inr
image = jax_inr.sample_image(size=16)
fit = jax_inr.fit(image, {"encoding": "ring", "steps": 3}, out=sys.argv[1])
field = jax_inr.ImageField.load(sys.argv[1] + "/field.safetensors")
assert (field.render() == fit.field.render()).all()
"""


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
