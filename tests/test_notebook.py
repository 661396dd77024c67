"""The notebook: its two files agree, its claims are the report's, and it runs."""

import re

import pytest
from conftest import ROOT

jupytext = pytest.importorskip("jupytext", reason='pip install -e ".[docs]"')
nbformat = pytest.importorskip("nbformat", reason='pip install -e ".[docs]"')
pytest.importorskip("nbclient", reason='pip install -e ".[docs]"')
import notebook_page  # noqa: E402

TEXT, NOTEBOOK = ROOT / "docs" / "notebook.md", ROOT / "docs" / "notebook.ipynb"
MEGABYTE = 2**20
SHOWN = re.compile(r"^(?:plt\.)?show\(", re.M)


def cells(made) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source.strip()) for cell in made.cells]


def test_the_text_and_the_notebook_are_one():
    assert cells(jupytext.read(TEXT)) == cells(nbformat.read(NOTEBOOK, 4))


def test_it_is_committed_with_its_outputs():
    made = nbformat.read(NOTEBOOK, 4)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    images = 0
    for cell in code:
        assert cell.execution_count
        for output in cell.outputs:
            assert output.output_type != "error"
            images += "image/png" in output.get("data", {})
    assert images == sum(len(SHOWN.findall(cell.source)) for cell in code)
    assert NOTEBOOK.stat().st_size < 4 * MEGABYTE


def test_its_claims_are_those_of_the_report():
    report = (ROOT / "docs" / "spectral-bias.md").read_text(encoding="utf-8")
    claims = re.findall(r"^> (.*)$", TEXT.read_text(encoding="utf-8"), re.M)
    assert len(claims) == 8
    for claim in claims:
        assert f"| {claim} |" in report


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_INR_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = notebook_page.run(TEXT, tmp_path)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    # The page shows every cell, and what each printed and drew.
    page = notebook_page.with_outputs(made)
    assert page.count("```python\n") == len(code)
    assert "(16, 16, 3) float32" in page
    assert page.count("<img ") == sum(len(SHOWN.findall(c.source)) for c in code)
