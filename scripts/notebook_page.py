"""The notebook: this script runs docs/notebook.md into docs/notebook.ipynb.

The text is what is edited. The site shows it with the outputs that the notebook holds,
by the hook below, so that its links are checked like those of every page.
"""

import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT, NOTEBOOK = DOCS / "notebook.md", DOCS / "notebook.ipynb"


def run(text: Path, folder: Path) -> Any:
    """The notebook of a text, executed in a folder."""
    import jupytext
    import nbclient

    notebook = jupytext.read(text)
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=3600, resources=resources)
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the minute of the day
    notebook.metadata.pop("language_info", None)
    return notebook


def with_outputs(notebook: Any) -> str:
    """A notebook as Markdown: each cell, then what it printed and drew."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif image := output.get("data", {}).get("image/png"):
                data = "".join(image.split())
                parts.append(
                    '<img alt="drawn by the cell above" '
                    f'src="data:image/png;base64,{data}">'
                )
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """Hook of MkDocs: the notebook's page has its outputs."""
    if page.file.src_uri != "notebook.md":
        return markdown
    import nbformat

    return with_outputs(nbformat.read(NOTEBOOK, 4))


if __name__ == "__main__":
    import nbformat

    nbformat.write(run(TEXT, DOCS), sys.argv[1] if sys.argv[1:] else NOTEBOOK)
