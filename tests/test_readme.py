"""What the README promises: commands, figures and links."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from jax_inr.presets import PRESETS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def recipe(title: str) -> str:
    """A recipe of "How it is made", on one line."""
    page = (ROOT / "docs" / "guide" / "design.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"\*\*{title}\*\*(.*?)\n- ", page, re.S)
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
    # Who has no GPU reads of the CPU build before torch is installed.
    cpu_build = README.index("pip install torch --index-url")
    assert cpu_build < README.index('pip install -e ".[test]"')


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_figures_of_the_readme_are_those_of_the_reports():
    performance = (ROOT / "docs" / "performance.md").read_text("utf-8")
    for row, figure in {
        "optimized, jax": "0.129",
        "optimized, torch": "0.408",
        "optimized, torch.compile": "0.227",
    }.items():
        (median,) = re.findall(rf"^\| {row} \| ([\d.]+) \|", performance, re.M)
        assert f"{float(median):.3f}" == figure and f"{figure} s" in README
    parity = (ROOT / "docs" / "parity.md").read_text("utf-8")
    (apart,) = re.findall(r"the two end ([\d.]+) dB apart", parity)
    assert f"PyTorch and JAX end {apart} dB apart" in " ".join(README.split())
    (caught, of) = re.findall(r"(\d+) of (\d+) are caught", parity)[0]
    assert caught == of and f"each of {of} faults" in README


def test_every_preset_has_a_row():
    page = (ROOT / "docs" / "guide" / "choosing.md").read_text(encoding="utf-8")
    for name in PRESETS:
        assert f"| `{name}` |" in page


ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
LINKS = [
    (page, link)
    for page in ROOT_PAGES
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
]


@pytest.mark.parametrize("page, link", LINKS)
def test_every_link_and_image_is_there(page, link):
    assert (ROOT / link).exists()
