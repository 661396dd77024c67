"""What a release says of itself agrees, and types reach who installs it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import release
from conftest import ROOT

import jax_inr

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADDRESS = "https://github.com/somebody/jax_inr"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_is_named_everywhere():
    changelog = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.M)
    citation = re.search(r"^version: (\S+)", read("CITATION.cff"), re.M)
    assert changelog and citation
    assert {changelog[1], citation[1], PROJECT["project"]["version"]} == {
        jax_inr.__version__
    }


def test_the_table_of_versions_is_that_of_the_project():
    table = read("docs/guide/installing.md")
    needs = PROJECT["project"]["dependencies"]
    for name in ("jax", "flax", "optax", "numpy"):
        (bounds,) = (
            need.removeprefix(name)
            for need in needs
            if need[: len(name)] == name and need[len(name)] in "<>=!"
        )
        assert f"| {name} | `{bounds}` |" in table
    assert f"| Python | `{PROJECT['project']['requires-python']}` |" in table
    for line in PROJECT["project"]["classifiers"]:
        if version := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line):
            assert re.search(
                rf"^\| Python \|.*\b{re.escape(version[1])}\b", table, re.M
            )


def test_links_of_a_released_readme_are_absolute():
    text = release.absolute_links(read("README.md"), ADDRESS)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(link.startswith(("https://", "#")) for link in links)
    assert f"{ADDRESS}/raw/main/docs/images/default-comparison.png" in links
    assert release.absolute_links("[a](docs/a.md#b) [c](#d)", ADDRESS) == (
        f"[a]({ADDRESS}/blob/main/docs/a.md#b) [c](#d)"
    )


def test_a_release_names_its_address_everywhere(tmp_path):
    names = ("README.md", "pyproject.toml", "CITATION.cff")
    for name in (*names, "docs/notebook.md", "docs/notebook.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
        assert ADDRESS not in read(name)
    release.addressed(tmp_path, ADDRESS)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["urls"]["Repository"] == ADDRESS
    assert project["project"]["scripts"] == PROJECT["project"]["scripts"]
    for name in (*names, "docs/notebook.md", "docs/notebook.ipynb"):
        assert ADDRESS.removeprefix("https://github.com") in (
            tmp_path / name
        ).read_text("utf-8")
    with pytest.raises(SystemExit, match="times"):
        release.addressed(tmp_path, ADDRESS)  # a second time finds nothing to change


CLIENT = """
import jax_inr

image = "cat.png"
fit = jax_inr.fit(image, jax_inr.preset("fast"))
reveal_type(fit)
reveal_type(fit.field)
reveal_type(jax_inr.fit_many([image])[0])
jax_inr.fit(image, step=3)
jax_inr.preset(3)
"""


def mypy(folder: Path, wheel: Path, without: tuple[str, ...] = ()) -> str:
    """What mypy says of a client of the installed wheel."""
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            site, [name for name in archive.namelist() if name not in without]
        )
    (folder / "client.py").write_text(CLIENT, encoding="utf-8")
    python = folder / "env" / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python)]
    result = subprocess.run(
        [*command, "client.py"],
        cwd=folder,
        env={name: os.environ[name] for name in os.environ.keys() - {"PYTHONPATH"}},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout


@pytest.mark.slow
def test_types_reach_a_client_of_the_wheel(tmp_path):
    pytest.importorskip("mypy", reason='pip install -e ".[release]"')
    pytest.importorskip("build", reason='pip install -e ".[release]"')
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    (tmp_path / "typed").mkdir()
    said = mypy(tmp_path / "typed", wheel)
    assert re.findall(r'Revealed type is "(?:def )?([\w.]+)', said) == [
        "jax_inr.results.Fit",
        "jax_inr.field.ImageField",
        "jax_inr.results.Fit",
    ], said
    assert 'Unexpected keyword argument "step"' in said
    assert 'incompatible type "int"; expected "str"' in said
    # Without its marker, the same wheel has no types for anybody.
    (tmp_path / "untyped").mkdir()
    said = mypy(tmp_path / "untyped", wheel, without=("jax_inr/py.typed",))
    assert "jax_inr.results.Fit" not in said
