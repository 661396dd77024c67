"""Build what is released: `python scripts/release.py --address https://HOST/OWNER/NAME`.

The repository says nowhere where it is published, so that a copy of it claims nothing
wrong. A release does: the README's pictures and links, the project's URLs, the citation
and the notebook's button for Colab get the address in a copy of the tree, and the wheel
and the sdist are built there and checked.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = (".png", ".jpg", ".webp")


def absolute_links(text: str, address: str, branch: str = "main") -> str:
    """A README whose relative links and pictures work outside the repository."""

    def replace(match: re.Match[str]) -> str:
        kind = "raw" if match[1].endswith(IMAGES) else "blob"
        return f"]({address}/{kind}/{branch}/{match[1]}{match[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", replace, text)


def urls(address: str) -> str:
    """The table of `pyproject.toml` that says where the project is."""
    return (
        f'[project.urls]\nRepository = "{address}"\n'
        f'Changelog = "{address}/blob/main/CHANGELOG.md"\n'
        f'Documentation = "{address}/tree/main/docs"\nIssues = "{address}/issues"\n\n'
    )


def colab(address: str) -> str:
    """The button that opens the notebook; Colab shows notebooks of GitHub alone."""
    path = address.removeprefix("https://github.com/")
    return (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{path}/blob/main/docs/notebook.ipynb)"
    )


def addressed(tree: Path, address: str) -> None:
    """Put the address wherever a released copy of the tree names it."""

    def change(name: str, old: str, new: str) -> None:
        path = tree / name
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise SystemExit(f"error: {name} has {old!r} {text.count(old)} times")
        path.write_text(text.replace(old, new), encoding="utf-8")

    readme = tree / "README.md"
    text = absolute_links(readme.read_text(encoding="utf-8"), address)
    readme.write_text(text, encoding="utf-8")
    change(
        "pyproject.toml", "[project.scripts]\n", urls(address) + "[project.scripts]\n"
    )
    change(
        "CITATION.cff", "license: MIT\n", f"license: MIT\nrepository-code: {address}\n"
    )
    if address.startswith("https://github.com/"):
        for name in ("docs/notebook.md", "docs/notebook.ipynb"):
            change(name, "<!-- colab -->", colab(address))


def main(arguments: list[str] | None = None) -> None:
    """Build and check; the files are in --out."""
    parser = argparse.ArgumentParser(description="Build and check a release.")
    parser.add_argument("--address", required=True, help="https://HOST/OWNER/NAME")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args(arguments)
    address = options.address.rstrip("/")
    if not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", address):
        parser.error(f"--address is {address}; it must be https://HOST/OWNER/NAME")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, listed.stdout.split("\0")):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, Path(folder) / name)
        addressed(Path(folder), address)
        run = lambda *command: subprocess.run(command, cwd=folder, check=True)  # noqa: E731
        run(sys.executable, "-m", "build", "--outdir", str(options.out.resolve()))
        files = [str(path) for path in options.out.resolve().glob("jax_inr-*")]
        run(sys.executable, "-m", "twine", "check", "--strict", *files)
        wheels = [name for name in files if name.endswith(".whl")]
        run("check-wheel-contents", *wheels)


if __name__ == "__main__":
    main()
